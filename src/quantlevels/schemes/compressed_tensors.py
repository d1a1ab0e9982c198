"""compressed-tensors: packed words, packed nibbles with microscales, or plain 8-bit codes with scales.

Source: compressed-tensors 0.20.0, ``quantization/quant_args.py``, ``quant_scheme.py`` and ``compressors/``; before it,
3-, 5-, 6- and 7-bit codes did not cross words (at 52792be0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import ClassVar, Literal

from attrs import evolve, field, frozen

from quantlevels.container import JSON
from quantlevels.errors import closest, did_you_mean
from quantlevels.scheme import (
    FLOAT_TYPES,
    INDEX_TYPES,
    WORD_TYPES,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    Matching,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    UnknownTypeError,
    Weight,
    code_bits,
    exact,
    group_size,
    integer,
    level_of_each,
    one_of,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import valid_block
from quantlevels.schemes.scaled import microscaled
from quantlevels.schemes.scaled import packings as scaled_packings
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

_SCALE_BITS = 16
_BLOCK = re.compile(r"[0-9]{1,6}x[0-9]{1,6}")  # digits are bounded: `int` of a long text takes quadratic time


def _fold_microscaled(module: Module, hint: Hint) -> Weight | None:
    """weight_packed U8 [N, K*b/8], weight_scale E4M3 [N, K/16] or U8 [N, K/32]."""
    return microscaled(module["weight_packed"], module["weight_scale"], hint)


def _fold(module: Module, hint: Hint) -> Weight:
    """weight_packed [N, ceil(K*b/32)] words, weight_scale [N, groups], weight_zero_point [ceil(N*b/32), groups]."""
    packed, scale = module["weight_packed"], module["weight_scale"]
    if packed.bits < 32:
        raise LayoutError("weight_packed holds bytes, but its scales fit no microscaling format")
    outputs, columns = packed.matrix
    groups = scale.matrix[1] if len(scale.shape) > 1 else 1
    row_bits = packed.bits * columns
    zero_point = module.get("weight_zero_point")
    bits = hint.bits
    # zero points are packed along the outputs: their words show a width if none of them is padded
    if zero_point and outputs % 32 == 0:
        bits = exact(zero_point.bits * zero_point.matrix[0], outputs, "bits of a zero point")
    if not bits:
        raise AmbiguousLayoutError("bit width of the packed words is unknown: no config, no zero points")
    if bits > packed.bits:
        raise LayoutError(f"codes have {bits} bits, more than the {packed.bits} of a word")
    inputs = _row(columns, packed.bits, groups, bits, hint)
    if inputs is None:  # the words hold another width than the config says
        known = hint.group_size if hint.group_size and hint.group_size > 0 else 0
        bits = exact(row_bits, groups * known, "bits of a row")
        inputs = groups * known
    parameters = inputs * outputs * packed.stack
    return Weight(
        level=integer(bits),
        parameters=parameters,
        code_bits=code_bits(packed, parameters),
        group_size=group_size(inputs, groups, hint),
        symmetric=zero_point is None,
        shape=(*packed.shape[:-1], inputs),
    )


def _row(columns: int, word: int, groups: int, bits: int, hint: Hint) -> int | None:
    """Codes in a row of words, packed densely or, before 0.20, whole codes in each word; None if it cannot be."""
    size = hint.group_size
    if size and size > 0:
        # every group is full but perhaps the last: if the words allow a shorter row, it ends with a word
        full = groups * size
        if columns in (-(-full * bits // word), -(-full // (word // bits))):
            return full
        for inputs in (columns * word // bits, columns * (word // bits)):
            if full - size < inputs <= full:
                return inputs
        return None
    if columns * word % bits:
        raise AmbiguousLayoutError(f"row length unknown: {bits}-bit codes may end within a word, and no group size")
    return columns * word // bits


_WEIGHT_PACKED = TensorRule("weight_packed", ("Int32",), "rows packed_columns", role="codes")
_SCALE = TensorRule("weight_scale", FLOAT_TYPES, "rows groups | 1", role="scale")
_ZERO_POINT = TensorRule("weight_zero_point", WORD_TYPES, "packed_rows groups", role="zero_point")
_SHAPE = TensorRule("weight_shape", ("Int64", "Int32"), "2")  # its values would settle the shape; headers have none
_GLOBAL_SCALE = TensorRule("weight_global_scale", ("None", *FLOAT_TYPES), "1", role="scale")
MICROSCALED = Packing("weight_packed", ("weight_scale",), _fold_microscaled, sides=(_GLOBAL_SCALE,))
PACKED = Packing(
    "weight_packed",
    ("weight_scale",),
    _fold,
    sides=(_SCALE, _ZERO_POINT, TensorRule("weight_g_idx", INDEX_TYPES, "columns", role="index")),
)


def _fold_marlin_24(module: Module, hint: Hint) -> Weight:
    """2 of 4 weights in Marlin's tiles: weight_packed [K/32, N*b/2], scale_packed [groups, N], meta says where."""
    (tiles, columns), (groups, outputs) = module["weight_packed"].matrix, module["scale_packed"].matrix
    bits = exact(2 * columns, outputs, "bits of a code")
    return Weight(
        level=integer(bits),
        parameters=32 * tiles * outputs,
        shape=(outputs, 32 * tiles),
        code_bits=Fraction(bits),
        group_size=group_size(32 * tiles, groups, hint),
        symmetric=True,
    )


def _fold_bitmask(module: Module, hint: Hint) -> Weight:
    """compressed: the weights that are not zero, as they are; bitmask U8 [N, K/8], a bit per weight."""
    codes, mask = module["compressed"], module["bitmask"]
    if not isinstance(codes.dtype, QuantizationLevel) or not mask.is_a("UInt8"):
        raise LayoutError(f"compressed is {codes.dtype} beside a bitmask of {mask.dtype}; expected weights and UInt8")
    return Weight(
        level=codes.dtype, parameters=BITS_PER_BYTE * mask.elements, code_bits=Fraction(codes.bits), symmetric=True
    )


MARLIN_24 = Packing(
    "weight_packed",
    ("scale_packed", "meta"),
    _fold_marlin_24,
    sides=(
        TensorRule("scale_packed", FLOAT_TYPES, "groups rows", role="scale"),
        TensorRule("meta", INDEX_TYPES, role="index"),
    ),
)
BITMASK = Packing(
    "compressed",
    ("bitmask",),
    _fold_bitmask,
    sides=(
        TensorRule("bitmask", ("UInt8",), role="index"),
        TensorRule("shape", INDEX_TYPES),
        TensorRule("row_offsets", INDEX_TYPES, role="index"),
    ),
)


def _stored(format: str, widths: tuple[int, ...], *tensors: TensorRule, levels: tuple[str, ...] = ()) -> Storage:
    """One compressor: integers of some widths, whose groups and zero points are a choice, or levels by name."""
    return Storage(
        format=format,
        levels=levels or tuple(f"Int{bits}" for bits in widths),
        tensors=tensors,
        zero_point="choice" if widths else "never",
        grouped=bool(widths),
        ragged="refuses",
        source="compressed-tensors 0.20.0, the compressor each preset selects",
    )


_BYTE_CODES = TensorRule("weight", ("Int8", "Float8E4M3FN"), "rows columns", role="codes")
_BYTE_ZERO_POINT = TensorRule("weight_zero_point", ("Int8",), "rows groups", role="zero_point")
_PACKED_BYTES = TensorRule("weight_packed", ("UInt8",), "rows packed_columns", role="codes")
_E4M3_SCALE = TensorRule("weight_scale", ("Float8E4M3FN",), "rows groups", role="scale")
_E8M0_SCALE = TensorRule("weight_scale", ("UInt8",), "rows groups", role="scale")
_STORAGE = (
    _stored("pack-quantized", (2, 3, 4, 5, 6, 7), _WEIGHT_PACKED, _SCALE, _ZERO_POINT, _SHAPE),
    _stored("int-quantized", (2, 3, 4, 5, 6, 7, 8), _BYTE_CODES, _SCALE, _BYTE_ZERO_POINT),
    _stored("pack-quantized", (8,), _WEIGHT_PACKED, _SCALE, _ZERO_POINT, _SHAPE),
    _stored("float-quantized", (), _BYTE_CODES, _SCALE, levels=("Float8E4M3FN",)),
    _stored("nvfp4-pack-quantized", (), _PACKED_BYTES, _E4M3_SCALE, _GLOBAL_SCALE, levels=("NVFP4",)),
    _stored("mxfp4-pack-quantized", (), _PACKED_BYTES, _E8M0_SCALE, levels=("MXFP4",)),
    _stored("mxfp6-pack-quantized", (), _PACKED_BYTES, _E8M0_SCALE, levels=("MXFP6_E2M3",)),
    _stored("mxfp8-quantized", (), _BYTE_CODES, _E8M0_SCALE, levels=("MXFP8_E4M3",)),
)


#: formats that keep a code of any width in a byte
_WHOLE_BYTES = ("int-quantized", "naive-quantized", "float-quantized")
#: group size → the format that 4-bit floats make with their scales
_FP4: Mapping[int | None, str] = {16: "NVFP4", 32: "MXFP4"}


@frozen(kw_only=True, eq=False, repr=False)
class QuantizationArgs:
    """How weights, activations or the cache are rounded."""

    ignored_keys: ClassVar[frozenset[str]] = words("actorder dynamic observer observer_kwargs zp_dtype")

    num_bits: int = field(default=8, validator=one_of(1, 2, 3, 4, 5, 6, 7, 8))
    type: Literal["int", "float"] = "int"
    symmetric: bool = True
    group_size: int | None = field(default=None, validator=valid_group_size)
    strategy: str | None = None
    block_structure: tuple[int, int] | None = field(default=None, validator=valid_block)
    scale_dtype: str | None = None

    def level(self) -> QuantizationLevel:
        """The level of a code: for 4- and 6-bit floats, that of the format their groups and scales make.

        Raises:
            ValueError: for floats of other widths.
        """
        if self.type == "int":
            return integer(self.num_bits)
        if self.num_bits == 8:
            return levels["MXFP8_E4M3" if self._microscaled() else "Float8E4M3FN"]
        if self.num_bits == 6:
            return levels["MXFP6_E2M3"]
        if self.num_bits == 4:
            return levels[_FP4.get(self.group_size, "Float4E2M1")]
        raise ValueError(f"floats have 4, 6 or 8 bits, not {self.num_bits}")

    def _microscaled(self) -> bool:
        return self.group_size == 32 and self.scale_dtype in ("torch.uint8", "torch.float8_e8m0fnu")

    def declared(self, format: str | None = None) -> DeclaredLevel:
        """The level with its groups, what codes take in a format, and what scales and zero points add."""
        level = self.level()
        block = self.block_structure
        bits = level.bits_per_weight
        if level.block.weights == 1:
            width = BITS_PER_BYTE if format in _WHOLE_BYTES else self.num_bits
            sides = _SCALE_BITS
            if not self.symmetric:  # zero points are packed as the codes are
                sides += width
            bits = with_scales(width, block[0] * block[1] if block else self.group_size, sides)
        return DeclaredLevel(
            level=level,
            group_size=self.group_size,
            block=block,
            symmetric=self.symmetric,
            bits_per_weight=bits,
        )


@frozen(kw_only=True, eq=False, repr=False)
class Group:
    """One scheme and the modules or classes of modules it is for."""

    ignored_keys: ClassVar[frozenset[str]] = words("input_activations output_activations")

    targets: tuple[str, ...] = ()
    weights: QuantizationArgs | None = None
    format: str | None = None


_FP8 = QuantizationArgs(num_bits=8, type="float")
_NVFP4 = QuantizationArgs(num_bits=4, type="float", group_size=16)
_MX = {
    bits: QuantizationArgs(num_bits=bits, type="float", group_size=32, scale_dtype="torch.uint8") for bits in (4, 6, 8)
}
#: name of a preset → how it rounds weights; ``W4A16`` and its like, with the bits in their names, are added below
_PRESETS = {
    "W8A8": QuantizationArgs(num_bits=8),
    "INT8": QuantizationArgs(num_bits=8),
    "FP8": _FP8,
    "FP8_DYNAMIC": _FP8,
    "FP8_BLOCK": QuantizationArgs(num_bits=8, type="float", block_structure=(128, 128)),
    "NVFP4": _NVFP4,
    "NVFP4A16": _NVFP4,
    **dict.fromkeys(("MXFP4", "MXFP4A16", "MXFP4XFP8"), _MX[4]),
    **dict.fromkeys(("MXFP6A16", "MXFP6A8"), _MX[6]),
    **dict.fromkeys(("MXFP8", "MXFP8A16"), _MX[8]),
    "W4AFP8": QuantizationArgs(num_bits=4, group_size=128),
    "W4A16_ASYM": QuantizationArgs(num_bits=4, group_size=128, symmetric=False),
}
for _bits in range(2, 9):
    for _activation in (4, 8, 16):
        # not W8A8, which has a scale per row
        _PRESETS.setdefault(f"W{_bits}A{_activation}", QuantizationArgs(num_bits=_bits, group_size=128))


#: class of modules → the names that its modules go by
_CLASSES = {"Embedding": "re:.*embed.*"}
_CLASS_NAME = re.compile(r"[A-Z]\w*")
#: the class that stands for all weights that are not named otherwise
_LINEAR = "Linear"
_UNQUANTIZED = "UNQUANTIZED"


@frozen(kw_only=True, eq=False, repr=False)
class TransformArgs:
    """Where a rotation is applied: ``input``, ``weight_output``, ``k_cache`` ..."""

    ignored_keys: ClassVar[frozenset[str]] = words("ignore inverse targets")

    location: str


@frozen(kw_only=True, eq=False, repr=False)
class TransformScheme:
    """A rotation, and the places in which it is applied."""

    ignored_keys: ClassVar[frozenset[str]] = words("block_size head_dim precision randomize requires_grad type")

    apply: tuple[TransformArgs, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class TransformConfig:
    """``transform_config``: rotations by name. Those of activations are kept beside the weights, as modules."""

    config_groups: Mapping[str, TransformScheme] = field(factory=dict)


@frozen(kw_only=True, eq=False, repr=False)
class CompressedTensorsConfig(MethodConfig):
    """A ``quantization_config`` or ``compression_config`` of method compressed-tensors."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignore",)
    matching: ClassVar[Matching] = "exact"
    ignored_keys: ClassVar[frozenset[str]] = words(
        "global_compression_ratio moe_sparsity_config run_compressed sparsity_config version"
    )

    format: str | None = None
    #: name → group, or name of a preset → targets
    config_groups: Mapping[str, Group | tuple[str, ...]] | None = None
    kv_cache_scheme: QuantizationArgs | None = None
    quantization_status: str | None = None
    transform_config: TransformConfig | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of the group for linear layers, else that of the only group, with the modules it is for.

        Raises:
            UnknownTypeError: for a preset that is not known.
        """
        groups = {name: targets for name, targets in self._targets().items() if self._is_quantized(name)}
        linear = next((name for name, targets in groups.items() if _LINEAR in targets), None)
        if linear is not None:
            return self._level(linear)
        if len(groups) != 1:
            return None
        ((name, targets),) = groups.items()
        level = self._level(name)
        # names of tensors do not show the class of a module, so that a class may be any of them
        named = targets if targets and not any(map(_CLASS_NAME.fullmatch, targets)) else None
        return level and evolve(level, targets=named)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The groups for modules by name; of classes, only embeddings can be told from the names of tensors.

        Raises:
            UnusableEntriesError: for the targets of presets that are not known, and of floats that do not exist.
        """
        groups: dict[str, str] = {}
        for name, targets in self._targets().items():
            if self._is_quantized(name):
                for target in targets:
                    # a module that several groups name belongs to the first of them
                    groups.setdefault(_CLASSES.get(target, target), name)
        groups.pop(_LINEAR, None)
        return level_of_each(groups, cache(self._level))  # one level per group: modules are grouped by identity

    def _targets(self) -> dict[str, tuple[str, ...]]:
        """Name of a group → its targets."""
        groups = self.config_groups or {}
        return {name: group.targets if isinstance(group, Group) else group for name, group in groups.items()}

    def _is_quantized(self, name: str) -> bool:
        group = (self.config_groups or {})[name]
        if isinstance(group, Group):  # a group may be for activations or the cache alone
            return group.weights is not None
        return name.upper() != _UNQUANTIZED

    def _level(self, name: str) -> DeclaredLevel | None:
        group = (self.config_groups or {})[name]
        if isinstance(group, Group):
            if group.weights is None:
                return None
            return group.weights.declared(group.format or self.format)
        if name.upper() not in _PRESETS:
            raise UnknownTypeError(
                f"the preset {name!r:.80} is not known{did_you_mean(closest(name.upper(), _PRESETS))}"
            )
        return _PRESETS[name.upper()].declared(self.format)

    def buffers(self) -> frozenset[str]:
        """The rotations of ``transform_config``: modules named after the transform and where it is applied."""
        if self.transform_config is None:
            return frozenset()
        names: set[str] = set()
        for name, transform in self.transform_config.config_groups.items():
            names.update(f"{name}_{args.location}" for args in transform.apply)
        return frozenset(names)

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of ``kv_cache_scheme``."""
        if self.kv_cache_scheme is None:
            return None
        return self.kv_cache_scheme.level()


def _prepare(config: Config) -> Config:
    """Blocks were once written as text, ``128x128``."""
    groups = config.get("config_groups")
    if not isinstance(groups, dict):
        return config
    return {**config, "config_groups": {name: _group(group) for name, group in groups.items()}}


def _group(group: JSON) -> JSON:
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        return group
    block = weights.get("block_structure")
    if not isinstance(block, str) or not _BLOCK.fullmatch(block):
        return group
    return {**group, "weights": {**weights, "block_structure": [int(side) for side in block.split("x")]}}


#: W4A8 and W2A8 are stored as INT8: compressed-tensors never packs two codes into an I8
_SCALED = scaled_packings(codes_in_bytes=True)

SCHEMES = (
    Scheme(
        method="compressed-tensors",
        config=CompressedTensorsConfig,
        packings=(MICROSCALED, PACKED, *_SCALED, MARLIN_24, BITMASK),
        storage=_STORAGE,
        aliases=("sparseml",),
        prepare=_prepare,
    ),
)
