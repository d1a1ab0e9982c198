"""Structuring records with a level field by cattrs, against the same records with the level left as text."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from attrs import frozen
from cattrs.preconf.json import make_converter

from benchmarks.measurement import Measurement, best
from quantlevels import QuantizationLevel, levels
from quantlevels.converters import configure_converter

RECORDS = 10_000
ROUNDS = 100
BUDGET = 1.15


@frozen
class AsText:
    """A tensor of a config with its level as text."""

    name: str
    level: str
    rows: int
    columns: int
    group_size: int


@frozen
class AsLevel:
    """The same tensor with its level as one."""

    name: str
    level: QuantizationLevel
    rows: int
    columns: int
    group_size: int


def measure() -> Iterator[Measurement]:
    """With spellings that occur in config files: mostly names, some aliases."""
    converter = make_converter()
    configure_converter(converter)
    spellings = ["Int4", "Int8", "BFloat16", "None", "fp16", "bf16", "Q4_K", "int8"]
    data = [
        {
            "name": f"model.layers.{index}.mlp.up_proj",
            "level": spellings[index % len(spellings)],
            "rows": 11_008,
            "columns": 4_096,
            "group_size": 128,
        }
        for index in range(RECORDS)
    ]
    assert converter.structure(data, list[AsLevel])[0].level is levels["Int4"]
    gc.disable()  # both leave the same garbage: none
    try:
        text, level = best(
            lambda: converter.structure(data, list[AsText]),
            lambda: converter.structure(data, list[AsLevel]),
            rounds=ROUNDS,
        )
    finally:
        gc.enable()
    yield Measurement(f"structuring {RECORDS:,} records, level against str", level / text, BUDGET)
