"""Every record that is printed with --json is what its published JSON Schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from quantlevels.inspection.schema import RECORDS

if TYPE_CHECKING:
    from tests.cli.conftest import Ask

#: record → a command that prints it; ``A`` and ``B`` are checkpoints
COMMANDS: dict[str, tuple[str, ...]] = {
    "inspection": ("inspect", "A"),
    "verification": ("verify", "B", "--level", "Int8"),
    "comparison": ("compare", "A", "B"),
    "sizing": ("size", "--params", "7B", "--level", "Int4", "--group", "128"),
    "fit": ("fit", "--params", "7B", "--memory", "8GiB"),
    "level": ("show", "Q4_K"),
    "levels": ("list",),
    "translation": ("translate", "bf16", "--to", "torch"),
    "explanation": ("explain", "QL105"),
    "plugins": ("plugins",),
}


def closed(schema: Any) -> Any:  # Any: JSON
    """The schema, but with no key allowed that it does not list."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema:
        inside["additionalProperties"] = False
    return inside


@pytest.mark.parametrize("record", COMMANDS)
def test_what_a_command_prints_fits_its_schema(ask: Ask, w4a16: Path, w4a8: Path, record: str) -> None:
    schema = json.loads(ask("schema", record).out)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:quantlevels:schema:{record}:1"
    places = {"A": str(w4a16), "B": str(w4a8)}
    printed = json.loads(ask(*(places.get(word, word) for word in COMMANDS[record]), "--json").out)
    Draft202012Validator(closed(schema)).validate(printed)


def test_every_record_is_held_against_its_schema() -> None:
    assert {*COMMANDS, "unreadable", "survey"} == set(RECORDS)  # those of surveys: tests/survey


def test_an_unknown_record_is_answered_with_the_closest(ask: Ask) -> None:
    answer = ask("schema", "inspecton")
    assert (answer.status, answer.out) == (2, "")
    assert "no record is called 'inspecton'; did you mean inspection?" in answer.err
