"""MLX, and transformers' Metal kernels: codes in 32-bit words along the input dimension, a scale and a bias per group.

Shapes fix only bits times group size: the config settles which. Source: mlx 0.32.4 and mlx-lm 0.32.2 ``utils.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from typing import ClassVar, Literal

from attrs import evolve, field, frozen

from quantlevels.container import JSON
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
    TensorInfo,
    TensorRule,
    Weight,
    declared_integer,
    exact,
    integer,
    level_of_each,
    microscaling,
    one_of,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import declared_as
from quantlevels.vocabulary.registry import levels

_WIDTHS = (1, 2, 3, 4, 5, 6, 8)
_GROUPS = (32, 64, 128)
_MODES = {"mxfp4": "MXFP4", "mxfp8": "MXFP8_E4M3", "nvfp4": "NVFP4"}
_DEFAULT_BITS, _DEFAULT_GROUP = 4, 64  # of a module that is named with less than all of its settings
_SCALE_AND_BIAS_BITS = 32
#: keys of the settings for all modules; names of modules stand beside them
_SETTINGS = words("bits group_size mode")


def _fold_affine(module: Module, hint: Hint) -> Weight:
    """weight U32 [N, K*b/32], scales and biases [N, K/g]."""
    codes, scales = module["weight"], module["scales"]
    # from the scales, never from the words alone: to count those showed 89B for a model of 314B (hub-docs #2704)
    if not codes.is_a("UInt32", "Int32"):
        raise LayoutError(f"weight is {codes.dtype} beside scales {scales.dtype}; expected 32-bit words")
    bits, group = _settled(_group_bits(codes, scales), hint)
    return Weight(
        level=integer(bits),
        parameters=group * scales.elements,
        shape=(*scales.shape[:-1], group * scales.shape[-1]),
        code_bits=Fraction(bits),
        group_size=group,
        symmetric=False,
    )


def equal_readings(bits: int, group_size: int) -> list[tuple[int, int]]:
    """The pairs of bits and group size that the same shapes may have, without the pair itself."""
    return [pair for pair in _readings(bits * group_size) if pair != (bits, group_size)]


def _readings(group_bits: int) -> list[tuple[int, int]]:
    """The pairs of bits and group size with a product: 4 in 64 is 8 in 32 and 2 in 128."""
    return [(bits, group) for bits, group in product(_WIDTHS, _GROUPS) if bits * group == group_bits]


def _settled(group_bits: int, hint: Hint) -> tuple[int, int]:
    """Bits and group size whose product is the bits of a group: the declared ones, or those that hold one of them."""
    fits = _readings(group_bits)
    declared = [fit for fit in fits if fit == (hint.bits, hint.group_size)]
    # mixed recipes of mlx-lm change the bits of some layers and keep the group size
    declared = declared or [fit for fit in fits if hint.bits and hint.group_size == fit[1]]
    if declared:
        return declared[0]
    if not fits:
        raise LayoutError(f"{group_bits} bits in a group: no width and group size of MLX give that")
    if len(fits) > 1:
        candidates = " or ".join(f"{bits} bits in groups of {group}" for bits, group in fits)
        raise AmbiguousLayoutError(f"can be {candidates}, and no config says which")
    return fits[0]


def _fold_mode(module: Module, hint: Hint) -> Weight | None:
    """weight U32 [N, K*b/32], scales U8 [N, K/32], or [N, K/16] for nvfp4."""
    codes, scales = module["weight"], module["scales"]
    # E8M0 and E4M3 scales are both bytes to MLX: the bits of a group tell mxfp4, mxfp8 and nvfp4 apart
    if not (codes.is_a("UInt32") and scales.is_a("UInt8")):
        return None
    group_bits = _group_bits(codes, scales)
    for name in _MODES.values():
        level = levels[name]
        if group_bits == level.bits_per_param * level.block.weights:
            return microscaling(level, (*scales.shape[:-1], level.block.weights * scales.shape[-1]))
    raise LayoutError(f"{group_bits} bits in a group: no width and group size of MLX give that")


def _group_bits(codes: TensorInfo, scales: TensorInfo) -> int:
    if codes.shape[:-1] != scales.shape[:-1]:
        raise LayoutError(f"scales has shape {list(scales.shape)}; expected the rows of weight, {list(codes.shape)}")
    return exact(codes.bits * codes.matrix[1], scales.matrix[1], "bits of a group")


_SCALES = TensorRule("scales", FLOAT_TYPES, "rows groups", role="scale")
_BIASES = TensorRule("biases", FLOAT_TYPES, "rows groups", role="zero_point")
_BLOCK_SCALES = TensorRule("scales", ("UInt8",), "rows groups", role="scale")
MODE = Packing(
    "weight", ("scales",), _fold_mode, sides=(_BLOCK_SCALES, TensorRule("global_scale", FLOAT_TYPES, "1", role="scale"))
)
AFFINE = Packing("weight", ("scales", "biases"), _fold_affine, sides=(_SCALES, _BIASES))
METAL = Packing("weight", ("scales", "qbiases"), _fold_affine, sides=(_SCALES, evolve(_BIASES, name="qbiases")))
_WORDS = TensorRule("weight", ("UInt32",), "rows packed_columns", role="codes")
_STORAGE = (
    Storage(
        format="affine",
        levels=tuple(f"Int{bits}" for bits in _WIDTHS),
        tensors=(_WORDS, _SCALES, _BIASES),
        group_size=_DEFAULT_GROUP,
        keeps=(),
        ragged="keeps",
        source="mlx 0.32.4 mx.quantize, mlx-lm 0.32.2 quantize_model",
    ),
    Storage(
        format="mlx",
        levels=tuple(_MODES.values()),
        tensors=(_WORDS, _BLOCK_SCALES),
        keeps=(),
        grouped=False,
        ragged="keeps",
        source="mlx 0.32.4 mx.quantize",
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class MLXSettings:
    """Bits, group size and mode, of all modules or of one."""

    bits: int = field(default=_DEFAULT_BITS, validator=one_of(*_WIDTHS))
    #: null for that of the mode
    group_size: int | None = field(default=None, validator=valid_group_size)
    mode: Literal["affine", "mxfp4", "mxfp8", "nvfp4"] = "affine"

    def declared(self) -> DeclaredLevel:
        """Integers with a 16-bit scale and a 16-bit bias per group, or a microscaling level."""
        if self.mode in _MODES:
            return declared_as(_MODES[self.mode])
        return declared_integer(self.bits, self.group_size or _DEFAULT_GROUP, False, side_bits=_SCALE_AND_BIAS_BITS)


@frozen(kw_only=True, eq=False, repr=False)
class MLXConfig(MethodConfig):
    """The ``quantization`` of an MLX config: settings for all, and beside them module names with their own."""

    skip_keys: ClassVar[tuple[str, ...]] = ()

    settings: MLXSettings | None = None
    modules: Mapping[str, MLXSettings | bool] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The settings for all."""
        if self.settings is None:
            return None
        return self.settings.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules with settings of their own; those with ``false`` are left as they are."""
        named = {name: settings for name, settings in self.modules.items() if settings is not True}
        return level_of_each(named, lambda settings: settings.declared() if isinstance(settings, MLXSettings) else None)

    def skipped(self) -> tuple[str, ...]:
        """The modules with ``false`` in place of settings."""
        return tuple(name for name, settings in self.modules.items() if settings is False)


def _prepare(config: Config) -> Config:
    """Settings for all modules, and modules that are named, stand side by side."""
    settings = {key: value for key, value in config.items() if key in _SETTINGS}
    modules: dict[str, JSON] = {}
    # names of modules are free, so that only the kind of a value tells them from settings that are not read
    modules |= {key: value for key, value in config.items() if isinstance(value, dict | bool) and key not in settings}
    others = {key: value for key, value in config.items() if key not in settings and key not in modules}
    return {**others, "settings": settings, "modules": modules}


@frozen(kw_only=True, eq=False, repr=False)
class MetalConfig(MethodConfig):
    """A ``quantization_config`` of method metal."""

    bits: int = field(default=4, validator=one_of(2, 4, 8))
    group_size: int = field(default=64, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Integers in groups; scales and biases are 16 or 32 bits wide, which the config does not say."""
        return DeclaredLevel(level=integer(self.bits), group_size=self.group_size, symmetric=False)


SCHEMES = (
    Scheme(method="mlx", config=MLXConfig, packings=(MODE, AFFINE), prepare=_prepare, storage=_STORAGE),
    Scheme(method="metal", config=MetalConfig, packings=(METAL,)),
)
