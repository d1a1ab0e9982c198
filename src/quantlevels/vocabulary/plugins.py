"""Plugins of every group: found in metadata, imported one by one when a look-up names them, checked by their contract.

Three rules hold for all groups: nothing depends on the order of directories; no lock is held while a plugin is
imported; a defect of one distribution is recorded for that distribution, and does not affect the others.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import invalidate_caches
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, final

from attrs import evolve, frozen

from quantlevels.errors import (
    AmbiguousLevelError,
    PluginContractError,
    PluginError,
    PluginLoadError,
    PluginWarning,
    closest,
    did_you_mean,
)
from quantlevels.vocabulary.entry_points import (
    VARIABLE,
    FoundPlugin,
    InstalledPlugins,
    PluginPolicy,
    load_plugin,
    one_line,
    policy_from_environment,
    scan,
)
from quantlevels.vocabulary.index import dialect_words, normalized, own_words, shipped
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.vocabulary.level import Spelling

T = TypeVar("T")
State: TypeAlias = Literal["found", "loaded", "rejected", "failed", "conflicting"]
#: Where a plugin's object is found: group and normalised word, or dialect and word.
WordPlace: TypeAlias = "tuple[str, Spelling]"

LEVEL_GROUP: Final = "quantlevels.levels"
SCHEME_GROUP: Final = "quantlevels.schemes"
CONTAINER_GROUP: Final = "quantlevels.containers"

#: Group → where the layer that uses its plugins defines their `PluginContract`. References, as entry points are: the
#: layers above import this module, so it cannot import them, and yet every plugin must be checkable at any time.
_CONTRACTS: Final[Mapping[str, str]] = {
    LEVEL_GROUP: "quantlevels.vocabulary.plugins:LEVEL_PLUGINS",
    SCHEME_GROUP: "quantlevels.schemes.plugins:SCHEME_PLUGINS",
    CONTAINER_GROUP: "quantlevels.checkpoint.plugins:CONTAINER_PLUGINS",
}

_RESERVED: Final = "it uses {!r}, which means {} that comes with quantlevels"

_REMEDIES: Final[Mapping[State, str]] = {
    "found": "",
    "loaded": "",
    "rejected": "its author has to correct it; until then it is left out",
    "failed": "install what it lacks, or reinstall or uninstall the distribution",
    "conflicting": f"uninstall one of the distributions, or set {VARIABLE} to those you want",
}


@final
@frozen(eq=False)
class PluginContract(Generic[T]):
    """What the plugins of one group have to be. The layer that uses the plugins defines it.

    Args:
        group: the entry-point group.
        class_: the exact type of their objects.
        noun: what an object's own name is the name of, as messages say it: ``level``, ``method``.
        names: the names an object answers to, its own name first. Its entry point has to be called by one of them.
        reserved: what a name means that comes with quantlevels, in words; empty if the name is free.
        clash: the first reserved word or mark that an object uses, and what it means; None if it uses none. Unless
            given, only `names` are compared.
        places: where else an object is found, such as (dialect, word); two plugins must not share a place.
    """

    group: str
    class_: type[T]
    noun: str
    names: Callable[[T], tuple[str, ...]]
    reserved: Callable[[str], str]
    clash: Callable[[T], tuple[str, str] | None] | None = None
    places: Callable[[T], Iterable[WordPlace]] = lambda _: ()

    def places_of(self, value: object) -> frozenset[WordPlace]:
        """All places where an object of the group is found."""
        if not isinstance(value, self.class_):
            return frozenset()
        names = ((self.group, normalized(name)) for name in self.names(value))
        return frozenset((*names, *self.places(value)))

    def reserved_reason(self, name: str) -> str:
        """Why an entry point must not have a name; empty if it may."""
        meaning = self.reserved(name)
        if not meaning:
            return ""
        return _RESERVED.format(name, meaning)

    def refusal(self, plugin: FoundPlugin, value: object) -> str:
        """Why a plugin must not bring an object; empty if it may."""
        if type(value) is not self.class_ or not isinstance(value, self.class_):
            return f"{plugin.value} has to be a {self.class_.__name__}, and is of type {type(value).__name__!r}"
        names = self.names(value)
        if normalized(plugin.entry) not in map(normalized, names):
            return f"the entry point has to be called {names[0]!r} as the {self.noun} is, or by one of its aliases"
        if self.clash is None:
            return next(filter(None, map(self.reserved_reason, names)), "")
        clash = self.clash(value)
        if clash is None:
            return ""
        return _RESERVED.format(*clash)


@cache
def contract_of(group: str) -> PluginContract[Any] | None:  # Any: objects of any group
    """The contract of a group; None if quantlevels has no such group."""
    from pkgutil import resolve_name  # here: it takes a while to import

    if group not in _CONTRACTS:
        return None
    contract: PluginContract[Any] = resolve_name(_CONTRACTS[group])
    return contract


@final
@frozen
class PluginStatus:
    """What became of one entry point.

    Args:
        distribution: the name of the installed distribution.
        version: its version.
        group: ``quantlevels.levels``, ``quantlevels.schemes`` ...
        entry: the name of the entry point.
        value: what it refers to, ``module:attribute``.
        editable: whether the distribution is installed as a link to its sources.
        state: ``found`` and not yet imported, ``loaded``, ``rejected`` for what it offers, ``failed`` in its metadata
            or its import, or ``conflicting`` with another plugin.
        reason: what is wrong; empty for found and loaded ones.
        seconds: how long its import took; None if it was not imported.
    """

    distribution: str
    version: str
    group: str
    entry: str
    value: str
    editable: bool
    state: State
    reason: str
    seconds: float | None

    @property
    def name(self) -> str:
        """``distribution[entry]``."""
        return f"{self.distribution}[{self.entry}]"

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong with it, as far as is known."""
        return self.state in ("found", "loaded")

    @property
    def remedy(self) -> str:
        """What to do about it; empty if nothing is wrong."""
        return _REMEDIES[self.state]

    def __str__(self) -> str:
        text = f"{self.name} {self.state}"
        if self.reason:
            text += f": {self.reason}"
        return text


@final
@frozen(eq=False)
class _Outcome:
    """The result of loading a plugin: an object, or an error."""

    value: object = None
    error: PluginError | None = None
    seconds: float | None = None

    @property
    def state(self) -> State:
        if self.error is None:
            return "loaded"
        if isinstance(self.error, PluginContractError):  # imported, and not what its group asks for
            return "rejected"
        return "failed"


def _unusable(plugin: FoundPlugin) -> PluginError | None:
    """The reason not even to import a plugin, or None."""
    if plugin.defect:
        return PluginLoadError(str(plugin), plugin.defect)
    contract = contract_of(plugin.group)
    if contract is None:
        meant = did_you_mean(closest(plugin.group, _CONTRACTS))
        return PluginContractError(str(plugin), f"quantlevels has no plugins of the group {plugin.group!r}{meant}")
    reason = contract.reserved_reason(plugin.entry)
    if reason:
        return PluginContractError(str(plugin), reason)
    return None


def _load_and_check(plugin: FoundPlugin) -> _Outcome:
    contract = contract_of(plugin.group)
    unusable = _unusable(plugin)
    if contract is None or unusable:
        return _Outcome(error=unusable)
    start = perf_counter()
    try:
        value = load_plugin(plugin)
    except KeyboardInterrupt:  # Ctrl-C is the user's, not a defect of the plugin that happens to be importing
        raise
    except BaseException as cause:  # SystemExit, and what test runners raise to skip
        error = PluginLoadError(str(plugin), f"it cannot be imported: {one_line(cause)}")
        error.__cause__ = cause
        return _Outcome(error=error, seconds=perf_counter() - start)
    seconds = perf_counter() - start
    reason = contract.refusal(plugin, value)
    if reason:
        return _Outcome(error=PluginContractError(str(plugin), reason), seconds=seconds)
    return _Outcome(value, seconds=seconds)


@final
class Plugins:
    """The plugins that one registry sees: scanned once, each imported when it is first needed. Safe under threads.

    Args:
        policy: which distributions may bring plugins; None for what the environment says when the scan happens.
        changed: called after a plugin was loaded or all were forgotten, so that the owner can drop what it has cached.
    """

    __slots__ = ("_changed", "_importing", "_installed", "_lock", "_meanings", "_outcomes", "_policy")

    def __init__(self, policy: PluginPolicy | None = None, changed: Callable[[], None] = lambda: None) -> None:
        self._policy = policy
        self._changed = changed
        self._lock = threading.RLock()  # reentrant: a finder on sys.meta_path may look up a level during the scan
        self._importing: set[tuple[int, FoundPlugin]] = set()  # thread, and the plugin that it is importing
        self._forget()

    def _forget(self) -> None:
        # never changed but replaced: readers hold no lock
        self._installed: InstalledPlugins | None = None
        self._outcomes: dict[FoundPlugin, _Outcome] = {}
        #: place → what the loaded plugins mean by it
        self._meanings: dict[WordPlace, dict[FoundPlugin, object]] = {}

    def refresh(self) -> None:
        """Forget what was found; the next miss scans again: for an installation in the running process."""
        invalidate_caches()
        with self._lock:
            self._forget()
        self._changed()

    def find(self, contract: PluginContract[T], spelling: str) -> T | None:
        """The object that plugins of a group mean by a name, or None; imports those whose entry point is called so.

        Raises:
            AmbiguousLevelError: if different plugins mean different objects.
            PluginError: if the only plugins of that name cannot be used.
        """
        word = normalized(spelling)
        errors: list[PluginError] = []
        for plugin in self._scan().named(contract.group, word):
            with suppress(PluginWarning):  # where filters make it an error: the caller gets the plugin's own error
                self._load(plugin)
            error = self._load(plugin).error
            if error:
                errors.append(error)
        value = self._agreed(contract, spelling, (contract.group, word))
        if value is None and errors:
            raise errors[0]
        return value

    def find_place(self, contract: PluginContract[T], place: WordPlace) -> T | None:
        """The object that plugins mean by a dialect's word or number, or None; imports all plugins of the group.

        Raises:
            AmbiguousLevelError: if different plugins mean different objects.
        """
        self.load(contract.group)
        return self._agreed(contract, f"{place[0]} {place[1]}", place)

    def _agreed(self, contract: PluginContract[T], word: str, place: WordPlace) -> T | None:
        meanings = self._meanings.get(place, {})
        values = [value for value in meanings.values() if isinstance(value, contract.class_)]
        if any(value != values[0] for value in values):
            # sorted, so that the message does not depend on the order in which the plugins were loaded
            raise AmbiguousLevelError(word, tuple(map(str, sorted(meanings))))
        return next(iter(values), None)

    def load(self, group: str) -> None:
        """Import all plugins of a group, with a PluginWarning, once, for each that cannot be used."""
        for plugin in self._scan().plugins:
            if plugin.group == group:
                self._load(plugin)

    def loaded(self, contract: PluginContract[T]) -> tuple[T, ...]:
        """The objects of the plugins of a group that are loaded, each once, in the order of the plugins."""
        outcomes = sorted(self._outcomes.copy().items(), key=lambda item: item[0])
        values = (outcome.value for plugin, outcome in outcomes if plugin.group == contract.group)
        return tuple(dict.fromkeys(value for value in values if isinstance(value, contract.class_)))

    def equal(self, contract: PluginContract[T], value: T) -> T | None:
        """The object of a loaded plugin that equals another one, or None."""
        meanings = self._meanings.get((contract.group, normalized(contract.names(value)[0])), {})
        known = (other for other in meanings.values() if isinstance(other, contract.class_) and other == value)
        return next(known, None)

    def names(self, contract: PluginContract[Any]) -> tuple[str, ...]:  # Any: objects of any group
        """The names of the entry points of a group, without those that are rejected by name; imports no plugin."""
        names = (name for group, name in self._scan().names() if group == contract.group)
        return tuple(name for name in names if not contract.reserved(name))

    def status(self, *, load: bool = False) -> tuple[PluginStatus, ...]:
        """What became of each entry point of every group, sorted by distribution and name.

        Args:
            load: import all plugins first; otherwise none is imported.
        """
        plugins = self._scan().plugins
        for plugin in plugins:
            if load or _unusable(plugin):  # what is unusable by its metadata is never imported: `_load` records why
                self._load(plugin)
        return tuple(map(self._status, plugins))  # only now: each may conflict with those after it

    def _status(self, plugin: FoundPlugin) -> PluginStatus:
        state: State = "found"
        reason, seconds = "", None
        outcome = self._outcomes.get(plugin)
        if outcome:
            state, seconds = outcome.state, outcome.seconds
            if outcome.error:
                reason = outcome.error.reason
            else:
                reason = self._conflict(plugin, outcome.value)
                if reason:
                    state = "conflicting"
        return PluginStatus(
            distribution=plugin.distribution,
            version=plugin.version,
            group=plugin.group,
            entry=plugin.entry,
            value=plugin.value,
            editable=plugin.editable,
            state=state,
            reason=reason,
            seconds=seconds,
        )

    def _scan(self) -> InstalledPlugins:
        with self._lock:
            if self._installed is not None:
                return self._installed
            policy = policy_from_environment() if self._policy is None else self._policy
            self._installed = installed = scan(policy)
        self._reject(installed)
        return installed

    def _reject(self, installed: InstalledPlugins) -> None:
        """Record the plugins that can be rejected now, without importing the layers above for their contracts."""
        suspects = {
            (group, normalized(name))
            for group, name in installed.names()
            if group not in _CONTRACTS or (group == LEVEL_GROUP and LEVEL_PLUGINS.reserved(name))
        }
        named = (plugin for place in suspects for plugin in installed.named(*place))
        for plugin in sorted({*named, *installed.defective()}):
            if _unusable(plugin):
                self._load(plugin)

    def _load(self, plugin: FoundPlugin) -> _Outcome:
        outcome = self._outcomes.get(plugin)
        if outcome:
            return outcome
        # by thread: another thread that wants the same plugin must wait for its import, not be told of a cycle
        this_import = threading.get_ident(), plugin
        if this_import in self._importing:
            return _Outcome(error=PluginLoadError(str(plugin), "it is looked up while it is being imported"))
        self._importing.add(this_import)
        try:
            outcome = _load_and_check(plugin)  # without a lock: Python's import locks keep two threads in order
        finally:
            self._importing.discard(this_import)
        return self._publish(plugin, outcome)

    def _publish(self, plugin: FoundPlugin, outcome: _Outcome) -> _Outcome:
        with self._lock:
            known = self._outcomes.get(plugin)
            # another thread was first; its failure does not stand if this import worked
            if known and not (known.error and outcome.error is None):
                return known
            if outcome.error is None:
                outcome = self._index(plugin, outcome)
            self._outcomes[plugin] = outcome
            reason = outcome.error.reason if outcome.error else self._conflict(plugin, outcome.value)
        # both outside of the lock: they run code of others, which may look up a level
        self._changed()
        if reason:
            warnings.warn(f"{plugin}: {reason}", PluginWarning, stacklevel=2)
        return outcome

    def _index(self, plugin: FoundPlugin, outcome: _Outcome) -> _Outcome:
        """Note what a loaded plugin means by its words; equal objects of several plugins become one object."""
        contract = contract_of(plugin.group)
        assert contract is not None, "only plugins with a contract are loaded"
        value = self.equal(contract, outcome.value) or outcome.value
        for place in contract.places_of(value):
            # a new dict, since readers take no lock
            self._meanings[place] = {**self._meanings.get(place, {}), plugin: value}
        return evolve(outcome, value=value)

    def _conflict(self, plugin: FoundPlugin, value: object) -> str:
        """Which words of a loaded plugin mean something else in which other plugins; empty if none does."""
        clashes = sorted(set(self._clashes(plugin, value)))
        return "; ".join(f"{word!r} means something else in {other}" for word, other in clashes)

    def _clashes(self, plugin: FoundPlugin, value: object) -> Iterator[tuple[str, str]]:
        contract = contract_of(plugin.group)
        if contract is None:
            return
        for where, word in contract.places_of(value):
            for other, meant in self._meanings[where, word].items():
                if meant != value:
                    yield str(word) if where in _CONTRACTS else f"{where} {word}", str(other)


def _reserved_level(name: str) -> str:
    return " or ".join(shipped().means(name))


#: The contract of the vocabulary's own group.
LEVEL_PLUGINS: Final = PluginContract(
    group=LEVEL_GROUP,
    class_=QuantizationLevel,
    noun="level",
    names=lambda level: (level.name, *level.aliases),
    reserved=_reserved_level,
    clash=lambda level: shipped().clash(level),
    places=lambda level: (*((LEVEL_GROUP, normalized(word)) for word in own_words(level)), *dialect_words(level)),
)
