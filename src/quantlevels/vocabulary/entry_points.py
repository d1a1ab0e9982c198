"""Entry points of quantlevels' groups, as the metadata of the installed distributions lists them.

The only module that imports importlib_metadata. It imports no plugin, except in `load_plugin`, and reads only the
METADATA that it needs. A defect of one distribution becomes a `FoundPlugin` that names it, and does not affect the
others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import frozen

from quantlevels.errors import ConfigError
from quantlevels.vocabulary.index import normalized

if TYPE_CHECKING:
    from importlib_metadata import Distribution, EntryPoint

#: Which distributions may bring plugins: all, none, or these.
PluginPolicy: TypeAlias = Literal["all", "off"] | Collection[str]

#: The environment variable that sets the policy: ``off``, or distributions separated by commas; all if it is not set.
VARIABLE: Final = "QUANTLEVELS_PLUGINS"

GROUP_PREFIX: Final = "quantlevels."

_SECTION: Final = f"[{GROUP_PREFIX}"  # in entry_points.txt; a distribution without one is not parsed
_HEADER: Final = re.compile(rf"^\s*\[{re.escape(GROUP_PREFIX)}.*\]\s*$", re.MULTILINE)  # as the parser reads headers
_WORDS_OF_POLICY: Final = frozenset(("all", "off"))


@final
@frozen(order=True)
class FoundPlugin:
    """One entry point as the metadata lists it; nothing of it was imported.

    Args:
        distribution: the name of the installed distribution; its metadata folder if it has no readable name.
        entry: the name of the entry point; empty if the list of entry points is unreadable.
        group: ``quantlevels.levels``, ``quantlevels.schemes`` ...; empty likewise.
        value: what it refers to, ``module:attribute``.
        version: the version of the distribution.
        editable: whether the distribution is installed as a link to its sources (PEP 610).
        defect: what is wrong with the metadata, so that the plugin cannot be imported; empty if nothing is.
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
@frozen(eq=False)
class InstalledPlugins:
    """The result of one scan."""

    distributions: tuple[_DistributionEntries, ...]

    @cached_property
    def plugins(self) -> tuple[FoundPlugin, ...]:
        """All entry points, sorted."""
        return _sorted_plugins(self.distributions)

    def defective(self) -> tuple[FoundPlugin, ...]:
        """Those of distributions whose list of entry points is unreadable, sorted."""
        return _sorted_plugins(entries for entries in self.distributions if entries.defect)

    def named(self, group: str, word: str) -> tuple[FoundPlugin, ...]:
        """Those of a group whose entry point has a normalised name, sorted."""
        # a distribution gives all of its plugins, so those of other names are left out again
        plugins = _sorted_plugins(self._by_name.get((group, word), ()))
        return tuple(plugin for plugin in plugins if (plugin.group, normalized(plugin.entry)) == (group, word))

    def names(self) -> Iterable[tuple[str, str]]:
        """Group and name of every entry point, without reading whose they are."""
        for entries in self.distributions:
            for entry in entries.entry_points:
                yield entry.group, entry.name

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], list[_DistributionEntries]]:
        """Group and normalised name of entry points → the distributions that have one."""
        found: dict[tuple[str, str], list[_DistributionEntries]] = {}
        for entries in self.distributions:
            for entry in entries.entry_points:
                found.setdefault((entry.group, normalized(entry.name)), []).append(entries)
        return found


@final
@frozen(eq=False)
class _DistributionEntries:
    """The entry points of one distribution; its METADATA is read only when its name is needed."""

    distribution: Distribution
    entry_points: tuple[EntryPoint, ...]
    defect: str = ""

    @cached_property
    def plugins(self) -> tuple[FoundPlugin, ...]:
        defect = self.defect
        # the folder stands for the name of a distribution that cannot say its own, so that users find what to remove
        try:
            name, version = self.distribution.name, self.distribution.version
        except Exception as error:
            from pathlib import PurePath  # here: only defects need it, and it takes a while to import

            name, version = PurePath(str(getattr(self.distribution, "_path", "?"))).name, ""
            defect = defect or f"its METADATA cannot be read: {one_line(error)}"
        if _is_shadowed(self.distribution, name):
            return ()
        editable = _is_editable(self.distribution)
        if not self.entry_points:
            return (FoundPlugin(name, "", "", "", version, editable, defect),)
        return tuple(
            FoundPlugin(
                name, entry.name, entry.group, entry.value, version, editable, defect or _reference_defect(entry)
            )
            for entry in self.entry_points
        )


def _sorted_plugins(distributions: Iterable[_DistributionEntries]) -> tuple[FoundPlugin, ...]:
    plugins: set[FoundPlugin] = set()  # one folder may be on sys.path twice
    for entries in distributions:
        plugins.update(entries.plugins)
    return tuple(sorted(plugins))


# -- which distributions count -----------------------------------------------------------------------------------------


def policy_from_environment() -> PluginPolicy:
    """The policy that ``QUANTLEVELS_PLUGINS`` sets.

    Raises:
        ConfigError: if it mixes ``off`` or ``all`` with names of distributions.
    """
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    if not words or words == ["all"]:
        return "all"
    if words == ["off"]:
        return "off"
    mixed = _WORDS_OF_POLICY.intersection(words)
    if mixed:
        raise ConfigError((f"{VARIABLE}={','.join(words)}: {_alone(mixed)}",))
    return words


def checked_policy(policy: PluginPolicy) -> PluginPolicy:
    """A policy given in code.

    Raises:
        ValueError: for a string other than ``"all"`` and ``"off"``, and for a list that contains one of these.
    """
    if isinstance(policy, str):
        if policy not in _WORDS_OF_POLICY:
            raise ValueError(f"plugins must be 'all', 'off' or a list of distributions, not {policy!r}")
        return policy
    names = tuple(policy)
    mixed = _WORDS_OF_POLICY.intersection(names)
    if mixed:
        raise ValueError(f"plugins={list(names)!r}: {_alone(mixed)}")
    return names


def _alone(words: Iterable[str]) -> str:
    word = min(words)
    return f"{word!r} must stand alone: remove it, or the names of distributions beside it"


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()  # PEP 503


# -- reading metadata --------------------------------------------------------------------------------------------------


def scan(policy: PluginPolicy) -> InstalledPlugins:
    """The entry points of quantlevels' groups in all installed distributions that a policy allows."""
    if policy == "off":
        return InstalledPlugins(())
    from importlib_metadata import distributions  # here: with plugins off, it is not needed

    found = list(filter(None, map(_entries_of, distributions())))
    if policy != "all":
        allowed = set(map(_canonical, policy))
        found = [
            entries
            for entries in found
            if any(_canonical(plugin.distribution) in allowed for plugin in entries.plugins)
        ]
    return InstalledPlugins(tuple(found))


def _entries_of(distribution: Distribution) -> _DistributionEntries | None:
    try:
        text = distribution.read_text("entry_points.txt")
    except Exception as error:
        return _DistributionEntries(distribution, (), f"its entry_points.txt cannot be read: {one_line(error)}")
    if not text or _SECTION not in text:  # before parsing: nearly no distribution has plugins of ours
        return None
    try:
        entries = tuple(entry for entry in distribution.entry_points if entry.group.startswith(GROUP_PREFIX))
    except Exception as error:
        return _DistributionEntries(distribution, (), f"its entry_points.txt is malformed: {one_line(error)}")
    # the name of a group stands elsewhere in the file: its header may have lost a line break
    if not entries and not _HEADER.search(text):
        return _DistributionEntries(
            distribution, (), f"its entry_points.txt is malformed: {_SECTION!r} does not begin the header of a section"
        )
    if not entries:
        return None
    return _DistributionEntries(distribution, entries)


def _is_shadowed(distribution: Distribution, name: str) -> bool:
    """Whether Python imports from another installation of the same distribution, earlier on ``sys.path``."""
    import importlib_metadata

    try:
        # a user's own installation before the system's, say: only what the first one lists can be imported
        first = importlib_metadata.distribution(name)
        return str(first.locate_file("")) != str(distribution.locate_file(""))
    except Exception:
        return False  # no other distribution has its name


def _is_editable(distribution: Distribution) -> bool:
    import json

    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return origin.get("dir_info", {}).get("editable") is True
    except Exception:
        return False


def _reference_defect(entry: EntryPoint) -> str:
    try:
        names_object = bool(entry.attr)
    except Exception:  # importlib_metadata parses the value only here
        return f"{entry.value!r} is not an object reference: it has to be 'module:NAME'"
    if names_object:
        return ""
    return f"{entry.value!r} is a whole module: it has to be 'module:NAME'"


def load_plugin(plugin: FoundPlugin) -> object:
    """Import what an entry point refers to.

    Raises:
        BaseException: whatever the import raises.
    """
    from importlib_metadata import EntryPoint

    return EntryPoint(plugin.entry, plugin.value, plugin.group).load()


def one_line(error: BaseException) -> str:
    """The type and text of an error in one line, whatever its ``__str__`` does."""
    from traceback import format_exception_only

    return " ".join("".join(format_exception_only(error)).split())
