"""optimum-quanto: 8-bit codes as they are, 4- and 2-bit codes in bytes with scales and float shifts in groups.

Source: optimum-quanto 0.2.7, ``tensor/qtype.py``, ``tensor/packed.py``, ``nn/qmodule.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Literal, TypeAlias

from attrs import evolve, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    integer,
    level_of_each,
    renamed,
    words,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: quanto's words, with and without the q
_LEVELS = {
    "int2": "Int2",
    "int4": "Int4",
    "int8": "Int8",
    "float8": "Float8E4M3FN",
    "float8_e4m3fn": "Float8E4M3FN",
    "float8_e4m3fnuz": "Float8E4M3FNUZ",
    "float8_e5m2": "Float8E5M2",
}
#: bits of codes that share a byte
_PACKED = (4, 2)
#: groups that quanto tries, widest first; a row that none of them tiles has one scale
_GROUPS = (128, 96, 64, 32)
QType: TypeAlias = Literal[
    "int2", "int4", "int8", "float8", "qint2", "qint4", "qint8", "qfloat8",
    "qfloat8_e4m3fn", "qfloat8_e4m3fnuz", "qfloat8_e5m2", "none",
]  # fmt: skip


def _level(qtype: str) -> QuantizationLevel:
    return levels[_LEVELS[qtype.removeprefix("q")]]


def _fold_bytes(module: Module, hint: Hint) -> Weight | None:
    """weight._data [N, K], weight._scale [N, 1] or []."""
    codes = module["weight._data"]
    if not isinstance(codes.dtype, QuantizationLevel):
        return None
    return Weight(
        level=codes.dtype, parameters=codes.elements, code_bits=Fraction(8), symmetric=True, shape=codes.shape
    )


def _fold_packed(module: Module, hint: Hint) -> Weight:
    """weight._data._data U8 [ceil(groups*b/8), group], a byte for 8/b groups; weight._scale and _shift [groups, 1]."""
    codes, groups = module["weight._data._data"], module["weight._scale"].elements
    rows = codes.shape[0] if codes.shape else 0
    # 4 bits and 2 bits take the same rows of bytes only for one or two groups: very small weights
    fits = [bits for bits in _PACKED if -(-groups * bits // BITS_PER_BYTE) == rows]
    if not fits:
        raise LayoutError(f"{rows} rows of bytes cannot hold the codes of {groups} groups at 2 or 4 bits")
    if len(fits) > 1 and hint.bits not in fits:
        raise AmbiguousLayoutError(f"bit width of {groups} groups in a byte is unknown: no quanto_qmap.json, no config")
    bits = fits[0]
    if hint.bits in fits:
        bits = hint.bits
    group = codes.elements // rows
    return Weight(
        level=integer(bits),
        parameters=groups * group,
        code_bits=Fraction(bits),
        group_size=group if group in _GROUPS else None,
        symmetric=False,
    )


_SCALE = TensorRule("weight._scale", FLOAT_TYPES, role="scale")
_SHIFT = TensorRule("weight._shift", (*FLOAT_TYPES, "Int8"), role="zero_point")
PACKINGS = (
    Packing("weight._data._data", ("weight._scale",), _fold_packed, sides=(_SCALE, _SHIFT)),
    Packing("weight._data", ("weight._scale",), _fold_bytes, sides=(evolve(_SCALE, shapes="1 | rows"), _SHIFT)),
)
#: Scales of activations, which a module has even if activations are not quantized.
_ACTIVATIONS = tuple(
    TensorRule(name, ("BFloat16",), "1", role="activation") for name in ("input_scale", "output_scale")
)
_STORAGE = (
    Storage(
        format="quanto",
        levels=("Int2", "Int4"),
        tensors=(
            TensorRule("weight._data._data", ("UInt8",), "packed_weights", role="codes"),
            TensorRule("weight._scale", ("BFloat16",), "rows groups", role="scale"),
            TensorRule("weight._shift", ("BFloat16",), "rows groups", role="zero_point"),
            *_ACTIVATIONS,
        ),
        group_size=_GROUPS[0],
        grouped=False,
        ragged="narrows",
        source="optimum-quanto 0.2.7 state_dict, QModuleMixin",
    ),
    Storage(
        format="quanto",
        levels=("Int8", "Float8E4M3FN", "Float8E5M2"),
        tensors=(
            TensorRule("weight._data", ("Int8", "Float8E4M3FN", "Float8E5M2"), "rows columns", role="codes"),
            TensorRule("weight._scale", ("BFloat16",), "rows", role="scale"),
            *_ACTIVATIONS,
        ),
        grouped=False,
        source="optimum-quanto 0.2.7 state_dict",
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class ModuleTypes:
    """The types that ``quanto_qmap.json`` gives a module."""

    ignored_keys: ClassVar[frozenset[str]] = words("activations")

    weights: QType = "none"


@frozen(kw_only=True, eq=False, repr=False)
class QuantoConfig(MethodConfig):
    """A ``quantization_config`` of method quanto, or the modules of ``quanto_qmap.json``."""

    ignored_keys: ClassVar[frozenset[str]] = words("activations")

    weights: QType = "int8"
    modules: Mapping[str, ModuleTypes] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all modules, if no map names each."""
        if self.modules is not None:
            return None
        return _declared(self.weights)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules of the map."""
        return level_of_each(self.modules or {}, lambda module: _declared(module.weights))


def _declared(qtype: str) -> DeclaredLevel | None:
    """A code per byte with a scale per row; or packed in groups of unknown size, with scales of unknown width."""
    if qtype == "none":
        return None
    level = _level(qtype)
    if level.bits_per_param == BITS_PER_BYTE:
        return DeclaredLevel(level=level, symmetric=True, bits_per_weight=level.bits_per_weight)
    return DeclaredLevel(level=level, symmetric=False)


def _prepare(config: Config) -> Config:
    is_map = "weights" not in config and all(isinstance(value, dict) for value in config.values())
    if is_map:
        return {"modules": dict(config)}
    return renamed(weights_dtype="weights")(config)  # as diffusers has it


SCHEMES = (Scheme(method="quanto", config=QuantoConfig, packings=PACKINGS, prepare=_prepare, storage=_STORAGE),)
