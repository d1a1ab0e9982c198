"""What many rows amount to: totals per level and per store, the worst findings, what was added, removed and changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, final

from attrs import define, field, frozen

from quantlevels.survey.surveying import key_of

if TYPE_CHECKING:
    from quantlevels.findings import Severity
    from quantlevels.inspection.records import SurveyRow
    from quantlevels.survey.surveying import Key

#: how many rows of a kind are kept to be listed
_LISTED: Final = 20
_RANKS: Final[dict[str, int]] = {"error": 2, "warning": 1, "info": 0}
#: endings of files that a program has not finished to download
_UNFINISHED: Final = (".incomplete", ".part", ".partial", ".downloadInProgress", ".crdownload", ".aria2")


@define
class LevelTotal:
    """All weights of a survey that are stored at one level."""

    checkpoints: int = 0
    parameters: int = 0
    nbytes: int = 0


@define
class StoreTotal:
    """All checkpoints of a survey in one kind of store; bytes that several share are counted once."""

    checkpoints: int = 0
    broken: int = 0
    nbytes: int = 0


class Trouble(NamedTuple):
    """A checkpoint with findings or an error, the worst first."""

    rank: int
    nbytes: int
    name: str
    reason: str


@define
class Summary:
    """The totals of rows, added one by one; memory does not grow with their number."""

    levels: dict[str, LevelTotal] = field(factory=lambda: defaultdict(LevelTotal))
    stores: dict[str, StoreTotal] = field(factory=lambda: defaultdict(StoreTotal))
    #: code of a finding → checkpoints that have it
    findings: Counter[str] = field(factory=Counter[str])
    severities: Counter[Severity] = field(factory=Counter)
    troubles: list[Trouble] = field(factory=list)
    #: rows whose bytes another row has as well
    same: list[tuple[str, str, int]] = field(factory=list)
    same_count: int = 0
    same_bytes: int = 0

    def add(self, row: SurveyRow) -> None:
        """Count one row."""
        store = self.stores[row["store"]]
        store.checkpoints += 1
        store.broken += row["error"] is not None
        if row["same_as"] is None:
            store.nbytes += row["file_bytes"]
            # a set: one checkpoint may have a level twice, in groups of different size
            for level in {level["label"] for level in row["levels"]}:
                self.levels[level].checkpoints += 1
            for stored in row["levels"]:
                total = self.levels[stored["label"]]
                total.parameters += stored["parameters"]
                total.nbytes += stored["bytes"]
        else:
            self.same_count += 1
            self.same_bytes += row["file_bytes"]
            if len(self.same) < _LISTED:
                self.same.append((row["name"], row["same_as"], row["file_bytes"]))
        self._add_trouble(row)

    def _add_trouble(self, row: SurveyRow) -> None:
        self.findings.update({finding["code"] for finding in row["findings"]})
        self.severities.update({finding["severity"] for finding in row["findings"]})
        worst = max(row["findings"], key=lambda finding: _RANKS[finding["severity"]], default=None)
        if row["error"] is not None:
            trouble = Trouble(len(_RANKS), row["file_bytes"], row["name"], row["error"])
        elif worst is not None and _RANKS[worst["severity"]]:
            reason = f"{worst['code']} {worst['message']}"
            trouble = Trouble(_RANKS[worst["severity"]], row["file_bytes"], row["name"], reason)
        else:
            return
        self.troubles.append(trouble)
        # sorted now and then, not for each row: the list stays short and the work small
        if len(self.troubles) > 2 * _LISTED:
            self.troubles = nlargest(_LISTED, self.troubles)

    @property
    def checkpoints(self) -> int:
        """All rows."""
        return sum(store.checkpoints for store in self.stores.values())

    def worst(self) -> list[Trouble]:
        """The checkpoints with the worst trouble, errors first, then by bytes."""
        return nlargest(_LISTED, self.troubles)


@final
@frozen
class Changes:
    """What is different between two surveys, by what users call the checkpoints."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def changes(before: Iterable[SurveyRow], after: Iterable[SurveyRow]) -> Changes:
    """What was added, removed and changed between two surveys of the same roots."""
    old: dict[Key, str] = {key_of(row): row["version"] for row in before}
    added: list[str] = []
    changed: list[str] = []
    for row in after:
        version = old.pop(key_of(row), None)
        if version is None:
            added.append(row["name"])
        elif version != row["version"]:
            changed.append(row["name"])
    return Changes(tuple(added), tuple(name for _, name, _ in old), tuple(changed))


def unfinished_downloads(roots: Iterable[str]) -> Iterator[tuple[Path, int]]:
    """Files below local roots that a program has not finished to download, and their bytes."""
    for root in roots:
        if "://" in root:  # stores show an object when it is complete
            continue
        for path in Path(root).rglob("*"):
            name = path.name
            if name.endswith(_UNFINISHED) or (name.startswith("sha256-") and "-partial" in name):
                try:
                    yield path, path.stat().st_size
                except OSError:
                    continue
