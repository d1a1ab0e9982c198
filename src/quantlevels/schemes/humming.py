"""Humming: codes of any width in dense words along the input, with scales of any type per group, row, block or tensor.

Source: humming-kernels 0.1.20, ``schema/humming.py``, ``dtypes.py``; vllm 0.33.0, ``layers/quantization/humming.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Final

from attrs import asdict, evolve, field, frozen

from quantlevels.container import JSON
from quantlevels.scheme import (
    FLOAT_TYPES,
    SCALE_TYPES,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorInfo,
    TensorRule,
    TensorRuleError,
    UnknownTypeError,
    Weight,
    exact,
    group_size,
    integer,
    level_of_each,
    with_scales,
    within,
    words,
)
from quantlevels.schemes.common import declared_as, float_level
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

_WORD_BITS: Final = 32
_SCALE_BITS: Final = 16
_INTEGER: Final = re.compile(r"(u?)int([1-8])", re.ASCII)
_FLOAT: Final = re.compile(r"float(\d{1,2})_?e(\d)m(\d)", re.ASCII)
#: (type of codes, type of scales) → the level whose blocks they are
_BLOCKS: Final = {
    ("float4e2m1", "float8e8m0"): "MXFP4",
    ("float4e2m1", "float8e4m3"): "NVFP4",
    ("float6e2m3", "float8e8m0"): "MXFP6_E2M3",
    ("float6e3m2", "float8e8m0"): "MXFP6_E3M2",
    ("float8e4m3", "float8e8m0"): "MXFP8_E4M3",
    ("float8e5m2", "float8e8m0"): "MXFP8_E5M2",
}
_BYTES: Final = {"float8e4m3": "Float8E4M3FN", "float8e5m2": "Float8E5M2"}
#: field → the other keys it is read from
_ALIASES: Final = {
    "b_dtype": ("weight_dtype", "dtype"),
    "bs_dtype": ("weight_scale_dtype", "scale_dtype"),
    "weight_scale_group_size": ("group_size",),
    "weight_scale_group_size_n": ("group_size_n",),
}


def level_of(word: str) -> QuantizationLevel:
    """The level that a ``b_dtype`` names.

    Raises:
        UnknownTypeError: for a word that humming does not have.
    """
    name = word.lower()
    match = _INTEGER.fullmatch(name)
    if match:
        return integer(int(match[2]), unsigned=bool(match[1]))
    plain = name.replace("_", "")
    if plain in _BYTES:
        return levels[_BYTES[plain]]
    match = _FLOAT.fullmatch(name)
    if match and int(match[1]) == 1 + int(match[2]) + int(match[3]):  # else it is a slip: float8_e5m3
        return float_level(int(match[2]), int(match[3]))
    raise UnknownTypeError(f"b_dtype {word!r:.80} is not known")


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight I32 [N, K*b/32]; weight_scale [N, K/g], [N, 1], [1] or in blocks [N/n, K/g]; zero_point [N*b/32, K/g]."""
    words, scale = module["weight"], module["weight_scale"]
    if not words.is_a("Int32"):
        return None
    rows = words.matrix[0]
    bits = _bits(rows, module.get("zero_point"), hint)
    columns = exact(words.bits * words.matrix[1], bits, "codes of a row")
    # humming's integers are unsigned unless its config says otherwise
    level = hint.level or integer(bits, unsigned=True)
    return Weight(
        level=level,
        parameters=words.stack * rows * columns,
        code_bits=Fraction(bits),
        group_size=_group_size(words.stack, rows, columns, scale, hint),
        symmetric="zero_point" not in module,
        shape=(*words.shape[:-2], rows, columns),
    )


def _bits(rows: int, zero_point: TensorInfo | None, hint: Hint) -> int:
    """Bits of a code: those of a packed zero point, else those declared."""
    if zero_point and zero_point.is_a("Int32"):
        return exact(_WORD_BITS * zero_point.matrix[0], rows, "bits of a zero point")
    if hint.bits:
        return hint.bits
    raise AmbiguousLayoutError("bit width of the packed words is unknown: no config, no packed zero points")


def _group_size(stack: int, rows: int, columns: int, scale: TensorInfo, hint: Hint) -> int | None:
    if len(scale.shape) < 2:  # of the tensor, or of each expert
        if scale.elements not in (1, stack):
            raise TensorRuleError(f"weight_scale has shape {list(scale.shape)}; expected one scale, or one per expert")
        return None
    if scale.matrix[0] != rows:  # blocks of rows and columns
        exact(rows, scale.matrix[0], "scale blocks do not tile the rows")
        exact(columns, scale.matrix[1], "scale blocks do not tile a row")
        return None
    return group_size(columns, scale.matrix[1], hint)


_SIDES: Final = (
    TensorRule("weight_scale", SCALE_TYPES, role="scale"),
    TensorRule("weight_scale_2", FLOAT_TYPES, "1 | rows", role="scale"),
    TensorRule("global_scale", FLOAT_TYPES, "1", role="scale"),
    TensorRule("zero_point", ("Int32", *FLOAT_TYPES), "packed_rows groups | rows groups", role="zero_point"),
)
_ASYMMETRIC: Final = Packing("weight", ("weight_scale", "zero_point"), _fold, _SIDES)
_PACKED: Final = Packing("weight", ("weight_scale",), _fold, _SIDES, declared_only=True)


@frozen(kw_only=True, eq=False, repr=False)
class HummingSettings(MethodConfig):
    """What may be set for all layers, or for some."""

    b_dtype: str | None = None
    bs_dtype: str | None = None
    weight_scale_group_size: int = field(default=0, validator=within(0, 2**31))
    weight_scale_group_size_n: int = field(default=0, validator=within(0, 2**31))
    has_zero_point: bool = False
    is_fp_zero_point: bool = False

    def declared(self) -> DeclaredLevel | None:
        """The level of a layer; None if its type is not given.

        Raises:
            UnknownTypeError: for a type that humming does not have.
        """
        if self.b_dtype is None:
            return None
        scales = (self.bs_dtype or "").lower().replace("_", "")
        name = _BLOCKS.get((self.b_dtype.lower().replace("_", ""), scales))
        if name and levels[name].block.weights == self.weight_scale_group_size:
            return declared_as(name)
        level = level_of(self.b_dtype)
        group = self.weight_scale_group_size or None
        bits = Fraction(level.bits_per_param)
        if self.weight_scale_group_size_n > 1:  # blocks of rows and columns
            return DeclaredLevel(level=level, block=(self.weight_scale_group_size_n, group or 1), symmetric=True)
        return DeclaredLevel(
            level=level,
            group_size=group,
            symmetric=not self.has_zero_point,
            bits_per_weight=with_scales(bits, group, self._side_bits(scales, level.bits_per_param)),
        )

    def _side_bits(self, scales: str, bits: int) -> int:
        scale_bits = BITS_PER_BYTE if scales.startswith("float8") else _SCALE_BITS
        if not self.has_zero_point:
            return scale_bits
        if self.is_fp_zero_point:
            return scale_bits + _SCALE_BITS
        return scale_bits + bits


@frozen(kw_only=True, eq=False, repr=False)
class HummingChanges:
    """What ``dynamic`` sets for some layers; None for what it does not."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "a_dtype c_dtype dtype group_size group_size_n input_scale_group_size scale_dtype weight_dtype "
        "weight_scale_2_type weight_scale_dtype weight_scale_type"
    )

    b_dtype: str | None = None
    bs_dtype: str | None = None
    weight_scale_group_size: int | None = None
    weight_scale_group_size_n: int | None = None
    has_zero_point: bool | None = None
    is_fp_zero_point: bool | None = None

    def applied_to(self, settings: HummingSettings) -> HummingSettings:
        """The settings with these changes."""
        return evolve(settings, **asdict(self, filter=lambda _, value: value is not None))


@frozen(kw_only=True, eq=False, repr=False)
class HummingConfig(HummingSettings):
    """A ``quantization_config`` of method humming."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignore", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words(
        "a_dtype c_dtype dtype group_size group_size_n input_scale_group_size scale_dtype weight_dtype "
        "weight_scale_2_type weight_scale_dtype weight_scale_type"
    )
    overrides_inherit: ClassVar[bool] = True

    #: ``+:regex`` → other settings for the modules it matches; ``-:regex`` → not quantized
    dynamic: Mapping[str, HummingChanges] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all layers."""
        return self.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that ``dynamic`` names."""
        return level_of_each(
            {f"re:{key.removeprefix('+:').removeprefix('-:')}": key for key in self.dynamic or {}}, self._level_of
        )

    def _level_of(self, key: str) -> DeclaredLevel | None:
        if key.startswith("-:"):
            return None
        return (self.dynamic or {})[key].applied_to(self).declared()

    def skipped(self) -> tuple[str, ...]:
        """The modules that ``dynamic`` or a list leaves alone."""
        dynamic = (f"re:{key.removeprefix('-:')}" for key in self.dynamic or {} if key.startswith("-:"))
        return (*(self.modules_to_not_convert or ()), *dynamic)


def _prepare(config: Config) -> Config:
    """Settings under their first names, for all layers and for those of ``dynamic``."""
    prepared = _renamed(config)
    dynamic = config.get("dynamic")
    if isinstance(dynamic, dict):
        prepared["dynamic"] = {key: _renamed_changes(value) for key, value in dynamic.items()}
    return prepared


def _renamed_changes(changes: JSON) -> JSON:
    if isinstance(changes, dict):
        return _renamed(changes)
    return changes or {}  # null and false beside ``-:`` change nothing


def _renamed(config: Config) -> dict[str, JSON]:
    renamed = dict(config)
    for name, others in _ALIASES.items():
        given = [config[key] for key in (name, *others) if key in config]
        if given:
            renamed[name] = given[0]
    return renamed


_STORAGE: Final = Storage(
    format="humming",
    levels=tuple(f"UInt{bits}" for bits in range(1, BITS_PER_BYTE + 1)),
    tensors=(
        TensorRule("weight", ("Int32",), "rows packed_columns", role="codes"),
        TensorRule("weight_scale", ("BFloat16", "Float16", "None"), "rows groups", role="scale"),
        TensorRule("zero_point", ("Int32",), "packed_rows groups", role="zero_point"),
    ),
    zero_point="choice",
    ragged="refuses",
    source="humming-kernels 0.1.20, schema/humming.py HummingWeightSchema.get_tensors_attrs",
)

SCHEMES = (
    Scheme(
        method="humming",
        config=HummingConfig,
        packings=(_ASYMMETRIC, _PACKED),
        prepare=_prepare,
        storage=(_STORAGE,),
    ),
)
