"""Levels, translations, findings and plugins as the JSON records of the commands that look them up."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, final

from attrs import frozen

from quantlevels.errors import UnknownLevelError, UntranslatableLevelError
from quantlevels.findings import CODES
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.explanations import explanation
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.inspection.records import (
        BlockRecord,
        ExplanationRecord,
        LevelDescription,
        LevelRecord,
        LevelsRecord,
        PluginsRecord,
        TranslationRecord,
    )
    from quantlevels.vocabulary.level import Block, QuantizationLevel, Spelling
    from quantlevels.vocabulary.plugins import PluginStatus


def level_record(level: QuantizationLevel) -> LevelRecord:
    """The record that ``quantlevels show --json`` prints."""
    return {"schema_version": SCHEMA_VERSION, **_description(level)}


def levels_record(several: Iterable[QuantizationLevel]) -> LevelsRecord:
    """The record that ``quantlevels list --json`` prints."""
    return {"schema_version": SCHEMA_VERSION, "levels": [_description(level) for level in several]}


def _description(level: QuantizationLevel) -> LevelDescription:
    return {
        "name": level.name,
        "label": level.label,
        "bits_per_param": level.bits_per_param,
        "bits_per_weight": float(level.bits_per_weight),
        "memory_reduction_factor": level.memory_reduction_factor,
        "exact_reduction_factor": level.exact_reduction_factor,
        "block": _block_record(level.block),
        "kind": level.kind,
        "aliases": list(level.aliases),
        "spellings": {dialect: list(words) for dialect, words in level.spellings.items()},
        "summary": level.summary,
        "source": level.source,
    }


def _block_record(block: Block) -> BlockRecord:
    record: BlockRecord = {"weights": block.weights, "bits": block.bits}
    if block.row_bits:
        record["row_bits"] = block.row_bits
    return record


@final
@frozen(kw_only=True)
class Translation:
    """A level's name in another naming system.

    Args:
        level: the level.
        dialect: the naming system.
        spelling: its name there; None if it has none.
        reason: why it has none.
    """

    level: QuantizationLevel
    dialect: str
    spelling: Spelling | None = None
    reason: str | None = None

    def to_record(self) -> TranslationRecord:
        """The record that ``quantlevels translate --json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "level": self.level.name,
            "dialect": self.dialect,
            "spelling": self.spelling,
            "reason": self.reason,
        }


def dialects() -> tuple[str, ...]:
    """Every naming system of a level that came with the package or is registered."""
    return tuple(dict.fromkeys(chain.from_iterable(level.spellings for level in levels)))


def translate(level: QuantizationLevel, dialect: str) -> Translation:
    """A level's name in a naming system, if reading that name there gives the level back.

    Raises:
        UnknownLevelError: if no naming system is called so.
    """
    known = {word.lower(): word for word in (*dialects(), *level.spellings)}
    if dialect.lower() not in known:
        close = get_close_matches(dialect.lower(), known)
        raise UnknownLevelError(dialect, tuple(close) or tuple(sorted(known)), "dialect")
    dialect = known[dialect.lower()]
    try:
        word = level.spelling(dialect)
    except UntranslatableLevelError as error:
        return Translation(level=level, dialect=dialect, reason=str(error))
    # read back: some names are shared in a dialect (torch's uint8 holds packed codes of many levels)
    meant = levels.from_dialect(dialect, word)
    if meant != level:
        return Translation(level=level, dialect=dialect, reason=f"{word!r} means {meant.name!r} in {dialect!r}")
    return Translation(level=level, dialect=dialect, spelling=word)


def explanation_record(code: str) -> ExplanationRecord:
    """The record that ``quantlevels explain --json`` prints.

    Raises:
        KeyError: if the code does not exist.
    """
    slug, severity = CODES[code]
    return {
        "schema_version": SCHEMA_VERSION,
        "code": code,
        "slug": slug,
        "severity": severity,
        "text": explanation(code),
    }


def plugins_record(plugins: Iterable[PluginStatus]) -> PluginsRecord:
    """The record that ``quantlevels plugins --json`` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "plugins": [
            {
                "distribution": plugin.distribution,
                "version": plugin.version,
                "group": plugin.group,
                "entry": plugin.entry,
                "value": plugin.value,
                "editable": plugin.editable,
                "state": plugin.state,
                "reason": plugin.reason,
                "seconds": plugin.seconds,
                "remedy": plugin.remedy,
            }
            for plugin in plugins
        ],
    }
