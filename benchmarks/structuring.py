"""Reading 10,000 records with a level field, against the same records with the level left as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec
from attrs import frozen
from cattrs.preconf.json import make_converter

from benchmarks.measurement import Measurement, medians
from quantlevels import QuantizationLevel, levels
from quantlevels.converters import configure_converter
from quantlevels.fields import Level, dec_hook

RECORDS: Final = 10_000
ROUNDS: Final = 41
#: as in config files: mostly names, some aliases
SPELLINGS: Final = ("Int4", "Int8", "BFloat16", "None", "fp16", "bf16", "Q4_K", "int8")


@frozen
class AsText:
    """A tensor of a config, with its level as text."""

    name: str
    level: str
    rows: int
    columns: int
    group_size: int


@frozen
class AsLevel:
    """The same tensor, with its level as a level."""

    name: str
    level: QuantizationLevel
    rows: int
    columns: int
    group_size: int


class AsTextStruct(msgspec.Struct):
    """As `AsText`, for msgspec."""

    name: str
    level: str
    rows: int
    columns: int
    group_size: int


class AsLevelStruct(msgspec.Struct):
    """As `AsLevel`, for msgspec."""

    name: str
    level: Level
    rows: int
    columns: int
    group_size: int


def measure() -> Iterator[Measurement]:
    """Through cattrs, within a budget; through msgspec, whose decoder is C, for information."""
    data = [
        {
            "name": f"model.layers.{number}.mlp.up_proj",
            "level": SPELLINGS[number % len(SPELLINGS)],
            "rows": 11_008,
            "columns": 4_096,
            "group_size": 128,
        }
        for number in range(RECORDS)
    ]
    text = json.dumps(data).encode()
    converter = make_converter()
    configure_converter(converter)
    with_levels = msgspec.json.Decoder(list[AsLevelStruct], dec_hook=dec_hook)
    with_text = msgspec.json.Decoder(list[AsTextStruct])
    assert converter.structure(data, list[AsLevel])[0].level is levels["Int4"]
    cattrs_level, cattrs_text, msgspec_level, msgspec_text = medians(
        [
            lambda: converter.structure(data, list[AsLevel]),
            lambda: converter.structure(data, list[AsText]),
            lambda: with_levels.decode(text),
            lambda: with_text.decode(text),
        ],
        ROUNDS,
    )
    yield Measurement(
        what=f"{RECORDS:,} records with a level, by cattrs",
        value=cattrs_level,
        yardstick="with str instead",
        yardstick_value=cattrs_text,
        budget=1.15,
    )
    yield Measurement(
        what=f"{RECORDS:,} records with a level, from JSON by msgspec",
        value=msgspec_level,
        yardstick="with str instead",
        yardstick_value=msgspec_text,
    )
