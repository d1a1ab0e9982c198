"""The records of a level and of its storage block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import index
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NoReturn, TypeAlias, final, get_args

from attrs import Factory, field, fields, frozen

from quantlevels.errors import UntranslatableLevelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from attrs import Attribute

    from quantlevels.vocabulary.layout import Layout

__all__ = [
    "Block",
    "QuantizationLevel",
]

Spelling: TypeAlias = str | int
Spellings: TypeAlias = Mapping[str, tuple[Spelling, ...]]

#: Another name of a dialect → the name that the tables use. People say GGUF, the format of the file, for ggml's types.
_DIALECT_ALIASES: Final[dict[str, str]] = {"gguf": "ggml"}
Kind: TypeAlias = Literal[
    "float", "int", "uint", "bool", "complex", "ternary", "block", "microscaling", "codebook", "custom"
]

_KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))
BITS_PER_BYTE: Final = 8
_FP32_BITS: Final = 32
_MAX_BITS: Final = 1024  # of a code: far wider than any number format, so that a slip is not taken for a level


def positive(instance: object, attribute: Attribute[int], value: int) -> None:
    """Raise TypeError or ValueError for anything but an integer of at least 1."""
    if type(value) is not int:  # not isinstance: True is an int to Python
        raise TypeError(f"{attribute.name} must be an integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value}")


def natural(instance: object, attribute: Attribute[int], value: int) -> None:
    """Raise TypeError or ValueError for anything but an integer of at least 0."""
    if type(value) is not int:
        raise TypeError(f"{attribute.name} must be an integer, not {value!r}")
    if value < 0:
        raise ValueError(f"{attribute.name} must not be negative, not {value}")


def canonical_dialect(dialect: str) -> str:
    """The name of a dialect that the tables of spellings use: ``ggml`` for ``gguf``."""
    return _DIALECT_ALIASES.get(dialect, dialect)


def ceil_div(dividend: int, divisor: int) -> int:
    """The quotient of two integers, rounded up."""
    return -(-dividend // divisor)  # in integers: math.ceil of a float quotient is wrong from 2 to the 53 on


@final
@frozen(order=False, repr=False)  # no order is the default, but mypy assumes one
class Block:
    """The storage cell of a level: ``weights`` weights in ``bits`` bits, scales included.

    Args:
        weights: how many weights one cell holds, at least 1.
        bits: the size of one cell in bits, at least 1.
        row_bits: what each row of weights stores once, beside its cells, such as the row scale of ``IQ4_KS``.

    Raises:
        TypeError, ValueError: for anything but such integers.
    """

    weights: int = field(validator=positive)
    bits: int = field(validator=positive)
    row_bits: int = field(default=0, validator=natural)

    @property
    def bits_per_weight(self) -> Fraction:
        """``bits / weights``, exact; without ``row_bits``, whose share depends on the length of the row."""
        from fractions import Fraction  # here: it takes a tenth of the time to import quantlevels

        return Fraction(self.bits, self.weights)

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of ``shape`` (weights per axis, rows last).

        Each row takes whole blocks and whole bytes, and ``row_bits`` once, unless it is empty.

        Raises:
            TypeError, ValueError: for sizes that are not integers, or are negative.
        """
        *outer, row = axes(shape)
        if row == 0:  # no weights, so no row scale either
            return 0
        bits = ceil_div(row, self.weights) * self.bits + self.row_bits
        return math.prod(outer) * ceil_div(bits, BITS_PER_BYTE)

    def __repr__(self) -> str:
        if self.row_bits:
            return f"Block(weights={self.weights}, bits={self.bits}, row_bits={self.row_bits})"
        return f"Block(weights={self.weights}, bits={self.bits})"


def axes(shape: Sequence[int]) -> list[int]:
    """The sizes of a shape; a scalar has one axis of size 1.

    Raises:
        TypeError, ValueError: for sizes that are not integers, or are negative.
    """
    sizes = [index(size) for size in shape] or [1]  # `index` takes numpy's integers and refuses 3.0
    if min(sizes) < 0:
        raise ValueError(f"shape must have no negative sizes, not {shape!r}")
    return sizes


def _read_only(spellings: Spellings) -> Spellings:
    if not isinstance(spellings, Mapping):
        raise TypeError(f"spellings must be a mapping of dialects to words, not {spellings!r}")
    return MappingProxyType(dict(spellings))  # a copy, so that nobody can change it through their own dict


def _check_name(level: QuantizationLevel, attribute: Attribute[str], name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    # the name becomes a constant, a mapping key in TOML and part of file names: what an identifier is fits all of them
    if not (name.isascii() and name.isidentifier()):
        raise ValueError(f"name must be ASCII letters, digits and underscores, no digit first, not {name!r}")


def _check_text(level: QuantizationLevel, attribute: Attribute[str], value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a string, not {value!r}")
    if not value.isprintable():
        raise ValueError(f"{attribute.name} must be printable, not {value!r}")


def _check_label(level: QuantizationLevel, attribute: Attribute[str], label: str) -> None:
    _check_text(level, attribute, label)
    if not label:
        raise ValueError("label must not be empty")


def _check_bits(level: QuantizationLevel, attribute: Attribute[int], bits: int) -> None:
    positive(level, attribute, bits)
    if bits > _MAX_BITS:
        raise ValueError(f"{attribute.name} must be at most {_MAX_BITS}, not {bits}")


def _check_block(level: QuantizationLevel | None, attribute: Attribute[Block], block: Block) -> None:
    if type(block) is not Block:  # exactly: equality of levels is over all fields
        raise TypeError(f"block must be a Block, not {block!r}")
    if level is None:  # a table of a config file, whose fields are checked one by one
        return
    # a nominal width is rounded up: ternary codes in 1.6875 bits each have 2
    if level.bits_per_param > ceil_div(block.bits, block.weights):
        raise ValueError(
            f"a block of {block.weights} weights in {block.bits} bits is too small for codes of"
            f" {level.bits_per_param} bits"
        )


def _check_word(word: object, what: str) -> None:
    if not isinstance(word, str):
        raise TypeError(f"{what} must be strings, not {word!r}")
    if not (word and word.isascii() and word.isprintable() and " " not in word):
        raise ValueError(f"{what} must be printable ASCII words, not {word!r}")


def _check_aliases(level: QuantizationLevel, attribute: Attribute[tuple[str, ...]], aliases: tuple[str, ...]) -> None:
    if not isinstance(aliases, tuple):
        raise TypeError(f"aliases must be a tuple of strings, not {aliases!r}")
    for alias in aliases:
        _check_word(alias, "aliases")


def _check_spellings(level: QuantizationLevel, attribute: Attribute[Spellings], spellings: Spellings) -> None:
    for dialect, words in spellings.items():
        _check_word(dialect, "dialects")
        if type(words) is not tuple or not words:
            raise TypeError(f"spellings in {dialect!r} must be a tuple of at least one string or number, not {words!r}")
        for word in words:
            if type(word) is not int:
                _check_word(word, f"spellings in {dialect!r}")


def _check_kind(level: QuantizationLevel, attribute: object, kind: object) -> None:
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(sorted(_KINDS))}, not {kind!r}")


# functions, not attrs' decorated methods: to type checkers, those would make the two fields required
def _default_label(level: QuantizationLevel) -> str:
    return level.name


def _default_block(level: QuantizationLevel) -> Block:
    # checked here too: validators run after defaults, and Block's own message would name `bits`
    _check_bits(level, fields(QuantizationLevel).bits_per_param, level.bits_per_param)
    return Block(1, level.bits_per_param)


class _AttrsFields:
    """Carries ``__attrs_attrs__``: msgspec encodes a class that has its own field by field, without enc_hook."""

    __slots__ = ()


@final
@frozen(kw_only=True, repr=False, order=False, match_args=False, getstate_setstate=False)
class QuantizationLevel(_AttrsFields):
    """One level of weight precision: what a weight is rounded to, and how many bits it takes.

    Immutable and sealed. Two levels are equal if all fields are equal; pickling, copying and deserialising a known
    level give the same object.

    Args:
        name: the serialised form, an identifier: ``Int4``, ``Q4_K``.
        bits_per_param: the nominal, whole width of one code in bits, 1 to 1024.
        label: the text of ``str()``, for people; by default, the name.
        block: the storage cell; by default, one weight in ``bits_per_param`` bits.
        aliases: other accepted spellings.
        spellings: dialect (``torch``, ``ggml`` ...) → its words for this level, strings or numbers, preferred first.
        kind: the family of number formats.
        summary: one line that describes it.
        source: where the facts come from.

    Raises:
        TypeError, ValueError: for a field that is not as described.
    """

    __match_args__: ClassVar[tuple[Literal["name"], Literal["bits_per_param"]]] = ("name", "bits_per_param")

    name: str = field(validator=_check_name)
    bits_per_param: int = field(validator=_check_bits)
    label: str = field(default=Factory(_default_label, takes_self=True), validator=_check_label)
    block: Block = field(default=Factory(_default_block, takes_self=True), validator=_check_block)
    aliases: tuple[str, ...] = field(default=(), validator=_check_aliases)
    spellings: Spellings = field(factory=dict, converter=_read_only, validator=_check_spellings)
    kind: Kind = field(default="custom", validator=_check_kind)
    summary: str = field(default="", validator=_check_text)
    source: str = field(default="", validator=_check_text)

    @property
    def memory_reduction_factor(self) -> float:
        """How many times smaller than FP32 the codes alone are: ``32 / bits_per_param``, nominal."""
        return _FP32_BITS / self.bits_per_param

    @property
    def exact_reduction_factor(self) -> float:
        """How many times smaller than FP32 the stored weights are, with scales: ``32 / bits_per_weight``."""
        return float(_FP32_BITS / self.bits_per_weight)

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits that one weight takes in storage, exact: its code, and its share of the scales in the block."""
        return self.block.bits_per_weight

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of ``shape`` (weights per axis, rows last), as ``Block.nbytes``.

        Raises:
            TypeError, ValueError: for sizes that are not integers, or are negative.
        """
        return self.block.nbytes(shape)

    def grouped(
        self, group_size: int, *, scale: QuantizationLevel | int = 16, zero_point: QuantizationLevel | int = 0
    ) -> Layout:
        """This level in groups of ``group_size`` weights along a row, each with a scale and perhaps a zero point.

        Args:
            group_size: weights that share one scale, at least 1.
            scale: the level of a scale, or its width in bits.
            zero_point: the level of a zero point, or its width in bits; 0 if none is stored.

        Raises:
            TypeError, ValueError: for anything but levels and such integers.
        """
        from quantlevels.vocabulary.layout import Layout  # here: few programs need it

        return Layout(self, group_size, _width("scale", scale), _width("zero_point", zero_point))

    def spelling(self, dialect: str) -> str:
        """The preferred word for this level in a dialect.

        Raises:
            UntranslatableLevelError: if the dialect has none.
        """
        # both sides, since a plugin's level may call the dialect by either name
        for known, words in self.spellings.items():
            if canonical_dialect(known) == canonical_dialect(dialect):
                for word in words:
                    if isinstance(word, str):
                        return word
        raise UntranslatableLevelError(self.name, dialect, tuple(self.spellings))

    def __str__(self) -> str:
        return self.label

    def __format__(self, spec: str) -> str:
        return format(self.label, spec)

    def __repr__(self) -> str:
        block = "" if self.block == _default_block(self) else f", block={self.block!r}"
        return f"QuantizationLevel(name={self.name!r}, bits_per_param={self.bits_per_param}{block})"

    def __hash__(self) -> int:
        return hash(self.name)  # a string caches its hash, and levels are keys of dictionaries that folding asks

    def __copy__(self) -> QuantizationLevel:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> QuantizationLevel:
        return self

    def __reduce__(self) -> tuple[Callable[..., QuantizationLevel], tuple[object, ...]]:
        from quantlevels.vocabulary.pickling import pickled  # here: it needs the registry, which needs this module

        return pickled(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        from quantlevels.vocabulary.plain import pydantic_core_schema  # here: likewise

        return pydantic_core_schema()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: object, handler: object) -> dict[str, object]:
        from quantlevels.vocabulary.plain import json_schema

        return json_schema()

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("QuantizationLevel is sealed: make an instance, not a subclass")


# moved to the base class, where attrs still finds them and msgspec does not look
setattr(_AttrsFields, "__attrs_attrs__", fields(QuantizationLevel))  # noqa: B010  # unknown to type checkers
delattr(QuantizationLevel, "__attrs_attrs__")


def _width(argument: str, value: QuantizationLevel | int) -> int:
    if isinstance(value, QuantizationLevel):
        return value.bits_per_param
    if type(value) is not int:
        raise TypeError(f"{argument} must be a level or a number of bits, not {value!r}")
    if value < 0:
        raise ValueError(f"{argument} must not be negative, not {value}")
    return value
