"""What other installed distributions bring: found in their metadata, imported one by one when asked for by name.

An entry point of the group ``quantlevels.levels`` is a `QuantizationLevel`, one of ``quantlevels.schemes`` a scheme.
Nothing depends on the order of directories, no lock is held while a plugin is imported, and whatever is wrong with one
distribution is a record about it, and no trouble for anybody else.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import invalidate_caches
from pathlib import PurePath
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import evolve, frozen

from quantlevels.errors import AmbiguousLevelError, PluginContractError, PluginError, PluginLoadError, PluginWarning
from quantlevels.vocabulary.index import dialect_words, normalized, own_words, shipped
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from importlib_metadata import Distribution, EntryPoint

    from quantlevels.vocabulary.level import Spelling

#: Which distributions may bring plugins: all, none, or these.
PluginPolicy: TypeAlias = Literal["all", "off"] | Collection[str]
State: TypeAlias = Literal["found", "loaded", "rejected", "failed", "conflicting"]

LEVELS: Final = "quantlevels.levels"
SCHEMES: Final = "quantlevels.schemes"
GROUPS: Final = (LEVELS, SCHEMES)

#: The environment variable that sets the policy: ``off``, or distributions separated by commas; all where it is unset.
VARIABLE: Final = "QUANTLEVELS_PLUGINS"

_SECTION: Final = "[quantlevels."  # of entry_points.txt; most distributions have none and are parsed no further
_HEADER: Final = re.compile(r"^\s*\[quantlevels\..*\]\s*$", re.MULTILINE)  # as the parser of them reads it

_PROTECTED: Final = "it uses {!r}, which means {} that comes with quantlevels"

_REMEDIES: Final[Mapping[State, str]] = {
    "found": "",
    "loaded": "",
    "rejected": "its author has to correct it; until then it is left out",
    "failed": "install what it lacks, or reinstall or uninstall the distribution",
    "conflicting": f"uninstall one of the distributions, or set {VARIABLE} to those you want",
}


@final
@frozen(order=True)
class FoundPlugin:
    """One entry point as the metadata tells it: nothing of it was imported.

    Args:
        distribution: the name of the installed distribution; its metadata folder where it has no readable name.
        entry: the name of the entry point; empty where the list of them is unreadable.
        group: ``quantlevels.levels`` or ``quantlevels.schemes``; empty likewise.
        value: what it refers to, ``module:attribute``.
        version: the version of the distribution.
        editable: whether the distribution is installed as a link to its sources (PEP 610).
        defect: what is wrong with the metadata, which keeps the plugin from being imported; empty where nothing is.
    """

    distribution: str
    entry: str
    group: str
    value: str
    version: str
    editable: bool = False
    defect: str = ""

    def __str__(self) -> str:
        return f"{self.distribution}[{self.entry}]"


@final
@frozen
class PluginStatus:
    """What became of one entry point.

    Args:
        distribution: the name of the installed distribution.
        version: its version.
        group: ``quantlevels.levels`` or ``quantlevels.schemes``.
        entry: the name of the entry point.
        value: what it refers to, ``module:attribute``.
        editable: whether the distribution is installed as a link to its sources.
        state: ``found`` and not yet imported, ``loaded``, ``rejected`` for what it offers, ``failed`` in its metadata
            or its import, or ``conflicting`` with another plugin.
        reason: what is wrong; empty for found and loaded ones.
        seconds: how long its import took; None where it was not imported.
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
        """What to do about it; empty where nothing is wrong."""
        return _REMEDIES[self.state]

    def __str__(self) -> str:
        return f"{self.name} {self.state}" + (f": {self.reason}" if self.reason else "")


def policy_from_environment() -> PluginPolicy:
    """The policy that ``QUANTLEVELS_PLUGINS`` sets."""
    match [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]:
        case [] | ["all"]:
            return "all"
        case ["off"]:
            return "off"
        case names:
            return names


@final
@frozen(eq=False)
class _Offer:
    """The entry points of one distribution; its METADATA is read when it matters whose they are."""

    distribution: Distribution
    entries: tuple[EntryPoint, ...]
    defect: str = ""

    @cached_property
    def plugins(self) -> tuple[FoundPlugin, ...]:
        defect = self.defect
        try:
            name, version = self.distribution.name, self.distribution.version
        except Exception as error:
            name, version = PurePath(str(getattr(self.distribution, "_path", "?"))).name, ""
            defect = defect or f"its METADATA cannot be read: {_told(error)}"
        if _is_shadowed(self.distribution, name):
            return ()
        editable = _is_editable(self.distribution)
        if not self.entries:
            return (FoundPlugin(name, "", "", "", version, editable, defect),)
        return tuple(
            FoundPlugin(name, entry.name, entry.group, entry.value, version, editable, defect or _misreference(entry))
            for entry in self.entries
        )


def _offer(distribution: Distribution) -> _Offer | None:
    try:
        text = distribution.read_text("entry_points.txt")
    except Exception as error:
        return _Offer(distribution, (), f"its entry_points.txt cannot be read: {_told(error)}")
    if not text or _SECTION not in text:
        return None
    try:
        entries = tuple(entry for entry in distribution.entry_points if entry.group in GROUPS)
    except Exception as error:
        return _Offer(distribution, (), f"its entry_points.txt is malformed: {_told(error)}")
    if not (entries or _HEADER.search(text)):
        return _Offer(
            distribution, (), f"its entry_points.txt is malformed: {_SECTION!r} begins no header of a section"
        )
    return _Offer(distribution, entries) if entries else None


def _is_shadowed(distribution: Distribution, name: str) -> bool:
    """Whether Python imports from another installation of the same distribution, earlier on ``sys.path``."""
    import importlib_metadata

    try:
        first = importlib_metadata.distribution(name)
        return str(first.locate_file("")) != str(distribution.locate_file(""))
    except Exception:
        return False  # nothing else goes by its name


def _is_editable(distribution: Distribution) -> bool:
    import json

    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return origin.get("dir_info", {}).get("editable") is True
    except Exception:
        return False


def _misreference(entry: EntryPoint) -> str:
    try:
        return "" if entry.attr else f"{entry.value!r} is a whole module: it has to be 'module:NAME'"
    except Exception:
        return f"{entry.value!r} is no object reference: it has to be 'module:NAME'"


def _told(error: BaseException) -> str:
    """An error in one line, whatever its ``__str__`` does."""
    from traceback import format_exception_only

    return " ".join("".join(format_exception_only(error)).split())


@final
@frozen(eq=False)
class _Installed:
    """The result of one scan: no plugin is imported, and no METADATA read before it is needed."""

    offers: tuple[_Offer, ...]

    @cached_property
    def by_word(self) -> Mapping[tuple[str, str], list[_Offer]]:
        """Group and normalised name of entry points → whose they are."""
        found: dict[tuple[str, str], list[_Offer]] = {}
        for offer in self.offers:
            for entry in offer.entries:
                found.setdefault((entry.group, normalized(entry.name)), []).append(offer)
        return found

    @cached_property
    def plugins(self) -> tuple[FoundPlugin, ...]:
        """All there are, sorted."""
        return _sorted(self.offers)

    def named(self, group: str, word: str) -> tuple[FoundPlugin, ...]:
        """Those whose entry point has a normalised name, sorted."""
        plugins = _sorted(self.by_word.get((group, word), ()))
        return tuple(plugin for plugin in plugins if (plugin.group, normalized(plugin.entry)) == (group, word))


def _sorted(offers: Iterable[_Offer]) -> tuple[FoundPlugin, ...]:
    return tuple(sorted({plugin for offer in offers for plugin in offer.plugins}))


def scan(policy: PluginPolicy) -> _Installed:
    """What the installed distributions offer that a policy allows."""
    if policy == "off":
        return _Installed(())
    from importlib_metadata import distributions  # here, for with plugins off nothing is paid

    offers = tuple(offer for distribution in distributions() if (offer := _offer(distribution)))
    if policy != "all":
        allowed = set(map(_canonical, policy))
        offers = tuple(o for o in offers if any(_canonical(plugin.distribution) in allowed for plugin in o.plugins))
    return _Installed(offers)


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@final
@frozen(eq=False)
class _Outcome:
    """What loading a plugin gave: a value, or an error."""

    value: object = None
    error: PluginError | None = None
    seconds: float | None = None

    @property
    def state(self) -> State:
        if self.error is None:
            return "loaded"
        return "rejected" if isinstance(self.error, PluginContractError) else "failed"


def _reserved(group: str, entry: str) -> str:
    """Why an entry point may not be called as it is; empty where it may."""
    if group == SCHEMES:
        from quantlevels.schemes import shipped as shipped_schemes  # a floor above, and not needed for levels

        return _PROTECTED.format(entry, "a method") if entry in shipped_schemes() else ""
    owners = shipped().means(entry)
    return _PROTECTED.format(entry, " or ".join(owners)) if owners else ""


def _check_level(plugin: FoundPlugin, value: object) -> str:
    """Why a value is no level that a plugin may bring; empty where it is."""
    if type(value) is not QuantizationLevel:
        return f"{plugin.value} has to be a QuantizationLevel, and is of type {type(value).__name__!r}"
    if normalized(plugin.entry) not in map(normalized, (value.name, *value.aliases)):
        return f"the entry point has to be called {value.name!r} as the level is, or by one of its aliases"
    clash = shipped().clash(value)
    return _PROTECTED.format(*clash) if clash else ""


def _check_scheme(plugin: FoundPlugin, value: object) -> str:
    """Why a value is no scheme that a plugin may bring; empty where it is."""
    from quantlevels.scheme import Scheme

    if type(value) is not Scheme:
        return f"{plugin.value} has to be a Scheme, and is of type {type(value).__name__!r}"
    if normalized(plugin.entry) not in map(normalized, (value.method, *value.aliases)):
        return f"the entry point has to be called {value.method!r} as the method is, or by one of its aliases"
    return next(filter(None, (_reserved(SCHEMES, method) for method in (value.method, *value.aliases))), "")


_CHECKS: Final[Mapping[str, Callable[[FoundPlugin, object], str]]] = {LEVELS: _check_level, SCHEMES: _check_scheme}


def _unusable(plugin: FoundPlugin) -> PluginError | None:
    """What keeps a plugin from being imported at all."""
    if plugin.defect:
        return PluginLoadError(str(plugin), plugin.defect)
    if reason := _reserved(plugin.group, plugin.entry):
        return PluginContractError(str(plugin), reason)
    return None


def _attempt(plugin: FoundPlugin) -> _Outcome:
    if unusable := _unusable(plugin):
        return _Outcome(error=unusable)
    from importlib_metadata import EntryPoint

    start = perf_counter()
    try:
        value = EntryPoint(plugin.entry, plugin.value, plugin.group).load()
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # SystemExit, what test runners skip with ...
        error: PluginError = PluginLoadError(str(plugin), f"it cannot be imported: {_told(cause)}")
        error.__cause__ = cause
        return _Outcome(error=error, seconds=perf_counter() - start)
    seconds = perf_counter() - start
    if reason := _CHECKS[plugin.group](plugin, value):
        return _Outcome(error=PluginContractError(str(plugin), reason), seconds=seconds)
    return _Outcome(value, seconds=seconds)


@final
class Plugins:
    """The plugins that one registry sees: scanned once, each imported when it is first needed. Safe under threads.

    Args:
        policy: which distributions may bring some; None for what the environment says when the scan happens.
    """

    __slots__ = ("_importing", "_installed", "_lock", "_meanings", "_outcomes", "_policy")

    def __init__(self, policy: PluginPolicy | None = None) -> None:
        self._policy = policy
        self._lock = threading.RLock()  # entered again where a finder on sys.meta_path looks up a level
        self._importing: set[tuple[int, FoundPlugin]] = set()  # thread and what it is importing just now
        self._forget()

    def _forget(self) -> None:
        self._installed: _Installed | None = None
        self._outcomes: dict[FoundPlugin, _Outcome] = {}
        #: group and normalised word, or dialect and word → what the loaded plugins mean by it
        self._meanings: dict[tuple[str, Spelling], dict[FoundPlugin, object]] = {}

    def refresh(self) -> None:
        """Forget what was found, for the next miss to scan again: after an installation in the running process."""
        invalidate_caches()
        with self._lock:
            self._forget()

    def level(self, spelling: str) -> QuantizationLevel | None:
        """The level that plugins mean by a spelling, or None; imports those whose entry point is called so.

        Raises:
            AmbiguousLevelError: if different plugins mean different levels.
            PluginError: if the only plugins of that name cannot be used.
        """
        level = self._named(LEVELS, spelling)
        return level if isinstance(level, QuantizationLevel) else None

    def scheme(self, method: str) -> object | None:
        """The scheme that plugins bring for a ``quant_method``, or None; imports those whose entry point is called so.

        Raises:
            AmbiguousLevelError, PluginError: as `level`.
        """
        return self._named(SCHEMES, method)

    def _named(self, group: str, spelling: str) -> object | None:
        key = group, normalized(spelling)
        errors: list[PluginError] = []
        for plugin in self._scan().named(*key):
            with suppress(PluginWarning):  # an error to those who filter it so: who asks by name gets the plugin's own
                self._load(plugin)
            if error := self._load(plugin).error:
                errors.append(error)
        value = self._meant(spelling, key)
        if value is None and errors:
            raise errors[0]
        return value

    def in_dialect(self, dialect: str, spelling: Spelling) -> QuantizationLevel | None:
        """The level that plugins mean by a dialect's word or number, or None; imports all that bring levels.

        Raises:
            AmbiguousLevelError: if different plugins mean different levels.
        """
        self.load()
        level = self._meant(f"{dialect} {spelling}", (dialect, spelling))
        return level if isinstance(level, QuantizationLevel) else None

    def _meant(self, word: str, place: tuple[str, Spelling]) -> object | None:
        meanings = self._meanings.get(place, {})
        values = list(meanings.values())
        if any(value != values[0] for value in values):
            raise AmbiguousLevelError(word, tuple(map(str, sorted(meanings))))
        return values[0] if values else None

    def load(self, group: str = LEVELS) -> None:
        """Import all plugins of a group, with a PluginWarning, once, for each that cannot be used."""
        for plugin in self._scan().plugins:
            if plugin.group == group:
                self._load(plugin)

    def levels(self) -> tuple[QuantizationLevel, ...]:
        """The levels of the plugins that are loaded, in the order of the plugins."""
        loaded = sorted(self._outcomes.copy().items(), key=lambda item: item[0])
        return tuple(dict.fromkeys(o.value for _, o in loaded if isinstance(o.value, QuantizationLevel)))

    def equal(self, level: QuantizationLevel) -> QuantizationLevel | None:
        """The level of a loaded plugin that equals another one, or None."""
        meanings = self._meanings.get((LEVELS, normalized(level.name)), {})
        return next(
            (known for known in meanings.values() if isinstance(known, QuantizationLevel) and known == level), None
        )

    def names(self) -> tuple[str, ...]:
        """What the entry points of levels are called; imports none of them."""
        return tuple(
            entry.name
            for offer in self._scan().offers
            for entry in offer.entries
            if entry.group == LEVELS and not _reserved(LEVELS, entry.name)
        )

    def status(self, *, load: bool = False) -> tuple[PluginStatus, ...]:
        """What became of each entry point, sorted by distribution and name; imports them only if told to ``load``."""
        if load:
            for group in GROUPS:
                self.load(group)
        plugins = self._scan().plugins
        self._reject(plugins)
        return tuple(map(self._status, plugins))

    def _status(self, plugin: FoundPlugin) -> PluginStatus:
        state: State = "found"
        reason, seconds = "", None
        if outcome := self._outcomes.get(plugin):
            state, seconds = outcome.state, outcome.seconds
            if outcome.error:
                reason = outcome.error.reason
            elif reason := self._conflict(plugin, outcome.value):
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

    def _scan(self) -> _Installed:
        with self._lock:
            if self._installed is not None:
                return self._installed
            policy = policy_from_environment() if self._policy is None else self._policy
            self._installed = installed = scan(policy)
        named = (o for o in installed.offers if any(e.group == LEVELS and _reserved(LEVELS, e.name) for e in o.entries))
        self._reject(_sorted((*named, *(offer for offer in installed.offers if offer.defect))))
        return installed

    def _reject(self, plugins: Iterable[FoundPlugin]) -> None:
        """Record which of some plugins are not even to be imported."""
        for plugin in plugins:
            if _unusable(plugin):
                self._load(plugin)

    def _load(self, plugin: FoundPlugin) -> _Outcome:
        if outcome := self._outcomes.get(plugin):
            return outcome
        mine = threading.get_ident(), plugin
        if mine in self._importing:
            return _Outcome(error=PluginLoadError(str(plugin), "it is asked for while it is being imported"))
        self._importing.add(mine)
        try:
            outcome = _attempt(plugin)  # under no lock of ours: Python's import locks keep two threads in order
        finally:
            self._importing.discard(mine)
        return self._publish(plugin, outcome)

    def _publish(self, plugin: FoundPlugin, outcome: _Outcome) -> _Outcome:
        with self._lock:
            known = self._outcomes.get(plugin)
            if known and not (known.error and outcome.error is None):
                return known  # another thread was here first
            if outcome.error is None:
                outcome = self._learn(plugin, outcome)
            self._outcomes[plugin] = outcome
            reason = outcome.error.reason if outcome.error else self._conflict(plugin, outcome.value)
        if reason:
            _warn(plugin, reason)
        return outcome

    def _learn(self, plugin: FoundPlugin, outcome: _Outcome) -> _Outcome:
        """Note what a loaded plugin means by its words; equal levels of several plugins become one object."""
        value = outcome.value
        if isinstance(value, QuantizationLevel):
            value = self.equal(value) or value
        for place in _places(plugin, value):
            self._meanings[place] = {**self._meanings.get(place, {}), plugin: value}  # anew, for readers take no lock
        return evolve(outcome, value=value)

    def _conflict(self, plugin: FoundPlugin, value: object) -> str:
        """Which words of a loaded plugin mean something else in which other plugins; empty where none does."""
        clashes = {
            (f"{word}" if where in GROUPS else f"{where} {word}", str(other))
            for where, word in _places(plugin, value)
            for other, meant in self._meanings[where, word].items()
            if meant != value
        }
        return "; ".join(f"{word!r} means something else in {other}" for word, other in sorted(clashes))


def _places(plugin: FoundPlugin, value: object) -> Iterable[tuple[str, Spelling]]:
    """Where a plugin's value is looked up: group and normalised word, dialect and word."""
    if not isinstance(value, QuantizationLevel):
        return {(plugin.group, normalized(plugin.entry))}
    return {*((plugin.group, normalized(word)) for word in own_words(value)), *dialect_words(value)}


def _warn(plugin: FoundPlugin, reason: str) -> None:
    warnings.warn(f"{plugin}: {reason}", PluginWarning, stacklevel=2)
