"""HQQ: codes in bytes, 3-bit codes ten to a 32-bit word, with a scale and a zero point per group; SINQ stores alike.

Source: hqq 0.2.8.post1, ``core/quantize.py`` and ``core/bitpack.py``; sinq 0.2.0, ``bitpack.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve, field, frozen

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
    TensorRule,
    Weight,
    code_bits,
    integer,
    level_of_each,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from attrs import Attribute

#: bits of a code → bits it takes in storage: 5 and 6 bits have a byte each, 3 bits ten to a word of 32
_STORED = {
    8: Fraction(8),
    6: Fraction(8),
    5: Fraction(8),
    4: Fraction(4),
    3: Fraction(16, 5),
    2: Fraction(2),
    1: Fraction(1),
}
_TERNARY = 1.58  # how HQQ writes three values: as a width, stored in 2 bits
_NBITS = (8, 6, 5, 4, 3, 2, _TERNARY, 1)


def _fold(module: Module, hint: Hint) -> Weight:
    """W_q in bytes or words of any type, scale one per group: groups times group size are the weights."""
    if hint.level is None or not hint.group_size:
        raise AmbiguousLayoutError("bit width or group size of W_q is unknown: no config")
    codes, groups = module["W_q"], module["scale"].elements
    if hint.level.bits_per_param not in _STORED:
        raise LayoutError(
            f"declared codes of {hint.level.bits_per_param} bits; HQQ stores {', '.join(map(str, _STORED))}"
        )
    stored = _STORED[hint.level.bits_per_param]
    held = codes.nbytes * 8 / stored
    if hint.group_size > 0:
        parameters = groups * hint.group_size
    else:
        parameters = _rows(module, stored) * codes.matrix[1]
    # codes may be fewer than what is held, since the last bytes are padded, but never more
    if not 0 < parameters <= held:
        raise LayoutError(f"{groups} groups of {hint.group_size} weights do not fit in {codes.nbytes} bytes of codes")
    return Weight(
        level=hint.level,
        parameters=parameters,
        code_bits=stored if stored.denominator > 1 else code_bits(codes, parameters),  # words of 3-bit codes are padded
        group_size=hint.group_size if hint.group_size > 0 else None,
        symmetric="zero" not in module,
    )


def _rows(module: Module, stored: Fraction) -> int:
    """Rows of a weight whose codes are packed down its columns, W_q [rows*b/8, K], scale [rows, 1] or [1, K]."""
    codes, scale = module["W_q"], module["scale"]
    # one group per row: a scale for each; one group per column: the rows are those that the words hold
    if scale.shape[-1:] == (1,):
        return scale.elements
    most = int(codes.bits / stored) * codes.matrix[0]
    if "bias" in module:
        return module["bias"].elements
    if stored.denominator > 1:
        raise AmbiguousLayoutError("number of rows unknown: columns of 3-bit codes are padded to whole words")
    return most


_META = (
    "nbits group_size shape axis packing unpack_view_dtype view_as_float quant_scale quant_zero compute_dtype "
    "offload_meta encoded_state_dict stores_quant_config channel_wise optimize round_zero scale_q zero_q "
    "meta_scale meta_zero zero_scale scale2 scale_1 W_q_shape"
)
PACKING = Packing(
    "W_q",
    ("scale",),
    _fold,
    sides=(
        TensorRule("scale", (*FLOAT_TYPES, "UInt8", "Int32"), role="scale"),  # integers if scales are quantized as well
        TensorRule("zero", (*FLOAT_TYPES, "UInt8", "Int32"), role="zero_point"),
        *_META.split(),
    ),
)


def _nbits(config: object, attribute: Attribute[Any], value: float) -> None:  # Any: attrs takes its default for an int
    if value not in _NBITS:
        raise ValueError(f"{attribute.name} must be one of {', '.join(map(str, _NBITS))}, not {value}")


@frozen(kw_only=True, eq=False, repr=False)
class Params:
    """``weight_quant_params``: how weights are rounded."""

    ignored_keys: ClassVar[frozenset[str]] = words("axis channel_wise optimize round_zero view_as_float")

    nbits: float = field(default=4, validator=_nbits)
    group_size: int | None = field(default=64, validator=valid_group_size)

    def declared(self) -> DeclaredLevel:
        """Codes as they are stored, with a 16-bit scale and a 16-bit zero point per group."""
        level = _level(self.nbits)
        bits = with_scales(_STORED[level.bits_per_param], self.group_size, 32)
        return DeclaredLevel(level=level, group_size=self.group_size or -1, symmetric=False, bits_per_weight=bits)


def _level(nbits: float) -> QuantizationLevel:
    return levels["Ternary"] if nbits == _TERNARY else integer(int(nbits))


@frozen(kw_only=True, eq=False, repr=False)
class QuantConfig:
    """``quant_config``: the parameters of weights, and of scales and zero points if those are quantized too."""

    ignored_keys: ClassVar[frozenset[str]] = words("offload_meta quant_method skip_modules")

    weight_quant_params: Params | None = None
    scale_quant_params: Params | None = None
    zero_quant_params: Params | None = None

    def declared(self) -> DeclaredLevel | None:
        """The level of weights, if they are quantized; how much quantized scales take cannot be told."""
        if self.weight_quant_params is None:
            return None
        declared = self.weight_quant_params.declared()
        if self.scale_quant_params or self.zero_quant_params:
            return evolve(declared, bits_per_weight=None)
        return declared


@frozen(kw_only=True, eq=False, repr=False)
class HQQConfig(MethodConfig):
    """A ``quantization_config`` of method hqq."""

    skip_keys: ClassVar[tuple[str, ...]] = ("skip_modules", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words(
        "offload_meta scale_quant_params weight_quant_params zero_quant_params"
    )

    quant_config: QuantConfig = QuantConfig()
    #: last parts of module names (``self_attn.q_proj``) → their own parameters, or null for left as they are
    layers: Mapping[str, QuantConfig | None] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The level of all layers, if they have one."""
        return self.quant_config.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers with parameters of their own."""
        named = {f"*{name}": config for name, config in self.layers.items()}
        return level_of_each(named, lambda config: config.declared() if config else None)


def _prepare(config: Config) -> Config:
    """Tell a ``quant_config`` for all layers from one that maps the names of layers (``dynamic_config``)."""
    inner = config.get("quant_config")
    if isinstance(inner, dict) and inner and "weight_quant_params" not in inner:
        return {**config, "quant_config": {}, "layers": inner}
    if inner:
        return config
    return {**config, "quant_config": {**config}}  # the parameters stand in the section itself


@frozen(kw_only=True, eq=False, repr=False)
class SINQConfig(MethodConfig):
    """A ``quantization_config`` of method sinq."""

    ignored_keys: ClassVar[frozenset[str]] = words("dtype method nogemlite tiling_mode")

    nbits: float = field(default=4, validator=_nbits)
    group_size: int | None = field(default=64, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """As HQQ; what its second scale axis adds cannot be told."""
        return DeclaredLevel(level=_level(self.nbits), group_size=self.group_size, symmetric=False)


SCHEMES = (
    Scheme(method="hqq", config=HQQConfig, packings=(PACKING,), prepare=_prepare),
    Scheme(method="sinq", config=SINQConfig, packings=(PACKING,)),
)
