"""A level as a field of pydantic models and msgspec structs, and the JSON Schema that editors get."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import BF16, FP32, INT4, INT8, QuantizationLevel, levels
from quantlevels.fields import Level, LevelType, OneOf, as_level, dec_hook, enc_hook
from quantlevels.vocabulary.plain import json_schema

pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")

ACME = QuantizationLevel(name="Int4Acme", bits_per_param=4, aliases=("i4a",))


class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # may be missing
    weights: QuantizationLevel
    optional: QuantizationLevel | None = None
    keys: dict[QuantizationLevel, int] = pydantic.Field(default_factory=dict)
    many: list[QuantizationLevel] = pydantic.Field(default_factory=list)
    or_auto: QuantizationLevel | Literal["auto"] = "auto"
    choice: Annotated[QuantizationLevel, OneOf(INT8, INT4)] = INT8
    perhaps: Annotated[QuantizationLevel | None, OneOf(INT8)] = None


class Struct(msgspec.Struct):  # type: ignore[misc,name-defined]  # may be missing
    weights: Level
    optional: Level | None = None
    keys: dict[Level, int] = msgspec.field(default_factory=dict)
    many: list[Level] = msgspec.field(default_factory=list)


def test_nothing_is_imported_for_them() -> None:
    code = "import sys, quantlevels, quantlevels.fields; quantlevels.INT4; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "pydantic_core", "msgspec", "cattrs", "json"} & set(loaded)


# -- pydantic ----------------------------------------------------------------------------------------------------------


def test_pydantic_reads_any_spelling_and_writes_names() -> None:
    model = Model(weights="q4_k", optional=INT4, keys={"fp16": 2}, many=["torch.bfloat16"], or_auto="nf4", choice="i4")
    assert model.weights is levels["Q4_K"]
    assert model.many == [BF16]
    assert model.choice is INT4
    dumped = model.model_dump()
    assert dumped["weights"] == "Q4_K"
    assert dumped["keys"] == {"Float16": 2}
    assert dumped["or_auto"] == "NF4"
    assert json.loads(model.model_dump_json()) == dumped
    assert Model.model_validate(dumped) == model


@given(st.sampled_from([*levels, ACME]), st.lists(st.sampled_from([*levels, ACME])))
def test_pydantic_round_trip(weights: QuantizationLevel, many: list[QuantizationLevel]) -> None:
    model = Model(weights=weights, many=many, or_auto="auto")
    again = Model.model_validate_json(model.model_dump_json())
    assert again == model
    assert all(level == ACME or level is levels[level.name] for level in (again.weights, *again.many))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"weights": "in4"}, "unknown level 'in4'; did you mean 'Int4'?"),
        ({"weights": None}, "FP32 is written 'None'"),
        ({"weights": 4}, "did you mean 'Int4'"),
        ({"weights": "fp4"}, "can mean"),
        ({"weights": {"name": "Int4", "bits_per_param": 3}}, "protected level"),
        ({"weights": {"name": "X", "bits": 3}}, "unknown key 'bits'; did you mean"),
        ({"weights": "int4", "choice": "fp16"}, "expected 'Int8' or 'Int4', got 'Float16'"),
        ({"weights": "int4", "perhaps": "int4"}, "expected 'Int8', got 'Int4'"),
    ],
)
def test_pydantic_reports_the_messages_of_quantlevels(values: dict[str, object], text: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Model(**values)
    assert text in str(caught.value)
    assert caught.value.errors()[0]["type"] == "quantization_level"


def test_pydantic_schemas_are_open_with_names_as_examples() -> None:
    for mode in ("validation", "serialization"):
        properties = Model.model_json_schema(mode=mode)["properties"]
        text = properties["weights"]["anyOf"][0]
        assert text["type"] == "string"
        assert {"None", "Int4", "Q4_K"} <= set(text["examples"])
        assert "enum" not in text
        assert properties["choice"]["examples"] == ["Int8", "Int4"]


# -- msgspec -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_msgspec(codec: object) -> None:
    struct = Struct(INT4, FP32, {INT8: 1}, [levels["Q4_K"], ACME])
    encoded = codec.encode(struct, enc_hook=enc_hook)  # type: ignore[attr-defined]
    decoded = codec.decode(encoded, type=Struct, dec_hook=dec_hook)  # type: ignore[attr-defined]
    assert decoded == struct
    assert decoded.weights is INT4
    assert decoded.many[0] is levels["Q4_K"]


def test_msgspec_writes_names_and_tables() -> None:
    assert msgspec.to_builtins(Struct(FP32, ACME), enc_hook=enc_hook) == {
        "weights": "None",
        "optional": {"name": "Int4Acme", "bits_per_param": 4, "aliases": ["i4a"]},
        "keys": {},
        "many": [],
    }


def test_msgspec_never_writes_the_insides_of_a_level() -> None:
    with pytest.raises(TypeError, match="unsupported"):
        msgspec.json.encode(Struct(INT4))


def test_msgspec_adds_the_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"unknown level 'in4'; did you mean 'Int4'\? - at `\$\.weights`"):
        msgspec.json.decode(b'{"weights": "in4"}', type=Struct, dec_hook=dec_hook)


def test_the_hooks_leave_other_types_to_others() -> None:
    with pytest.raises(NotImplementedError, match="complex"):
        enc_hook(1j)
    with pytest.raises(NotImplementedError, match="complex"):
        dec_hook(complex, "1j")


def test_a_level_is_still_an_attrs_class() -> None:
    assert attrs.has(QuantizationLevel)
    assert attrs.fields(QuantizationLevel).name.name == "name"
    assert attrs.evolve(ACME, bits_per_param=3).bits_per_param == 3
    assert attrs.asdict(ACME, recurse=False)["aliases"] == ("i4a",)


# -- OneOf and the schema ----------------------------------------------------------------------------------------------


def test_one_of_is_a_value() -> None:
    assert OneOf(INT8, INT4) == OneOf(INT8, INT4) != OneOf(INT4)
    assert pickle.loads(pickle.dumps(OneOf(INT8))) == OneOf(INT8)
    assert hash(OneOf(INT8)) == hash(OneOf(INT8))


def test_the_schema_names_every_field_of_a_level() -> None:
    _, table = json_schema()["anyOf"]  # type: ignore[misc]  # plain values
    assert set(table["properties"]) == {field.name for field in attrs.fields(QuantizationLevel)}


# -- as_level and LevelType --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["int4", "INT4", INT4, "torch.int4"])
def test_as_level_takes_spellings_and_levels(value: str | QuantizationLevel) -> None:
    assert as_level(value) is INT4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("in4", "unknown level 'in4'; did you mean 'Int4'?"),
        ("fp4", "'fp4' can mean"),
        ("Q4_K_M", "'Q4_K_M' is not a level but a recipe of llama.cpp"),
        (4, "unknown level 4; did you mean 'Int4'?"),
        (None, "FP32 is written 'None'"),
    ],
)
def test_as_level_raises_value_errors_with_a_hint(value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        as_level(value)


def test_argparse_shows_the_hint() -> None:
    code = """
import argparse
from quantlevels.fields import as_level
parser = argparse.ArgumentParser(prog="serve")
parser.add_argument("--weights", type=as_level, default="bf16")
print(parser.parse_args([]).weights.name, parser.parse_args(["--weights", "q4-k"]).weights.name)
parser.parse_args(["--weights", "in4"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "BFloat16 Q4_K\n"
    assert done.returncode == 2
    assert done.stderr.endswith("error: argument --weights: unknown level 'in4'; did you mean 'Int4'?\n")


def test_as_level_is_a_converter_of_attrs() -> None:
    config = attrs.make_class("Config", {"weights": attrs.field(converter=as_level)})
    assert config("nf4").weights is levels["NF4"]


def serve(*arguments: str, **options: Any) -> Any:
    """The result of a click program with an option of a level."""
    click = pytest.importorskip("click")
    testing = pytest.importorskip("click.testing")

    @click.command()  # type: ignore[untyped-decorator,unused-ignore]
    @click.option("--weights", type=LevelType(), default="bf16")  # type: ignore[untyped-decorator,unused-ignore]
    @click.option("--cache", type=LevelType(INT8, FP32), default=INT8)  # type: ignore[untyped-decorator,unused-ignore]
    def command(weights: QuantizationLevel, cache: QuantizationLevel) -> None:
        click.echo(f"{weights.name} {cache.name}")

    return testing.CliRunner().invoke(command, arguments, prog_name="serve", **options)


def test_the_click_type_takes_any_spelling() -> None:
    assert serve().output == "BFloat16 Int8\n"
    assert serve("--weights", "Q4-K", "--cache", "fp32").output == "Q4_K None\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--weights", "in4"], "Invalid value for '--weights': unknown level 'in4'; did you mean 'Int4'?"),
        (["--cache", "int4"], "Invalid value for '--cache': expected 'Int8' or 'None', got 'Int4'"),
    ],
)
def test_the_click_type_says_what_is_wrong(arguments: list[str], text: str) -> None:
    result = serve(*arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_the_click_type_completes_names() -> None:
    completed = serve(env={"_SERVE_COMPLETE": "bash_complete", "COMP_WORDS": "serve --weights iq2", "COMP_CWORD": "2"})
    assert [line.split(",")[1] for line in completed.output.splitlines()] == ["IQ2_XXS", "IQ2_XS", "IQ2_S"]
    chosen = serve(env={"_SERVE_COMPLETE": "bash_complete", "COMP_WORDS": "serve --cache ", "COMP_CWORD": "2"})
    assert [line.split(",")[1] for line in chosen.output.splitlines()] == ["Int8", "None"]
    with pytest.raises(TypeError):
        LevelType("Int8")


def test_click_is_imported_for_its_type_alone() -> None:
    code = "import sys; from quantlevels.fields import as_level; print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
