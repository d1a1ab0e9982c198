"""Which modules the entries of a quantizer's config name: plain names, shell globs, regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, final

from quantlevels.scheme import Matching

if TYPE_CHECKING:
    from quantlevels.schemes.patterns import Matcher, PatternIndex

#: What stands before the layers of a text model: models within models rename it from one version to the next.
_WRAPPED: Final = r"(?<![\w.])(?:(?:model|language_model|text_model|thinker)\.)+(?=layers\.)"
#: components of a name in the tree
_DEEPEST_NAME: Final = 50
_ALIKE: Final = str.maketrans("123456789", "000000000")


@final
class ModulePatterns:
    """The modules that ``entries`` of a config name: ``name in names``, or `first` for the entry that does.

    - ``re:`` and a regular expression: the names it matches from their start (compressed-tensors ``match_name``;
      GPTQModel's ``dynamic_get`` does the same without the prefix).
    - a glob, which has ``*``, ``?`` or ``[``: the names it matches whole (``fnmatchcase`` of modelopt and quark), and
      all below these (transformers' ``should_convert_module`` matches the start of a name).
    - any other: the modules whose dotted components contain its own in a row, so ``layers.1.fc`` and all below it at
      any depth, but not ``layers.1.fc2`` (the prefixes and suffixes of transformers' ``should_convert_module``).

    What names no module by one of these names it where only the text model that holds its layers is called otherwise:
    ``model.layers.1.fc`` is ``model.language_model.layers.1.fc``. What `regex` does not support names nothing and is
    found in `unsupported`.
    """

    __slots__ = ("_entries", "_exact", "_index", "_numbered", "_tree", "_unsupported", "_wrappers")

    def __init__(self, entries: Iterable[str], matching: Matching = "parts") -> None:
        self._entries = tuple(dict.fromkeys(entries))
        self._numbered = any(re.search("[0-9]", entry) for entry in self._entries)
        wrappers: dict[str, None] = {}
        for entry in self._entries:  # in regular expressions, dots are escaped
            wrappers.update(dict.fromkeys(found[0] for found in re.finditer(_WRAPPED, entry.replace("\\", ""))))
        self._wrappers = tuple(wrappers)
        self._tree = _Tree()
        #: whole name → number of the entry
        self._exact: dict[str, int] = {}
        self._index: PatternIndex | None = None
        self._unsupported: list[int] = []
        for number, entry in enumerate(self._entries):
            is_regex = entry.startswith("re:")
            plain = entry.strip(".")
            if matching == "exact" and not is_regex:
                self._exact.setdefault(entry, number)
            elif is_regex or any(char in entry for char in "*?[") or plain.count(".") >= _DEEPEST_NAME:
                self._add_pattern(number, entry)
            else:
                self._tree.plant(plain.split("."), number)

    def _add_pattern(self, number: int, entry: str) -> None:
        # here: most configs have only plain names
        from quantlevels.schemes.patterns import PatternIndex

        if self._index is None:
            # not a method of this object: the two would be a cycle, which only the garbage collector frees
            entries = self._entries
            self._index = PatternIndex(lambda number: _parsed(entries[number]))
        if not self._index.add(number, len(entry)):
            self._unsupported.append(number)

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The entries that name nothing: invalid or too large, and all patterns once they have proved too costly."""
        given_up = self._index.numbers() if self._index and self._index.given_up else ()
        return tuple(self._entries[number] for number in sorted({*self._unsupported, *given_up}))

    def __contains__(self, name: str) -> bool:
        return self.first(name) is not None

    def first(self, name: str) -> str | None:
        """The first of the entries that names the module ``name``, None if none does."""
        found = self._first(name)
        if found is not None or not self._wrappers:
            return found
        wrapped = re.match(_WRAPPED, name)
        if wrapped is None:
            return None
        others = (wrapper + name[wrapped.end() :] for wrapper in self._wrappers if wrapper != wrapped[0])
        entries = (self._first(other) for other in others)
        return next((entry for entry in entries if entry is not None), None)

    def _first(self, name: str) -> str | None:
        found = [
            self._exact.get(name),
            self._tree.first(name.split(".")) if self._tree else None,
            self._index.first(name) if self._index else None,
        ]
        number = min((number for number in found if number is not None), default=None)
        if number is None:
            return None
        return self._entries[number]

    def match_all(self, names: Sequence[str]) -> list[str | None]:
        """What `first` says of each name; fast for the layers of a model."""
        alike = self._alike(names)
        entries = {name: self.first(name) for name in set(alike)}
        if len(set(entries.values())) == 1:  # often, as modules that are stored alike are named alike
            return [*entries.values()][:1] * len(names)
        return [entries[like] for like in alike]

    def filter(self, names: Sequence[str]) -> list[str]:
        """Those of ``names`` that an entry names, in their order."""
        alike = self._alike(names)
        named = {like for like in set(alike) if self.first(like) is not None}
        # most often none is named, and then the others are not gone through
        return [name for name, like in zip(names, alike, strict=True) if like in named] if named else []

    def _alike(self, names: Sequence[str]) -> Sequence[str]:
        """For each name, one that the same entry names.

        Entries without a digit name ``layers.1`` and ``layers.2`` alike: one of such names is matched for all.
        """
        if self._numbered:
            return names
        alike = "\n".join(names).translate(_ALIKE).split("\n")
        return alike if len(alike) == len(names) else names  # a name may have a line break


def _parsed(entry: str) -> Matcher | None:
    """What decides which names an entry names; None if it is not supported."""
    from quantlevels.schemes.patterns import ANY, glob, regex

    if entry.startswith("re:"):
        return regex(entry.removeprefix("re:"))
    if any(char in entry for char in "*?["):
        return glob(entry, below=True)
    # a name of a thousand parts would make a chain of a thousand nodes, each a dict
    return regex(rf"({ANY}*\.)?{re.escape(entry.strip('.'))}(\.{ANY}*)?$")


@final
class _Tree(dict[str, "_Tree"]):
    """Plain names by the components between their dots."""

    __slots__ = ("index",)

    def __init__(self) -> None:
        self.index: int | None = None

    def plant(self, components: list[str], index: int) -> None:
        node = self
        for component in components:
            node = node.setdefault(component, _Tree())
        node.index = index if node.index is None else node.index

    def first(self, components: list[str]) -> int | None:
        """The lowest index of a name whose components stand in a row in ``components``."""
        found: list[int] = []
        for start in range(len(components)):
            node = self
            for at in range(start, len(components)):
                if components[at] not in node:
                    break
                node = node[components[at]]
                if node.index is not None:
                    found.append(node.index)
        return min(found, default=None)
