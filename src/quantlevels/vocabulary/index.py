"""Levels found by spelling: how spellings are compared, and the index of the levels that come with quantlevels."""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.errors import AmbiguousLevelError
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.level import canonical_dialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from quantlevels.vocabulary.level import QuantizationLevel, Spelling

#: What libraries put before the name of a dtype when they print it → the dialects of the name, normalised.
_PREFIXES: Final[dict[str, tuple[str, ...]]] = {
    "torch.": ("torch",),
    "numpy.": ("numpy",),
    "np.": ("numpy",),
    "ml_dtypes.": ("numpy",),
    "tf.": ("numpy",),
    "paddle.": ("numpy",),
    "jax.numpy.": ("jax",),
    "jnp.": ("jax",),
    "mlx.core.": ("mlx",),
    "mx.": ("mlx",),
    "onnx.tensorproto.": ("onnx",),
    "tensorproto.": ("onnx",),
    "ggml_type_": ("ggml",),
    "ggmlquantizationtype.": ("ggml",),
    "tensorrt.": ("tensorrt",),
    "trt.": ("tensorrt",),
    "tensorrt.datatype.": ("tensorrt",),
    "trt.datatype.": ("tensorrt",),
    "datatype.": ("tensorrt", "ctranslate2"),
    "ctranslate2.datatype.": ("ctranslate2",),
    "openvino.type.": ("openvino",),
    "ov.type.": ("openvino",),
    "type.": ("openvino",),
    "triton.language.": ("triton",),
    "tl.": ("triton",),
    "pyarrow.": ("arrow",),
    "pa.": ("arrow",),
}

#: What libraries put around the name of a dtype → the dialects of the name; none if any will do.
_WRAPPINGS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("tensor(", ")", ("onnx",)),
    ("datatype(", ")", ("arrow",)),  # pyarrow
    ("dtype('", "')", ()),  # numpy
    ("<class '", "'>", ()),  # scalar types of numpy, ml_dtypes and jax
    ("<dtype: '", "'>", ()),  # tensorflow
    ("<type: '", "'>", ("openvino",)),
)

_MAX_PRINTED: Final = 100  # letters; wrappings are unwrapped one after the other

#: A small float by its fields: ``float8_e4m3fn``, ``fp8e4m3fn``, ``f8E4M3FN``.
_FLOAT: Final = re.compile(r"(float|fp|f)(\d+)_?(e\d+m\d+\w*)")


def normalized(spelling: str) -> str:
    """The form in which names are compared: lower case, ``-`` as ``_``. Text that is not ASCII is left unchanged."""
    if not spelling.isascii():  # lower case is not one letter for one everywhere: "İ" has two in lower case
        return spelling
    return spelling.lower().replace("-", "_")


def own_words(level: QuantizationLevel) -> tuple[str, ...]:
    """The spellings of a level that belong to no dialect."""
    return (level.name, level.label, *level.aliases)


def dialect_words(level: QuantizationLevel) -> Iterator[tuple[str, Spelling]]:
    """(dialect, word) of every spelling of a level in a dialect."""
    for dialect, words in level.spellings.items():
        for word in words:
            yield canonical_dialect(dialect), word


class Printed(NamedTuple):
    """A dtype as a library prints it."""

    name: str
    #: the dialects that the name can belong to; empty if any will do
    dialects: tuple[str, ...]


def printed_name(word: str) -> Printed | None:
    """The name in what a library prints for a dtype, ``torch.float16`` or ``<class 'numpy.float32'>``; None if bare.

    Args:
        word: the text, normalised.
    """
    if len(word) > _MAX_PRINTED:
        return None
    for before, after, dialects in _WRAPPINGS:
        if word.startswith(before) and word.endswith(after):
            name = word[len(before) : len(word) - len(after)]
            if dialects:
                return Printed(name, dialects)
            return printed_name(name) or Printed(name, ())  # <class 'numpy.float32'> has a prefix inside
    # the longest: "tensorrt." also begins "tensorrt.datatype.fp8"
    prefix = max((prefix for prefix in _PREFIXES if word.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return None
    return Printed(word.removeprefix(prefix), _PREFIXES[prefix])


class _Words:
    """What the words of some levels mean, in any case and with ``-`` or ``_``."""

    __slots__ = ("floats", "meanings", "printed")

    def __init__(self, levels: Iterable[QuantizationLevel], ambiguous: Mapping[str, tuple[str, ...]]) -> None:
        #: (dialect, normalised word) → level
        self.printed: dict[tuple[str, str], QuantizationLevel] = {}
        #: normalised word → the levels it can mean, by name
        self.meanings: dict[str, dict[str, QuantizationLevel]] = {}
        #: form of a small float → the levels it can mean, by name
        self.floats: dict[str, dict[str, QuantizationLevel]] = {}
        by_name = {level.name: level for level in levels}
        for level in by_name.values():
            self._add_dialects(level)
        for level in by_name.values():  # afterwards: own words are not ambiguous, whatever dialects mean by them
            self._add_own(level)
        for word, names in ambiguous.items():
            self.meanings[word] = {name: by_name[name] for name in names}
            for name in names:
                self._add_float(word, by_name[name])

    def add(self, level: QuantizationLevel) -> None:
        """Add the words of one more level."""
        self._add_dialects(level)
        self._add_own(level)

    def _add_own(self, level: QuantizationLevel) -> None:
        for word in own_words(level):
            self.meanings[normalized(word)] = {level.name: level}
            self._add_float(word, level)

    def _add_dialects(self, level: QuantizationLevel) -> None:
        for dialect, word in dialect_words(level):
            if isinstance(word, str):
                self.printed[dialect, normalized(word)] = level
                self.meanings.setdefault(normalized(word), {})[level.name] = level
                self._add_float(word, level)

    def _add_float(self, word: str, level: QuantizationLevel) -> None:
        match = _FLOAT.fullmatch(normalized(word))
        if match:
            self.floats.setdefault(f"f{match[2]}{match[3]}", {})[level.name] = level


class Index:
    """A set of levels, found by name, by any of their words, and by dialect.

    It grows only while one thread alone has it: `add` is not for an index that others read.

    Args:
        levels: in the order in which they are listed; no two share a name, label or alias.
        ambiguous: words that mean several levels, in addition to those that two dialects use differently.
    """

    def __init__(self, levels: Iterable[QuantizationLevel], ambiguous: Mapping[str, tuple[str, ...]] = {}) -> None:
        self.levels: list[QuantizationLevel] = list(levels)
        self._ambiguous = ambiguous
        #: (dialect, exact word) → level
        self.dialects: dict[tuple[str, Spelling], QuantizationLevel] = {}
        for level in self.levels:
            self.dialects.update(dict.fromkeys(dialect_words(level), level))

    def add(self, level: QuantizationLevel) -> None:
        """Add one more level; it must share no name, label or alias with another."""
        self.levels.append(level)
        self.dialects.update(dict.fromkeys(dialect_words(level), level))
        words = vars(self).get("_words")
        if words:
            words.add(level)

    @cached_property
    def _words(self) -> _Words:
        # on the first look-up by a word: the types of most files are exact words of their dialect
        return _Words(self.levels, self._ambiguous)

    def means(self, spelling: str) -> Mapping[str, QuantizationLevel]:
        """The levels that a spelling can mean, by name."""
        word = normalized(spelling)
        found = self._words.meanings.get(word)
        if found:
            return found
        match = _FLOAT.fullmatch(word)
        if match:
            # `fp8e4m3` as the alias `fp8_e4m3`, which the form f8e4m3 alone would not settle
            with_underscore = f"{match[1]}{match[2]}_{match[3]}"
            return self._words.meanings.get(with_underscore) or self._words.floats.get(f"f{match[2]}{match[3]}", {})
        printed = printed_name(word)
        if printed is None:
            return {}
        if not printed.dialects:
            return self.means(printed.name)
        levels = (self._words.printed.get((dialect, printed.name)) for dialect in printed.dialects)
        return {level.name: level for level in levels if level}

    def find(self, spelling: str) -> QuantizationLevel | None:
        """The level that a spelling means, or None.

        Raises:
            AmbiguousLevelError: if it means several.
        """
        meanings = self.means(spelling)
        if len(meanings) > 1:
            labels = tuple(level.label for level in meanings.values())
            raise AmbiguousLevelError(spelling, tuple(meanings), labels)
        return next(iter(meanings.values()), None)

    def in_dialect(self, dialect: str, spelling: Spelling) -> QuantizationLevel | None:
        """The level that a dialect means by an exact word or a number, or by a dtype as its library prints it."""
        dialect = canonical_dialect(dialect)
        level = self.dialects.get((dialect, spelling))
        if level:
            return level
        if not isinstance(spelling, str):  # a number has no prefix
            return None
        printed = printed_name(normalized(spelling))
        if printed is None or (printed.dialects and dialect not in printed.dialects):
            return None
        return self._words.printed.get((dialect, printed.name))

    def equal(self, level: QuantizationLevel) -> QuantizationLevel | None:
        """The level of this index that equals another one, or None."""
        known = self._words.meanings.get(normalized(level.name), {}).get(level.name)
        if known != level:  # another level of that name
            return None
        return known

    def clash(self, level: QuantizationLevel) -> tuple[str, str] | None:
        """The first word of a new level that is taken here, and the name of its owner: ``("q4_k", "Q4_K")``."""
        for name in own_words(level):
            meanings = self.means(name)
            if meanings:
                return name, " or ".join(meanings)
        for dialect, word in dialect_words(level):
            owner = self.dialects.get((dialect, word))
            if owner:
                return f"{dialect} {word}", owner.name
            # a word without its dialect is looked up as well, so a new one must not make `levels["q4_k"]` ambiguous
            meanings = self.means(word) if isinstance(word, str) else {}
            if meanings:
                return str(word), " or ".join(meanings)
        return None


@cache
def five() -> Index:
    """The index of the five levels, which need no other."""
    return Index(BUILTIN)


@cache
def shipped() -> Index:
    """The index of the levels that come with quantlevels, the five first; built when a name is not one of the five."""
    from quantlevels.vocabulary.formats import AMBIGUOUS, SHIPPED

    return Index((*BUILTIN, *SHIPPED), AMBIGUOUS)
