"""list, show, translate, schema: the commands that need no checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from quantlevels import BF16, QuantizationLevel, Registry, levels

if TYPE_CHECKING:
    from tests.cli.conftest import Ask


def test_list_is_one_level_a_line(ask: Ask) -> None:
    header, *lines = ask("list").out.splitlines()
    assert header.split() == [
        *("name", "bits", "bits/weight", "memory_reduction_factor", "exact_reduction_factor", "kind", "summary")
    ]
    assert [line.split()[0] for line in lines] == [level.name for level in levels]


def test_list_by_width_and_kind(ask: Ask) -> None:
    names = [
        level["name"] for level in json.loads(ask("list", "--bits", "16", "--kind", "float", "--json").out)["levels"]
    ]
    assert names[:2] == ["Float16", "BFloat16"]


def test_show_takes_any_spelling(ask: Ask) -> None:
    answer = ask("show", "torch.bfloat16")
    assert answer.status == 0
    assert "name                     BFloat16\n" in answer.out
    assert "safetensors  BF16\n" in answer.out


def test_show_as_json_is_exact(ask: Ask) -> None:
    record = json.loads(ask("show", "int4", "--json").out)
    assert (record["name"], record["bits_per_param"], record["block"]) == ("Int4", 4, {"weights": 1, "bits": 4})
    assert record["memory_reduction_factor"] == 8.0


@pytest.mark.parametrize(
    ("arguments", "status", "out"),
    [
        (("translate", "bf16", "--to", "torch"), 0, "bfloat16\n"),
        (("translate", "bf16", "--to", "safetensors"), 0, "BF16\n"),
        (("translate", "bf16", "--to", "ONNX"), 0, "BFLOAT16\n"),
        (("translate", "int4", "--to", "safetensors"), 1, ""),
        (("translate", "bf16", "--to", "torhc"), 2, ""),
    ],
)
def test_translate(ask: Ask, arguments: tuple[str, ...], status: int, out: str) -> None:
    answer = ask(*arguments)
    assert (answer.status, answer.out) == (status, out)
    assert bool(answer.err) == (status != 0)


def test_translate_as_json_gives_the_reason(ask: Ask) -> None:
    answer = ask("translate", "int4", "--to", "safetensors", "--json")
    assert answer.status == 1
    record = json.loads(answer.out)
    assert record["spelling"] is None
    assert record["reason"].startswith("'Int4' has no spelling in 'safetensors'")


@pytest.mark.parametrize("which", ["config", "inspection"])
def test_schema_is_json_schema(ask: Ask, which: str) -> None:
    schema = json.loads(ask("schema", which).out)
    assert schema["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("lst",), "'list'"),
        (("show", "in4"), "'Int4'"),
        (("list", "--bit", "4"), "'--bits'"),
        (("translate", "bf16", "--to", "torhc"), "'torch'"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_closest_one(ask: Ask, arguments: tuple[str, ...], meant: str) -> None:
    answer = ask(*arguments)
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert "did you mean" in answer.err.lower()
    assert meant in answer.err


def test_a_level_without_close_names_says_where_to_look(ask: Ask) -> None:
    assert ask("show", "zzzzzz").err.endswith("unknown level 'zzzzzz'; `quantlevels list` shows them all\n")


def test_an_unknown_command_without_close_names_points_to_the_help(ask: Ask) -> None:
    assert (
        ask("help").err == "quantlevels: the command 'help' does not exist; `quantlevels --help` lists all commands\n"
    )


def test_a_number_that_is_no_number_is_named(ask: Ask) -> None:
    assert "'four' is not a valid whole number" in ask("list", "--bits", "four").err


def test_a_list_of_nothing_says_so(ask: Ask) -> None:
    assert ask("list", "--bits", "99").out == "no level has that width and kind\n"


def test_a_dialect_of_ones_own(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Registry(plugins=())
    mine.register(QuantizationLevel(name="Mine", bits_per_param=4, spellings={"Acme": ("m4",)}))
    monkeypatch.setattr("quantlevels.config.fields.as_level", mine.__getitem__)
    monkeypatch.setattr("quantlevels.inspection.reference.levels", mine)
    assert ask("translate", "mine", "--to", "acme").out == "m4\n"


def test_all_that_is_known_of_bf16_is_in_its_json(ask: Ask) -> None:
    record = json.loads(ask("show", "bf16", "--json").out)
    assert record["spellings"] == {dialect: list(words) for dialect, words in BF16.spellings.items()}
