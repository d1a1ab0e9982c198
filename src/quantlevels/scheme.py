"""What every scheme shares: what a config declares, how tensors of a module fold into a weight, and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

from attrs import frozen

from quantlevels.container import JSON, UnknownType
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.formats.plain import INTEGERS
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    from attrs import Attribute


Config: TypeAlias = Mapping[str, JSON]


@final
@frozen(kw_only=True)
class DeclaredLevel:
    """A level that a config says some or all of the quantized weights have.

    Args:
        level: the level of the codes.
        group_size: weights that share one scale along a row; -1 where the config says -1; None per row or per tensor.
        block: rows and columns of weights that share one scale, where scales are two-dimensional.
        symmetric: whether codes need no zero point; None where the config does not say.
        bits_per_weight: codes, scales and zero points a weight takes, exact, without per-row and per-tensor extras;
            None where it cannot be told.
        targets: the modules it is for, as the config names them; None for all that are not named otherwise.
        average: whether its width is one that weights keep on the whole, each with a width of its own (EXL2, EXL3).
        parameters: logical weights of each of its modules, where the config says how many (VPTQ).
    """

    level: QuantizationLevel
    group_size: int | None = None
    block: tuple[int, int] | None = None
    symmetric: bool | None = None
    bits_per_weight: Fraction | None = None
    targets: tuple[str, ...] | None = None
    average: bool = False
    parameters: int | None = None


class TensorInfo(NamedTuple):
    """A tensor of a module without its name: all that folding may depend on."""

    dtype: QuantizationLevel | UnknownType
    #: stored elements per axis
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """TensorInfo elements."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one stored element: 32 for the words of packed codes."""
        return 0 if isinstance(self.dtype, UnknownType) else self.dtype.block.bits

    @property
    def matrix(self) -> tuple[int, int]:
        """The last two axes.

        Raises:
            LayoutError: if there are fewer.
        """
        if len(self.shape) < 2:
            raise LayoutError(f"a matrix is needed, not a shape of {list(self.shape)}")
        return self.shape[-2], self.shape[-1]

    @property
    def stack(self) -> int:
        """How many matrices: the experts of a stacked weight."""
        return math.prod(self.shape[:-2])

    def is_a(self, *names: str) -> bool:
        """Whether an element is of one of these levels, by name."""
        return isinstance(self.dtype, QuantizationLevel) and self.dtype.name in names


#: suffix → tensor, for all tensors of one module: ``{"qweight": ..., "scales": ...}``
Module: TypeAlias = Mapping[str, TensorInfo]


@final
@frozen(kw_only=True)
class Hint:
    """What shapes may leave open and is known of a module from elsewhere: its config, or the rest of the model.

    Args:
        level: the declared level; None where nothing is declared.
        group_size: weights that share one scale along a row; -1 or None for one scale a row.
        symmetric: whether codes need no zero point; None where nothing says.
        parameters: logical weights, where the config says how many.
        block: rows and columns of weights that share one scale, where the config says so.
    """

    level: QuantizationLevel | None = None
    group_size: int | None = None
    symmetric: bool | None = None
    parameters: int | None = None
    block: tuple[int, int] | None = None

    @property
    def bits(self) -> int | None:
        """The declared nominal width in bits."""
        return self.level.bits_per_param if self.level else None


@final
@frozen(kw_only=True)
class Weight:
    """One logical weight, folded from the tensors of its module.

    Args:
        level: the level of its codes.
        parameters: logical weights.
        code_bits: bits a code takes in storage, with what packing wastes: 8 for an int4 kept in a byte.
        group_size: weights that share one scale along a row; None per row, per tensor and for blocks in two dimensions.
        symmetric: whether there are no zero points; None where that cannot be told or means nothing.
    """

    level: QuantizationLevel
    parameters: int
    code_bits: Fraction
    group_size: int | None = None
    symmetric: bool | None = None


class LayoutError(Exception):
    """The tensors of a module do not fit the layout their names announce. Becomes a finding, never reaches a user."""


class AmbiguousLayoutError(Exception):
    """The tensors of a module fit several layouts and nothing tells which. Becomes a finding, never reaches a user."""


class UnknownTypeError(ValueError):
    """A method's word for a level that is not known. Becomes a finding: what is stored is told all the same."""


@final
@frozen
class Packing:
    """How a quantizer lays out one weight: which tensors it is made of, and how their shapes give it back.

    Args:
        codes: suffix of the tensor that holds the codes.
        needs: suffixes that must stand beside it.
        fold: (module, hint) → the weight; None where the tensors are none of its own. Raises LayoutError where shapes
            do not fit, AmbiguousLayoutError where they leave open what the config does not say.
        sides: suffixes that may stand beside it and are no parameters either, besides those of `ALWAYS_SIDES`.
    """

    codes: str
    needs: tuple[str, ...]
    fold: Callable[[Module, Hint], Weight | None]
    sides: tuple[str, ...] = ()

    def matches(self, module: Module) -> bool:
        """Whether a module has the tensors this packing needs."""
        return self.codes in module and all(side in module for side in self.needs)

    def weight(self, module: Module, hint: Hint) -> Weight | None:
        """The weight of a module that it matches, None where the tensors are none of its own.

        Raises:
            LayoutError: if a tensor has no elements, or shapes do not fit.
            AmbiguousLayoutError: if shapes leave open what the config does not say.
        """
        if not all(module[suffix].elements for suffix in (self.codes, *self.needs)):
            raise LayoutError("codes or scales without elements")
        return self.fold(module, hint)


@frozen(kw_only=True)
class MethodConfig:
    """Base of the attrs classes into which the config of a method is structured.

    Args:
        modules_to_not_convert: modules that are left unquantized, as the config names them; known under many keys.
    """

    modules_to_not_convert: tuple[str, ...] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all quantized weights that are not named otherwise; None where there is none.

        Raises:
            NotImplementedError: unless a method says it.
        """
        raise NotImplementedError

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """Module name, glob or ``re:`` pattern → its own level, None for left as it is."""
        return {}

    def skipped(self) -> tuple[str, ...]:
        """Modules that are left unquantized: names, globs, ``re:`` patterns."""
        return self.modules_to_not_convert or ()

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of the key-value cache, where that is quantized as well."""
        return None

    def quantized_on_disk(self) -> bool:
        """Whether weights are stored quantized, not only once they are loaded."""
        return True


def _as_written(config: Config) -> Config:
    return config


def renamed(**keys: str) -> Callable[[Config], Config]:
    """A ``Scheme.prepare`` for configs that write a field under other keys: ``renamed(w_bit="bits")``."""
    return lambda config: {keys.get(key, key): value for key, value in config.items()}


def unwrapped(key: str) -> Callable[[Config], Config]:
    """A ``Scheme.prepare`` for configs that may hold all of their fields in an object of their own."""

    def prepare(config: Config) -> Config:
        own = config.get(key)
        return own if isinstance(own, dict) else config

    return prepare


@final
@frozen(kw_only=True)
class Scheme:
    """One quantization method: how its config reads, and how it packs weights.

    Args:
        method: its name, the ``quant_method`` of its configs.
        config: the class its config is structured into; unknown keys are left alone.
        packings: the layouts it writes, most specific first.
        aliases: other ``quant_method`` values for it.
        prepare: what turns a config as it is written into one with the fields of ``config``.
    """

    method: str
    config: type[MethodConfig]
    packings: tuple[Packing, ...] = ()
    aliases: tuple[str, ...] = ()
    prepare: Callable[[Config], Config] = _as_written


#: The narrowest width that counts as not quantized.
UNQUANTIZED_BITS: Final = 16
#: What a config says for one scale a row.
PER_ROW: Final = -1
_LARGEST_GROUP: Final = 2**31
_INTEGERS: Final = {level.name: level for level in (*BUILTIN, *INTEGERS)}

#: Scales and zero points, of activations and the key-value cache too: no parameters, whatever the method.
ALWAYS_SIDES: Final = (
    frozenset(
        f"{what}{scale}"
        for what in ("input", "output", "q", "k", "v", "prob", "input_global", "input_activation", "output_activation")
        for scale in ("_scale", "_zero_point")
    )
    | {"pre_quant_scale", "act_global_scale", "input_scale_inv", "activation_scale", "kv_scale", "act_scale"}
    | {"kv_cache_scaling_factor", "input_scale_2", "output_scale_2", "weight_zero_point_2"}
    | {"scale_weight", "scale_input", "scaled_fp8", "comfy_quant"}
    | {f"weight_{what}" for what in ["scale", "scale_inv", "scale_2", "global_scale", "zero_point", "shape", "g_idx"]}
)


def microscaling(level: QuantizationLevel, parameters: int) -> Weight:
    """A weight whose scales are those of its level's own blocks."""
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(level.bits_per_param),
        group_size=level.block.weights,
        symmetric=True,
    )


def exact(numerator: int, denominator: int, what: str) -> int:
    """A quotient that must be whole and not zero.

    Raises:
        LayoutError: if it is not.
    """
    if not denominator or numerator % denominator or not numerator:
        raise LayoutError(f"{what}: {numerator} is not a multiple of {denominator}")
    return numerator // denominator


def group_size(row: int, groups: int, hint: Hint) -> int | None:
    """Weights along a row that share a scale, from the row's length and its groups; None for one group a row.

    The last group may be short where the size is known from elsewhere; else groups must tile the row.

    Raises:
        LayoutError: if they do not.
    """
    known = hint.group_size
    if known and known > 0 and -(-row // known) == groups:
        return known
    if groups == 1:
        return None
    return exact(row, groups, "scale groups do not tile a row")


def code_bits(codes: TensorInfo, parameters: int) -> Fraction:
    """Bits of storage a code takes, padding included."""
    return Fraction(codes.nbytes * BITS_PER_BYTE, parameters)


def with_scales(bits: Fraction | int, group: int | None, side_bits: int) -> Fraction:
    """Bits per weight of codes in groups with so many bits of scale and zero point each, without per-row extras."""
    return bits + Fraction(side_bits, group) if group and group > 0 else Fraction(bits)


def one_of(*allowed: int) -> Callable[[object, Attribute[int], int], None]:
    """A validator for the widths in bits a method knows.

    Raises:
        ValueError: (the validator) for another.
    """

    def check(config: object, attribute: Attribute[int], value: int) -> None:
        if value not in allowed:
            raise ValueError(
                f"{attribute.name} must be {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}, not {value}"
            )

    return check


def within(least: int, most: int) -> Callable[[object, Attribute[Any], float], None]:  # Any: int or float fields
    """A validator for a number with bounds; NaN is in none.

    Raises:
        ValueError: (the validator) for one that is out of them.
    """

    def check(config: object, attribute: Attribute[Any], value: float) -> None:  # Any: as above
        if not least <= value <= most:
            raise ValueError(f"{attribute.name} must be between {least} and {most}, not {value}")

    return check


def valid_group_size(
    config: object, attribute: Attribute[Any], value: int | None
) -> None:  # Any: int or int | None fields
    """A validator for group sizes: a number of weights, -1 for whole rows, or nothing.

    Raises:
        ValueError: for any other number.
    """
    if value is not None and value != PER_ROW and not 1 <= value <= _LARGEST_GROUP:
        raise ValueError(f"{attribute.name} must be a number of weights, or -1 for whole rows, not {value}")


def integer(bits: int, *, unsigned: bool = False) -> QuantizationLevel:
    """The integer level of a width in bits.

    Raises:
        LayoutError: if it is not 1 to 8.
    """
    if not 1 <= bits <= BITS_PER_BYTE:
        raise LayoutError(f"{bits}-bit codes")
    return _INTEGERS[f"{'UInt' if unsigned else 'Int'}{bits}"]


def declared_integer(
    bits: int,
    group_size: int | None,
    symmetric: bool | None,
    *,
    side_bits: int = 0,
    unsigned: bool = False,
) -> DeclaredLevel:
    """Integer codes with so many bits of scale and zero point for each group of weights along a row.

    Raises:
        LayoutError: if the codes have not 1 to 8 bits.
    """
    return DeclaredLevel(
        level=integer(bits, unsigned=unsigned),
        group_size=group_size,
        symmetric=symmetric,
        bits_per_weight=with_scales(bits, group_size, side_bits),
    )
