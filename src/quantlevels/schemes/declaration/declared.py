"""The record of what a checkpoint claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from attrs import Factory, field, frozen

from quantlevels.scheme import DeclaredLevel, Matching, Scheme
from quantlevels.schemes.names import ModulePatterns
from quantlevels.vocabulary.level import QuantizationLevel

__all__ = ["Declared"]


def _patterns_of_overrides(declared: Declared) -> ModulePatterns:
    return ModulePatterns(declared.overrides, declared.matching)


def _patterns_of_skipped(declared: Declared) -> ModulePatterns:
    return ModulePatterns(declared.skipped, declared.matching)


def _overrides_names(declared: Declared) -> bool:
    return not all(entry.startswith("re:") for entry in declared.overrides)


@final
@frozen(kw_only=True)
class Declared:
    """What config files, header metadata, or the label of a GGUF claim.

    Args:
        source: the file that holds the claim.
        method: the quantization method by its own name; None for a plain claim of a dtype.
        known: whether a scheme knows the method.
        dtype: the level of what is not quantized; None if no config names it.
        kv_cache: the level of the key-value cache, if that is quantized as well.
        levels: the levels of the quantized weights, the general one first.
        skipped: modules left unquantized, as the config names them.
        quantized_on_disk: whether weights are stored quantized, not only once they are loaded.
        buffers: last parts of the names of modules that hold no parameters.
        scheme: the scheme of the method.
        general: what is declared for modules that no override names.
        overrides: module name, glob or ``re:`` pattern → its own level; None if it is left as it is, or unknown.
        matching: how entries of ``skipped`` and ``overrides`` name modules.
        others: the claims that other files make, each read by itself: they may disagree.
    """

    source: str
    method: str | None = None
    known: bool = True
    dtype: QuantizationLevel | None = None
    kv_cache: QuantizationLevel | None = None
    levels: tuple[DeclaredLevel, ...] = ()
    skipped: tuple[str, ...] = ()
    quantized_on_disk: bool = True
    buffers: frozenset[str] = frozenset()
    scheme: Scheme | None = field(default=None, repr=False)
    general: DeclaredLevel | None = field(default=None, repr=False)
    overrides: Mapping[str, DeclaredLevel | None] = field(factory=dict, repr=False)
    matching: Matching = field(default="parts", repr=False)
    others: tuple[Declared, ...] = field(default=(), repr=False)
    _override_patterns: ModulePatterns = field(
        init=False, eq=False, repr=False, default=Factory(_patterns_of_overrides, takes_self=True)
    )
    #: whether an override may be the exact name of a module
    _has_names: bool = field(init=False, eq=False, repr=False, default=Factory(_overrides_names, takes_self=True))
    #: the modules that ``skipped`` names
    skipped_modules: ModulePatterns = field(
        init=False, eq=False, repr=False, default=Factory(_patterns_of_skipped, takes_self=True)
    )

    @property
    def unsupported_patterns(self) -> tuple[str, ...]:
        """The entries that name no module because their pattern is not supported."""
        return tuple(dict.fromkeys((*self._override_patterns.unsupported, *self.skipped_modules.unsupported)))

    def level_of(self, module: str) -> DeclaredLevel | None:
        """What is declared for a module: by its own name, by the first entry that names it, else the general level."""
        ((level, _),) = self.by_level([module])
        return level

    def by_level(self, modules: list[str]) -> list[tuple[DeclaredLevel | None, list[str]]]:
        """The modules for which `level_of` says the same, together and in order; fast for the layers of a model."""
        if not (self.overrides and modules):
            return [(self.general, modules)]
        entries = self._override_patterns.match_all(modules)
        # an exact name goes before patterns, in whatever order the config has them: loaders look it up first
        if self._has_names and not self.overrides.keys().isdisjoint(modules):
            pairs = zip(modules, entries, strict=True)
            entries = [module if module in self.overrides else entry for module, entry in pairs]
        levels = {entry: self.general if entry is None else self.overrides[entry] for entry in set(entries)}
        # by identity: records with a Fraction are slow to hash, and equal levels of one config are one object
        if len(set(map(id, levels.values()))) == 1:
            return [(levels[entries[0]], modules)]
        groups: dict[int, tuple[DeclaredLevel | None, list[str]]] = {}
        for module, entry in zip(modules, entries, strict=True):
            level = levels[entry]
            groups.setdefault(id(level), (level, []))[1].append(module)
        return list(groups.values())
