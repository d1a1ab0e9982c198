"""The JSON Schemas in ``docs/schemas`` are those that ``quantlevels schema`` prints.

``python -m tests.test_schemas`` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantlevels.inspection.schema import RECORDS, config_schema, record_schema

FOLDER = Path(__file__).parents[1] / "docs/schemas"


def published(name: str) -> str:
    """The text of the schema of a record, or of a level in a config file."""
    schema = config_schema() if name == "config" else record_schema(name)
    return json.dumps(schema, indent=2) + "\n"


@pytest.mark.parametrize("name", ["config", *RECORDS])
def test_the_published_schema_is_the_one_that_is_printed(name: str) -> None:
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == published(name)


def test_every_published_schema_is_of_a_record() -> None:
    names = {path.name.removesuffix(".schema.json") for path in FOLDER.iterdir()}
    assert names == {"config", *RECORDS}


def test_a_schema_describes_its_record() -> None:
    schema = record_schema("inspection")
    assert schema["$id"] == "urn:quantlevels:schema:inspection:1"
    required = schema["required"]
    assert isinstance(required, list)
    assert {"declared", "stored", "findings"} <= set(required)
    assert "components" not in required


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in ("config", *RECORDS):
        (FOLDER / f"{name}.schema.json").write_text(published(name), encoding="utf-8")
