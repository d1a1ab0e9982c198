"""SDNQ (SD.Next): integers and floats of any width, packed without a gap, in groups, with or without a low-rank part.

Codes narrower than a byte lose the shape of their weight, so the width is the config's to say. Unsigned codes have zero
points, unless a codebook takes the place of scales; scales and zero points may be quantized themselves.

Source: sdnq 0.2.8, ``quantizer.py``, ``common.py``, ``packed_int/pack.py``, ``packed_float.py``, ``utils.py``.
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
    LayoutError,
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
    integer,
    level_of_each,
    with_scales,
    within,
    words,
)
from quantlevels.schemes.common import check_low_rank, codebook_level, float_level
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: What ``fp9`` and the like stand for: bits of the exponent; what remains beside the sign is mantissa.
_SHORT_EXPONENTS: Final = {
    **dict.fromkeys((1, 2, 3), 1),
    **dict.fromkeys((4, 5), 2),
    **dict.fromkeys((6, 7), 3),
    **dict.fromkeys((8, 9), 4),
    **dict.fromkeys(range(10, 16), 5),
}
#: Words for levels that other libraries have too, stored as torch has them.
_SHIPPED: Final = {
    "bool": "UInt1",
    "int1": "UInt1",
    "fp8": "Float8E4M3FN",
    **{word: word for word in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")},
    **{word: word for word in ("float8_e8m0fnu", "float16", "bfloat16", "float32", "fp16", "bf16", "fp32")},
    **{word: word for word in ("int16", "int32", "uint16", "uint32")},
}
_INTEGER: Final = re.compile(r"(u?)int(\d{1,2})", re.ASCII)
_FLOAT: Final = re.compile(r"float\d{1,2}_e(\d)m(\d{1,2})fn(u?)(?:_sdnq)?", re.ASCII)
_SHORT_FLOAT: Final = re.compile(r"(u?)fp(\d{1,2})", re.ASCII)
_MINIMUM: Final = re.compile(r"(?:minimum)?[-_]?(u?)(?:int)?(\d{1,2})[-_]?(?:bits?)?", re.ASCII)
_WEIGHT: Final = ".weight"
#: The narrowest width that ``minimum_6bit`` and the like take signed codes for.
_SIGNED_FROM: Final = 5
_FLOAT32_BITS: Final = 32
#: Group sizes: -2 is one scale per tensor, -1 per row, 0 a size chosen for each layer.
_PER_TENSOR: Final = -2
#: Axes of scales in groups: [N, G, 1] of a linear layer, [N, G, 1, height, width] of a convolution.
_GROUPED_AXES: Final = (3, 5)


def level_of(word: str) -> QuantizationLevel:
    """The level that a ``weights_dtype`` names.

    Raises:
        UnknownTypeError: for a word that SDNQ does not have.
    """
    word = word.lower()
    if word in _SHIPPED:
        return levels[_SHIPPED[word]]
    match = _INTEGER.fullmatch(word)
    if match:
        return _integer(int(match[2]), unsigned=bool(match[1]))
    match = _FLOAT.fullmatch(word)
    if match:
        return float_level(int(match[1]), int(match[2]), signed=not match[3])
    match = _SHORT_FLOAT.fullmatch(word)
    if match and int(match[2]) in _SHORT_EXPONENTS:
        bits = int(match[2])
        signed = not match[1] and bits > 1  # a float of one bit has no room for a sign
        exponent = _SHORT_EXPONENTS[bits]
        return float_level(exponent, bits - exponent - signed, signed=signed)
    raise UnknownTypeError(f"weights_dtype {word!r:.80} is not known")


def _integer(bits: int, *, unsigned: bool) -> QuantizationLevel:
    if 1 <= bits <= BITS_PER_BYTE:
        return integer(bits, unsigned=unsigned)
    # SDNQ has integers of more widths than levels are shipped for
    if unsigned:
        return QuantizationLevel(name=f"UInt{bits}", bits_per_param=bits, kind="uint")
    return QuantizationLevel(name=f"Int{bits}", bits_per_param=bits, kind="int")


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight in bytes or 16-bit words, flat if packed; scale [N, 1], [N, G, 1] in groups, or 2^b values as a codebook.

    Groups split the inputs: unpacked codes are [N, G, g]. Convolutions have the axes of their kernel after the inputs.
    """
    codes, scale = module["weight"], module["scale"]
    level = hint.level
    if level is None:
        if not codes.is_a("UInt8", "Int16", "UInt16", "Int64"):
            return None  # codes of a byte each, which are read as those of other methods are
        raise AmbiguousLayoutError("bit width of SDNQ's packed codes is unknown: no config")
    parameters = _parameters(codes, level)
    entries = 2**level.bits_per_param if level.kind == "codebook" else 1
    if scale.elements % entries:
        raise LayoutError(f"scale {list(scale.shape)} is not a table of {entries} values for each group")
    shape = _logical_shape(parameters, codes, scale, entries)
    _check_sides(module, shape, is_packed=codes.bits != level.bits_per_param)
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(codes.bits * codes.elements, parameters),
        group_size=_group_size(parameters, scale, entries, hint),
        symmetric=None if level.kind == "codebook" else "zero_point" not in module,
        shape=shape,
    )


def _parameters(codes: TensorInfo, level: QuantizationLevel) -> int:
    """Codes in a tensor: packed without a gap, but for those of one bit in words of 64 bits."""
    if codes.is_a("Int64") and level.bits_per_param == 1:
        return BITS_PER_BYTE * codes.elements  # shifts of booleans widen the elements, and eight codes share one
    return exact(codes.bits * codes.elements, level.bits_per_param, "codes in bytes")


def _group_size(parameters: int, scale: TensorInfo, entries: int, hint: Hint) -> int | None:
    """Weights that share a scale: by the axis of groups, or as declared if the scales are packed themselves."""
    if not _has_axes(scale, entries):
        if hint.group_size and hint.group_size > 0:
            return hint.group_size
        return None
    shared, rest = divmod(parameters, scale.elements // entries)
    if rest:
        raise TensorRuleError(f"scale has shape {list(scale.shape)}, which does not divide {parameters:,} weights")
    if len(scale.shape) in _GROUPED_AXES and scale.shape[1] > 1:
        return shared
    return None  # one scale per row or per tensor


def _check_sides(module: Module, shape: tuple[int, ...], *, is_packed: bool) -> None:
    """Refuse zero points and scales of other rows, and a low-rank part of another weight.

    Args:
        module: the tensors.
        shape: rows and columns of the weight; empty if unknown.
        is_packed: whether codes have lost the axes of the weight.
    """
    codes, scale = module["weight"], module["scale"]
    zero_point, up, down = (module.get(name) for name in ("zero_point", "svd_up", "svd_down"))
    if zero_point and zero_point.shape != scale.shape:
        raise TensorRuleError(
            f"zero_point has shape {list(zero_point.shape)}; expected that of scale, {list(scale.shape)}"
        )
    if not is_packed and len(codes.shape) == len(scale.shape):
        shared = zip(codes.shape, scale.shape, strict=True)
        if any(scales not in (1, length) for length, scales in shared):
            raise TensorRuleError(f"scale has shape {list(scale.shape)} beside codes of shape {list(codes.shape)}")
    if up and down and shape:
        check_low_rank(up, down, *shape)


def _has_axes(scale: TensorInfo, entries: int) -> bool:
    """Whether scales have the axes of their weight: packed ones are flat, or in rows of a few bytes."""
    if len(scale.shape) < 2:
        return scale.elements == entries
    return scale.shape[-1] in (1, entries) or len(scale.shape) > 3 or scale.shape[0] == 1


def _logical_shape(parameters: int, codes: TensorInfo, scale: TensorInfo, entries: int) -> tuple[int, ...]:
    """Rows and columns of a linear layer; empty for convolutions, transposed weights and scales without axes."""
    linear = len(scale.shape) in (2, 3) and _has_axes(scale, entries) and scale.shape[0] > 1
    if not linear or parameters % scale.shape[0] or len(codes.shape) > len(scale.shape):
        return ()
    return scale.shape[0], parameters // scale.shape[0]


#: Scales and zero points may be quantized themselves, packed or in bytes.
_SCALE_TYPES: Final = (*SCALE_TYPES, "Int8", "Int16", "UInt16", "Int64")
_SIDES: Final = (
    TensorRule("scale", _SCALE_TYPES, role="scale"),
    TensorRule("scale_2", FLOAT_TYPES, role="scale"),
    TensorRule("scale_zero_point", FLOAT_TYPES, role="scale"),
    TensorRule("zero_point", _SCALE_TYPES, role="zero_point"),
    TensorRule("zero_point_scale", FLOAT_TYPES, role="zero_point"),
    TensorRule("zero_point_2", FLOAT_TYPES, role="zero_point"),
    TensorRule("svd_up", FLOAT_TYPES, role="correction"),
    TensorRule("svd_down", FLOAT_TYPES, role="correction"),
)
_ASYMMETRIC: Final = Packing("weight", ("scale", "zero_point"), _fold, _SIDES)
_LOW_RANK: Final = Packing("weight", ("scale", "svd_up"), _fold, _SIDES)
_PLAIN: Final = Packing("weight", ("scale",), _fold, _SIDES, declared_only=True)


@frozen(kw_only=True, eq=False, repr=False)
class SDNQSettings(MethodConfig):
    """What may be set for all layers, or for some."""

    weights_dtype: str = "int8"
    group_size: int = field(default=0, validator=within(_PER_TENSOR, 2**31))
    scale_dtype: str | None = None
    use_codebook: bool = False

    def declared(self) -> DeclaredLevel:
        """The level of a layer.

        Raises:
            UnknownTypeError: for a type that SDNQ does not have.
        """
        level = level_of(self.weights_dtype)
        bits = Fraction(level.bits_per_param)
        if self.use_codebook:
            return DeclaredLevel(level=codebook_level("LUT", bits), group_size=self._declared_group())
        symmetric = level.kind != "uint" and not level.name.endswith("FNU")
        sides = _FLOAT32_BITS if symmetric else 2 * _FLOAT32_BITS
        # 0 is a size that SDNQ chooses for each layer, and other scale types are quantized once more
        fixed = self.group_size > 0 and self.scale_dtype in (None, "none")
        return DeclaredLevel(
            level=level,
            group_size=self._declared_group(),
            symmetric=symmetric,
            bits_per_weight=with_scales(bits, self.group_size, sides) if fixed else None,
        )

    def _declared_group(self) -> int | None:
        return self.group_size if self.group_size > 0 else None


@frozen(kw_only=True, eq=False, repr=False)
class SDNQChanges:
    """What is set otherwise for some layers; None for what is not."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "add_skip_keys codebook_steps dequantize_fp32 dynamic_loss_threshold hadamard_group_size is_integer "
        "is_training is_unsigned minimum_allowed_channel_size minimum_allowed_numel modules_to_not_use_matmul "
        "non_blocking quant_conv quant_embedding quantization_device quantized_matmul_dtype return_device "
        "sdnq_version svd_rank svd_steps use_codebook_scale use_grad_ckpt use_hadamard use_quantized_matmul "
        "use_quantized_matmul_conv use_static_quantization use_stochastic_rounding use_svd zero_point_dtype"
    )

    weights_dtype: str | None = None
    group_size: int | None = None
    scale_dtype: str | None = None
    use_codebook: bool | None = None

    def applied_to(self, settings: SDNQSettings) -> SDNQSettings:
        """The settings with these changes."""
        changes = asdict(self, filter=lambda _, value: value is not None)
        return evolve(settings, **changes)


@frozen(kw_only=True, eq=False, repr=False)
class SDNQConfig(SDNQSettings):
    """A ``quantization_config`` of method sdnq, or the ``quantization_config.json`` beside its weights."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "add_skip_keys codebook_steps dequantize_fp32 dynamic_loss_threshold hadamard_group_size is_integer "
        "is_training is_unsigned minimum_allowed_channel_size minimum_allowed_numel modules_to_not_use_matmul "
        "non_blocking quant_conv quant_embedding quantization_device quantized_matmul_dtype return_device "
        "sdnq_version svd_rank svd_steps use_codebook_scale use_grad_ckpt use_hadamard use_quantized_matmul "
        "use_quantized_matmul_conv use_static_quantization use_stochastic_rounding use_svd zero_point_dtype"
    )
    overrides_inherit: ClassVar[bool] = True

    #: type, or ``minimum_6bit`` → the modules that have at least it
    modules_dtype_dict: Mapping[str, tuple[str, ...]] | None = None
    modules_quant_config: Mapping[str, SDNQChanges] | None = None
    use_dynamic_quantization: bool = False

    def general(self) -> DeclaredLevel | None:
        """The level of all layers; None if each layer got the narrowest type that is good enough for it."""
        if self.use_dynamic_quantization and not self.modules_dtype_dict:
            return None
        return self.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that have a type or settings of their own."""
        settings: dict[str, SDNQSettings] = {}
        for word, modules in (self.modules_dtype_dict or {}).items():
            narrowed = evolve(self, weights_dtype=self._at_least(word))
            settings.update({pattern(module): narrowed for module in modules})
        for module, changes in (self.modules_quant_config or {}).items():
            settings[pattern(module)] = changes.applied_to(self)
        return level_of_each(settings, SDNQSettings.declared)

    def _at_least(self, word: str) -> str:
        """A type by its name, or the type that ``minimum_6bit`` makes of the general one."""
        match = _MINIMUM.fullmatch(word.lower())
        if match is None or not word.lower().startswith("minimum"):
            return word
        bits = int(match[2])
        if level_of(self.weights_dtype).bits_per_param >= bits:
            return self.weights_dtype
        if match[1] or bits < _SIGNED_FROM:
            return f"uint{bits}"
        return f"int{bits}"

    def skipped(self) -> tuple[str, ...]:
        """The modules left as they are."""
        return tuple(pattern(module) for module in self.modules_to_not_convert or ())


def pattern(entry: str) -> str:
    """An entry of a list of modules as a ``re:`` pattern.

    SDNQ takes an entry for the start of a name if it begins with a dot, for a glob that must match from the start if it
    has a star, and else for the whole name or one of its components.
    """
    name = entry.removesuffix(_WEIGHT)
    if name.startswith("."):
        return f"re:{re.escape(name[1:])}"
    if "*" in name:
        return f"re:{'.*'.join(map(re.escape, name.split('*')))}"
    component = re.escape(name)
    return rf"re:(.*\.)?{component}(\..*)?$"


def _prepare(config: Config) -> Config:
    """Lists of modules may be a single name, or nothing."""
    prepared = dict(config)
    lists = config.get("modules_dtype_dict")
    if isinstance(lists, dict):
        prepared["modules_dtype_dict"] = {word: _as_list(names) for word, names in lists.items()}
    if "modules_to_not_convert" in config:
        prepared["modules_to_not_convert"] = _as_list(config["modules_to_not_convert"])
    return prepared


def _as_list(names: JSON) -> JSON:
    if isinstance(names, str):
        return [names]
    return names


def _storage(level: QuantizationLevel, codes: str, shape: str) -> Storage:
    """Codes with scales of 32 bits, and zero points if they are unsigned, in the groups that SDNQ chooses."""
    scales = TensorRule("scale", ("None",), "rows groups", role="scale")
    zero_points = TensorRule("zero_point", ("None",), "rows groups", role="zero_point")
    unsigned = level.kind == "uint"
    sides = (scales, zero_points) if unsigned else (scales,)
    return Storage(
        format="sdnq",
        levels=(level.name,),
        tensors=(TensorRule("weight", (codes,), shape, role="codes"), *sides),
        group_size=4 * 2**level.bits_per_param,
        zero_point="always" if unsigned else "never",
        ragged="refuses",
        source="sdnq 0.2.8 quantizer.py sdnq_quantize_layer_weight, of linear layers",
    )


_PACKED_BITS: Final = range(2, BITS_PER_BYTE)
_STORAGE: Final = (
    *(_storage(integer(bits), "UInt8", "packed_weights") for bits in _PACKED_BITS),
    *(_storage(integer(bits, unsigned=True), "UInt8", "packed_weights") for bits in _PACKED_BITS),
    _storage(integer(8), "Int8", "rows columns"),
    _storage(integer(8, unsigned=True), "UInt8", "rows columns"),
    _storage(levels["Float8E4M3FN"], "Float8E4M3FN", "rows columns"),
)

SCHEMES = (
    Scheme(
        method="sdnq",
        config=SDNQConfig,
        packings=(_ASYMMETRIC, _LOW_RANK, _PLAIN),
        aliases=("sdnq_training",),
        prepare=_prepare,
        storage=_STORAGE,
    ),
)
