"""Every error and warning of quantlevels.

Errors keep their parts as attributes, make their text in ``__str__`` and can be pickled. None derives from
``KeyError``, ``ValueError`` or ``TypeError``, because cattrs replaces the text of those with its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from quantlevels.findings import Finding

__all__ = [
    "AmbiguousLevelError",
    "CheckpointError",
    "ConfigError",
    "DuplicateLevelError",
    "PluginContractError",
    "PluginError",
    "PluginLoadError",
    "PluginWarning",
    "QuantLevelsError",
    "ReservedLevelError",
    "SizingError",
    "UnknownLevelError",
    "UntranslatableLevelError",
    "VerificationError",
]

#: suggestions that can all be meant; a longer list is all that is known
_MOST_MEANT = 5


class QuantLevelsError(Exception):
    """The base of all errors of quantlevels."""


class UnknownLevelError(QuantLevelsError, LookupError):
    """No known level has a name, a number of bits or a dialect's spelling.

    Attributes:
        value: what was looked up, unchanged.
        suggestions: the closest spellings of known levels, best first.
        where: what kind of value it is, as in ``unknown level`` or ``unknown ggml type``.
        explanation: what a well-known word stands for that is not a level, such as the recipe ``Q4_K_M``; else empty.
    """

    def __init__(
        self, value: object, suggestions: tuple[str, ...] = (), where: str = "level", explanation: str = ""
    ) -> None:
        # all of them, in order: pickle makes the error again from its `args`
        super().__init__(value, suggestions, where, explanation)
        self.value = value
        self.suggestions = suggestions
        self.where = where
        self.explanation = explanation

    def __str__(self) -> str:
        if self.explanation:  # which names the levels to ask for itself
            return f"{self.value!r} is not a level but {self.explanation}"
        text = f"unknown {self.where} {self.value!r}"
        if len(self.suggestions) > _MOST_MEANT:  # nothing is close, and these are all there are
            text += f"; choose one of {', '.join(self.suggestions)}"
        elif self.suggestions:
            text += f"; did you mean {' or '.join(map(repr, self.suggestions))}?"
        return text


class AmbiguousLevelError(QuantLevelsError, LookupError):
    """A spelling that different libraries or plugins use for different levels.

    Attributes:
        value: the spelling.
        candidates: what it can mean: names of levels, or plugins as ``distribution[entry]``.
        labels: the labels of these levels, in the same order; empty for plugins.
    """

    def __init__(self, value: str, candidates: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(value, candidates, labels)
        self.value = value
        self.candidates = candidates
        self.labels = labels

    def __str__(self) -> str:
        meanings = [
            name if label.lower() == name.lower() else f"{label} ({name!r})"
            for name, label in zip(self.candidates, self.labels or self.candidates, strict=True)
        ]
        # without labels, the candidates are plugins: a user cannot choose between those in a config
        remedy = "choose one" if self.labels else "uninstall one of them"
        return f"{self.value!r} can mean {' or '.join(meanings)}; {remedy}"


class ReservedLevelError(QuantLevelsError):
    """A new level uses a name, alias or spelling of a level that comes with quantlevels.

    Attributes:
        value: the spelling that is taken.
        owner: the name of the level that has it.
    """

    def __init__(self, value: str, owner: str) -> None:
        super().__init__(value, owner)
        self.value = value
        self.owner = owner

    def __str__(self) -> str:
        return f"{self.value!r} is a spelling of the protected level {self.owner!r}; choose another"


class DuplicateLevelError(QuantLevelsError):
    """A different level is already registered under a name, alias or spelling.

    Attributes:
        value: the spelling that is taken.
        owner: the name of the level that has it.
    """

    def __init__(self, value: str, owner: str) -> None:
        super().__init__(value, owner)
        self.value = value
        self.owner = owner

    def __str__(self) -> str:
        return f"{self.value!r} already names a different registered level, {self.owner!r}"


class UntranslatableLevelError(QuantLevelsError):
    """A dialect has no word for a level.

    Attributes:
        level: the level's name.
        dialect: the naming system without a word for it.
        known: the dialects that have one.
    """

    def __init__(self, level: str, dialect: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(level, dialect, known)
        self.level = level
        self.dialect = dialect
        self.known = known

    def __str__(self) -> str:
        text = f"{self.level!r} has no spelling in {self.dialect!r}"
        if self.known:
            text += f"; it has one in {', '.join(self.known)}"
        return text


class PluginError(QuantLevelsError):
    """An installed plugin cannot be used.

    Attributes:
        plugin: ``distribution[entry]`` of the plugin.
        reason: what is wrong with it.
    """

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(plugin, reason)
        self.plugin = plugin
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.plugin}: {self.reason}"


class PluginLoadError(PluginError):
    """A plugin whose metadata or import fails."""


class PluginContractError(PluginError):
    """A plugin that brings something other than its entry-point group requires."""


class PluginWarning(UserWarning):
    """A plugin is left out. ``quantlevels plugins`` lists all, with reasons."""


class ConfigError(QuantLevelsError):
    """A config file, or a table or setting in it, that cannot be used.

    Attributes:
        messages: one line per mistake: file, place in it, what was expected and what was found.
    """

    def __init__(self, messages: tuple[str, ...]) -> None:
        super().__init__(messages)
        self.messages = messages

    def __str__(self) -> str:
        return "\n".join(self.messages)


class CheckpointError(QuantLevelsError):
    """A checkpoint file that cannot be read: malformed, truncated or unsafe.

    Attributes:
        path: the file.
        reason: what is wrong and, unless it is obvious, what to do.
        offset: the byte of the file at which reading stopped, or None.
    """

    def __init__(self, path: Path | str, reason: str, offset: int | None = None) -> None:
        if isinstance(path, str) and "://" not in path:
            from pathlib import Path  # here: it takes a while to import, and most runs meet no error

            path = Path(path)
        super().__init__(path, reason, offset)
        self.path = path
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason}"
        if self.offset is not None:
            text += f" (at byte {self.offset:,})"
        return text


class SizingError(QuantLevelsError):
    """A size that cannot be computed: the layout does not fit, or the shapes of the weights are unknown."""


class SurveyError(QuantLevelsError):
    """A survey that cannot go on: a root that cannot be read, or workers that do not fit together."""


class VerificationError(QuantLevelsError):
    """A checkpoint that contradicts its own claims, or the caller's requirements.

    Attributes:
        path: the checkpoint.
        findings: what is wrong, ordered by finding code.
    """

    def __init__(self, path: Path | str, findings: tuple[Finding, ...]) -> None:
        super().__init__(path, findings)
        self.path = path
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join([f"{self.path}: verification failed", *(f"  {finding}" for finding in self.findings)])


def closest(word: object, known: Iterable[object]) -> str | None:
    """The known word that was most likely meant: one that is close, or begins the same way; None if nothing is near."""
    words = [candidate for candidate in known if isinstance(candidate, str)]
    if not isinstance(word, str) or not word:
        return None
    from difflib import get_close_matches  # here: only mistakes need it

    # difflib compares lengths too: it finds nothing for 'quant', the beginning of 'quantization_config'
    begin_so = (candidate for candidate in words if candidate.startswith(word))
    return next(iter(get_close_matches(word, words, n=1)), None) or next(begin_so, None)


def did_you_mean(meant: str | None) -> str:
    """The end of a message: what was probably meant; empty if nothing is close."""
    return f"; did you mean {meant!r}?" if meant else ""
