"""`load`, `loads`, `save` and `levels_file`: strict types, every mistake at once, and nothing else ever raised."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum, IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, NewType, TypedDict, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import FP16, FP32, INT4, INT8, Block, ConfigError, QuantizationLevel, Registry, levels
from quantlevels.config import levels_file, load, loads, save
from quantlevels.config.documents import SUFFIXES, DocumentFormat

pytest.importorskip("yaml")
msgpack = pytest.importorskip("msgpack")
pytest.importorskip("tomli_w")

FORMATS: tuple[DocumentFormat, ...] = get_args(DocumentFormat)


class Mode(Enum):
    FAST = "fast"
    SAFE = "safe"


class Port(IntEnum):
    HTTP = 80


class Word(str, Enum):  # noqa: UP042  # as it was written before StrEnum
    FAST = "fast"


Count = NewType("Count", int)
Called = NamedTuple("Called", [("weights", QuantizationLevel), ("port", int | None)])  # noqa: UP014  # is one as well
Called.__new__.__defaults__ = (None,)


class Optionals(NamedTuple):
    port: int | None = None


@attrs.frozen
class Cache:
    level: QuantizationLevel = FP16
    gigabytes: float = 1.0


@attrs.frozen
class Engine:
    weights: QuantizationLevel
    port: int
    host: str = "localhost"
    mode: Mode = Mode.SAFE
    cache: Cache = Cache()
    layers: dict[str, QuantizationLevel] = attrs.Factory(dict)
    tags: list[str] = attrs.Factory(list)
    debug: bool = False
    activations: QuantizationLevel | None = None
    keep: set[QuantizationLevel] = attrs.Factory(set)
    shape: tuple[int, int] = (1, 1)
    names: dict[int, str] = attrs.Factory(dict)
    since: date | None = None
    at: datetime | None = None
    backend: Literal["cuda", "cpu"] = "cpu"
    ports: dict[Port, Port] = attrs.Factory(dict)
    modes: dict[Mode, Word] = attrs.Factory(dict)
    limits: dict[float, int] = attrs.Factory(dict)
    called: Called | None = None
    optionals: Optionals | None = None


ENGINE = Engine(
    weights=levels["Q4_K"],
    port=8080,
    host="no",
    mode=Mode.FAST,
    cache=Cache(FP32, 1e300),
    layers={"lm_head": INT4, "no": INT8},
    tags=["010", "1e3", "None", ""],
    keep={INT4},
    shape=(2, 3),
    names={1: "a", -2: "b"},
    since=date(2026, 1, 31),
    at=datetime(2026, 1, 31, 12, 30),  # a zone is not to be invented
    ports={Port.HTTP: Port.HTTP},
    modes={Mode.SAFE: Word.FAST},
    limits={0.5: 1},
    called=Called(INT8, 80),
    optionals=Optionals(),
)


# -- reading back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"serve{suffix}"
    save(path, ENGINE)
    assert load(path, Engine) == ENGINE
    assert load(str(path), Engine).weights is levels["Q4_K"]


@pytest.mark.parametrize("format", FORMATS)
def test_levels_in_every_place(tmp_path: Path, format: DocumentFormat, shapes: ModuleType) -> None:
    path = tmp_path / f"config.{format}"
    for type_, value in shapes.VALUES:
        if type_ in (shapes.Attrs, shapes.Data, shapes.Tree, shapes.DataTree) or format != "toml":
            save(path, value)
            if type_ not in (dict[str, shapes.Named], dict[QuantizationLevel, QuantizationLevel]):
                assert load(path, type_) == value


class Typed(TypedDict):
    weights: QuantizationLevel


class Named(NamedTuple):
    weights: QuantizationLevel
    port: int = 80


@dataclasses.dataclass
class Data:
    weights: QuantizationLevel
    inner: Named


def test_typed_dicts_named_tuples_and_dataclasses() -> None:
    assert loads("weights = 'int4'", "toml", Typed) == {"weights": INT4}
    assert loads("weights: int4", "yaml", Named) == Named(INT4, 80)
    assert loads('{"weights": "int4", "inner": {"weights": "None"}}', "json", Data) == Data(INT4, Named(FP32))
    for type_ in (Typed, Named):
        with pytest.raises(ConfigError, match=r"\$\.wieghts: unknown key; did you mean 'weights'\?"):
            loads('{"wieghts": "int4"}', "json", type_)


@dataclasses.dataclass
class Tree:
    weights: QuantizationLevel
    inner: list["Tree"] = dataclasses.field(default_factory=list)  # noqa: UP037  # text within what is text here


def test_a_class_within_itself(tmp_path: Path) -> None:
    tree = Tree(INT4, [Tree(INT8, [Tree(FP32)])])
    save(tmp_path / "tree.toml", tree)
    assert load(tmp_path / "tree.toml", Tree) == tree


def test_files_may_hold_lists_and_mappings() -> None:
    assert loads('["int4", "int8"]', "json", list[QuantizationLevel]) == [INT4, INT8]
    assert loads("int4: [None, ~]", "yaml", dict[QuantizationLevel, list[QuantizationLevel | None]]) == {
        INT4: [FP32, None]
    }


# -- strictness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (int, "7", 7),
        (float, "7", 7.0),
        (float, "7.5", 7.5),
        (bool, "true", True),
        (str, '"7"', "7"),
        (list[int], "[1]", [1]),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[int, str], '[1, "x"]', (1, "x")),
        (frozenset[int], "[1, 1]", frozenset({1})),
        (dict[str, int], '{"1": 1}', {"1": 1}),
        (dict[int, int], '{"1": 1}', {1: 1}),
        (Literal[1, "a"], '"a"', "a"),
        (Mode, '"fast"', Mode.FAST),
        (Port, "80", Port.HTTP),
        (Word, '"fast"', Word.FAST),
        (int | None, "null", None),
        (int | str, '"1"', "1"),
        (int | bool, "true", True),
        (int | Literal[True], "true", True),
        (dict[Port, Count], '{"80": 1}', {Port.HTTP: 1}),
        (dict[Literal[4, 8], int], '{"4": 1}', {4: 1}),
        (dict[float, int], '{"0.5": 1}', {0.5: 1}),
        (dict[int | str, int], '{"4": 1}', {"4": 1}),
        (datetime, '"2026-01-31T12:00"', datetime(2026, 1, 31, 12)),
        (list[int] | None, "[1]", [1]),
        (Mapping[str, float], '{"a": 1}', {"a": 1.0}),
        (Cache | int, "1", 1),
        (Cache | list[str] | None, '{"gigabytes": 2}', Cache(gigabytes=2.0)),
        (Cache | list[str] | None, '["a"]', ["a"]),
        (Cache | list[str] | None, "null", None),
    ],
)
def test_what_is_taken(type_: Any, text: str, value: object) -> None:
    result = loads(text, "json", type_)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (int, "7.9", "expected an integer, got 7.9"),
        (int, "7.0", "expected an integer, got 7.0"),
        (int, "true", "expected an integer, got true"),
        (int, '"12"', "expected an integer, got '12'"),
        (int, "null", "expected an integer, got null"),
        (float, "true", "expected a number, got true"),
        (float, '"1.5"', "expected a number, got '1.5'"),
        (bool, "1", "expected true or false, got 1"),
        (bool, '"true"', "expected true or false, got 'true'"),
        (str, "1", "expected text, got 1"),
        (str, "null", "expected text, got null"),
        (list[str], '"abc"', "expected a list, got 'abc'"),
        (list[str], '{"a": 1}', "expected a list, got a table"),
        (set[str], '"abc"', "expected a list, got 'abc'"),
        (tuple[str, ...], '"abc"', "expected a list, got 'abc'"),
        (tuple[int, int], "[1]", "Not enough values"),
        (dict[str, int], "[]", "expected a table, got a list"),
        (dict[int, int], '{"01": 1}', "expected an integer, got '01'"),
        (dict[int, int], '{"1.0": 1}', "expected an integer, got '1.0'"),
        (Literal[1, "a"], "true", "expected 1 or 'a', got true"),
        (Literal["cuda"], '"cdua"', "expected 'cuda', got 'cdua'; did you mean 'cuda'?"),
        (Port, "true", "expected 80, got true"),
        (Word, '"fats"', "expected 'fast', got 'fats'; did you mean 'fast'?"),
        (int | str, "1.5", "expected an integer or text, got 1.5"),
        (Cache, "[]", "expected a table, got a list"),
        (Cache | bool, "1", "expected a table or true or false, got 1"),
        (Cache, '"x"', "expected a table, got 'x'"),
        (QuantizationLevel, "null", "expected a level, got null; FP32 is written 'None'"),
        (QuantizationLevel | Literal["auto"], '"atuo"', "unknown level 'atuo'; did you mean 'auto'?"),
        (QuantizationLevel | Literal["auto"], "4", "expected a level or 'auto', got 4"),
        (QuantizationLevel | Mode, "null", "expected a level or 'fast' or 'safe', got null"),
        (QuantizationLevel | Cache | Engine | None, "[]", "expected a level or a table or null, got a list"),
        (QuantizationLevel | None, "4", "unknown level 4; did you mean 'Int4'?"),
        (int | str, "true", "expected an integer or text, got true"),
        (int | float, "true", "expected an integer or a number, got true"),
        (int | Literal["auto"], "true", "expected an integer or 'auto', got true"),
        (Count | str, "true", "expected an integer or text, got true"),
        (dict[Port, int], '{"79": 1}', "expected 80, got '79'"),
        (datetime, '"2026-01-31T25:00"', "expected a date and time, got '2026-01-31T25:00'"),
    ],
)
def test_what_is_refused(type_: Any, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f'{{"x": {text}}}', "json", dict[str, type_])
    (message,) = caught.value.messages
    assert message.startswith("<json>: $.x")
    assert expected in message
    assert message.endswith(" (line 1)")


def test_two_spellings_of_one_key_are_refused() -> None:
    with pytest.raises(ConfigError, match="mean the same"):
        loads("1: a\n'1': b", "yaml", dict[int, str])


def test_messages_of_validators_are_kept() -> None:
    @attrs.define
    class Config:
        port: int = attrs.field(validator=attrs.validators.lt(65_536))

    with pytest.raises(ConfigError, match="'port' must be < 65536: 70000"):
        loads("port = 70000", "toml", Config)


def test_only_the_message_of_a_validator_is_shown() -> None:
    @attrs.define
    class Config:
        bits: int = attrs.field(validator=attrs.validators.in_([4, 8]))

    with pytest.raises(ConfigError) as caught:
        loads("bits = 3", "toml", Config)
    assert caught.value.messages == ("<toml>: $: 'bits' must be in [4, 8] (got 3) (line 1)",)


# -- mistakes ----------------------------------------------------------------------------------------------------------

TEN_MISTAKES = """\
wieghts: int4                    # an unknown key
port: "8080"                     # text for an integer
host: 1                          # an integer for text
mode: fats                       # not a member
cache:
  level: in4                     # not a level
  gigabytes: big                 # text for a number
layers:
  lm_head: fp4                   # a spelling that means two things
  mine: {name: Mine, bits_per_param: 0}
tags: abc                        # text for a list
debug: yes                       # text, since YAML 1.2
shape: [1, 2, 3]
"""


def test_ten_mistakes_get_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text(TEN_MISTAKES, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load("serve.yaml", Engine)
    assert list(caught.value.messages) == [
        "serve.yaml: $.wieghts: unknown key; did you mean 'weights'? (line 1)",
        "serve.yaml: $.port: expected an integer, got '8080' (line 2)",
        "serve.yaml: $.host: expected text, got 1 (line 3)",
        "serve.yaml: $.mode: expected 'fast' or 'safe', got 'fats'; did you mean 'fast'? (line 4)",
        "serve.yaml: $.cache.level: unknown level 'in4'; did you mean 'Int4'? (line 6)",
        "serve.yaml: $.cache.gigabytes: expected a number, got 'big' (line 7)",
        "serve.yaml: $.layers.lm_head: 'fp4' can mean FP4_E2M1 ('Float4E2M1') or BNB_FP4; choose one (line 9)",
        "serve.yaml: $.layers.mine.bits_per_param: bits_per_param must be at least 1, not 0 (line 10)",
        "serve.yaml: $.tags: expected a list, got 'abc' (line 11)",
        "serve.yaml: $.debug: expected true or false, got 'yes' (line 12)",
        "serve.yaml: $.shape: Too many values in [1, 2, 3] to structure as tuple[int, int] (line 13)",
    ]


def test_a_mistake_in_toml_has_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("weights = 'in4'\nport = 1", "toml", Engine)
    assert caught.value.messages == ("<toml>: $.weights: unknown level 'in4'; did you mean 'Int4'? (line 1)",)


def test_a_missing_key_stands_at_its_table() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("port: 1", "yaml", Engine)
    assert caught.value.messages == ("<yaml>: $.weights: missing, expected a level (line 1)",)


def test_keys_given_twice_are_reported_with_the_rest() -> None:
    with pytest.raises(ConfigError) as caught:
        loads('{"weights": "int4",\n"weights": "int8",\n"port": "x"}', "json", Engine)
    assert caught.value.messages == (
        "<json>: $.weights: given twice (line 2)",
        "<json>: $.port: expected an integer, got 'x' (line 3)",
    )


def test_keys_that_are_not_identifiers_are_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        loads('{"a b\\u001b[31m": ["in4"]}', "json", dict[str, list[QuantizationLevel]])
    assert caught.value.messages == (
        "<json>: $['a b\\x1b[31m'][0]: unknown level 'in4'; did you mean 'Int4'? (line 1)",
    )


def test_messages_survive_pickling() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(TEN_MISTAKES, "yaml", Engine)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.messages == caught.value.messages
    assert str(again) == "\n".join(caught.value.messages)


# -- files -------------------------------------------------------------------------------------------------------------


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the suffix must be one of \.json"):
        load(tmp_path / "serve.ini", Engine)


@pytest.mark.parametrize(("format", "module", "extra"), [("yaml", "yaml", "yaml"), ("msgpack", "msgpack", "msgpack")])
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, format: DocumentFormat, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        loads(b"", format, Engine)
    assert caught.value.messages == (f"<{format}>: {module} is missing: pip install 'quantlevels[{extra}]'",)


def test_the_missing_writer_of_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(ConfigError, match=r"tomli_w is missing: pip install 'quantlevels\[toml\]'"):
        save(tmp_path / "serve.toml", ENGINE)


def test_a_refused_save_leaves_the_file_unchanged(tmp_path: Path) -> None:
    @attrs.define
    class Config:
        levels: dict[QuantizationLevel, int]

    path = tmp_path / "serve.json"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(ConfigError, match="'W3' is not registered"):
        save(path, Config({QuantizationLevel(name="W3", bits_per_param=3): 1}))
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        save(path, {"a": float("nan")})
    assert path.read_text(encoding="utf-8") == "before"


def test_saving_a_name_in_place_of_a_level_says_so(tmp_path: Path) -> None:
    cache = Cache("q4_k")  # type: ignore[arg-type]  # attrs checks no types
    with pytest.raises(TypeError, match=r"'q4_k' is not a QuantizationLevel.*levels\['q4_k'\]"):
        save(tmp_path / "serve.json", cache)


def test_unwritable_values_are_reported_with_their_place(tmp_path: Path) -> None:
    @attrs.define
    class Config:
        many: list[dict[str, float | None]]

    with pytest.raises(
        ConfigError, match=r"serve\.toml: cannot be written as TOML: \$\.many\[1\]\['a b'\]: .*NoneType"
    ):
        save(tmp_path / "serve.toml", Config([{"x": 1.0}, {"a b": None}]))
    with pytest.raises(ConfigError, match=r"as JSON: \$\.many\[0\]\.x: "):
        save(tmp_path / "serve.json", Config([{"x": float("inf")}]))
    with pytest.raises(ConfigError, match=r"as TOML: \$: a document is a table"):
        save(tmp_path / "serve.toml", [INT4])


def test_messagepack_times_are_text_or_cattrs_numbers() -> None:
    def read(value: object, type_: Any) -> object:
        return loads(msgpack.packb({"x": value}), "msgpack", dict[str, type_])["x"]

    midnight = 1_769_817_600
    assert read(midnight, datetime) == read(float(midnight), datetime) == datetime(2026, 1, 31, tzinfo=UTC)
    assert read("2026-01-31", date) == read(float(midnight), date) == date(2026, 1, 31)
    for value, type_ in [(True, datetime), (True, date), (midnight + 1, date), (1e300, datetime), (float("nan"), date)]:
        with pytest.raises(ConfigError, match="expected a date"):
            read(value, type_)


def test_toml_dates_and_times_stay_apart() -> None:
    with pytest.raises(ConfigError, match="expected a date, got 2026-01-31 12:00:00"):
        loads("x = 2026-01-31T12:00:00", "toml", dict[str, date])
    with pytest.raises(ConfigError, match="expected a date and time, got 2026-01-31"):
        loads("x = 2026-01-31", "toml", dict[str, datetime])


def test_toml_omits_none_if_it_is_the_default(tmp_path: Path) -> None:
    @attrs.define
    class Config:
        required: int | None
        optional: int | None = None

    path = tmp_path / "serve.toml"
    save(path, Config(1))
    assert path.read_text(encoding="utf-8") == "required = 1\n"
    with pytest.raises(ConfigError, match="cannot be written as TOML"):
        save(path, Config(None))


def test_an_unreadable_class_is_not_a_config_error() -> None:
    class Strange: ...

    with pytest.raises(Exception, match="Strange") as caught:
        loads("{}", "json", Strange)
    assert not isinstance(caught.value, ConfigError)


def refused(text: str | bytes, format: DocumentFormat, type_: Any) -> tuple[str, ...]:
    """The messages of the ConfigError; none where there is none."""
    try:
        loads(text, format, type_)
    except ConfigError as error:
        return error.messages
    return ()


json_texts = st.recursive(
    st.sampled_from(['"int4"', "null", "1", "true", "NaN", "1e999", '"x"', "[", "}", "-0", "9" * 30]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(
            st.sampled_from(["weights", "port", "cache", "layers", "level", "name", "bits_per_param"]), inner
        ).map(lambda table: "{" + ", ".join(f'"{key}": {value}' for key, value in table.items()) + "}")
    ),
    max_leaves=10,
)


@given(
    text=st.text() | st.binary() | json_texts | st.text(" \n\t-:?[]{},&*!|>'\"%@`#~<=.abc012", max_size=40),
    format=st.sampled_from(FORMATS),
    type_=st.sampled_from([Engine, dict[str, Engine], list[QuantizationLevel], dict[QuantizationLevel, Cache]]),
)
def test_no_text_raises_anything_but_config_error(text: str | bytes, format: DocumentFormat, type_: Any) -> None:
    messages = refused(text, format, type_)
    assert all(message.startswith(f"<{format}>: ") and "\n" not in message for message in messages)


@attrs.define
class Nested:
    inner: Nested | None = None


@pytest.mark.parametrize("depth", [10, 100, 400, 3_000, 100_000])
@pytest.mark.parametrize(("format", "start", "end"), [("json", '{"inner":', "}"), ("yaml", "{inner: ", "}")])
def test_nesting_ends_in_a_message(format: DocumentFormat, start: str, end: str, depth: int) -> None:
    text = start * depth + "null" + end * depth
    messages = refused(text, format, Nested)
    assert bool(messages) is (depth > 100)
    assert all("nested too deeply" in message for message in messages)


# -- levels of a file --------------------------------------------------------------------------------------------------

LEVELS = """\
[levels.Int4Acme]
bits_per_param = 4
label = "acme4"
block = {weights = 32, bits = 144}

[levels.Int3Acme]
bits_per_param = 3
"""


def test_levels_of_a_file_are_registered(tmp_path: Path) -> None:
    path = tmp_path / "levels.toml"
    path.write_text(LEVELS, encoding="utf-8")
    registry = Registry()
    acme4, acme3 = levels_file(path, registry=registry)
    assert registry["ACME4"] is acme4
    assert acme4 == QuantizationLevel(name="Int4Acme", bits_per_param=4, label="acme4", block=Block(32, 144))
    assert registry["int3acme"] is acme3
    assert levels_file(path, registry=registry) == (acme4, acme3), "again is fine"
    assert levels_file(path, registry=registry)[0] is acme4


def test_a_levels_file_is_registered_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("levels.yaml").write_text(
        """\
levels:
  Good: {bits_per_param: 4}
  Int4: {bits_per_param: 3}
  4bit: {bits_per_param: 4}
  Bad: {bits_per_param: "4", lable: x}
  Empty: {}
  Word: 4
  Named: {name: Other, bits_per_param: 4}
  Twin: {bits_per_param: 5, aliases: [good]}
level: {}
""",
        encoding="utf-8",
    )
    registry = Registry()
    with pytest.raises(ConfigError) as caught:
        levels_file("levels.yaml", registry=registry)
    assert list(caught.value.messages) == [
        "levels.yaml: $.levels.Int4: 'Int4' is a spelling of the protected level 'Int4'; choose another (line 3)",
        (
            "levels.yaml: $.levels['4bit'].name: name must be ASCII letters, digits and underscores, no digit first, "
            "not '4bit' (line 4)"
        ),
        "levels.yaml: $.levels.Bad.bits_per_param: bits_per_param must be an integer, not '4' (line 5)",
        "levels.yaml: $.levels.Bad.lable: unknown key; did you mean 'label'? (line 5)",
        "levels.yaml: $.levels.Empty.bits_per_param: missing, expected an integer (line 6)",
        "levels.yaml: $.levels.Word: expected a table of the fields of a level, got 4 (line 7)",
        "levels.yaml: $.levels.Named: the key of the table already gives the name 'Named' (line 8)",
        "levels.yaml: $.levels.Twin: 'good' already names a different registered level, 'Good' (line 9)",
        "levels.yaml: $.level: unknown key; did you mean 'levels'? (line 10)",
    ]
    assert "Good" not in registry


def test_a_file_without_levels(tmp_path: Path) -> None:
    path = tmp_path / "levels.toml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\$\.levels: missing, expected a table \(line 1\)"):
        levels_file(path)


def test_levels_of_a_file_cannot_change_registered_ones(tmp_path: Path) -> None:
    path = tmp_path / "levels.toml"
    path.write_text(LEVELS, encoding="utf-8")
    registry = Registry()
    registry.register(QuantizationLevel(name="Int3Acme", bits_per_param=4))
    with pytest.raises(ConfigError, match=r"\$\.levels\.Int3Acme: 'Int3Acme' already names a different"):
        levels_file(path, registry=registry)
    assert "Int4Acme" not in registry


def test_a_format_that_is_not_known_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown document format 'ini'; known are json, toml, yaml, msgpack"):
        loads("x", "ini", dict)  # type: ignore[arg-type]


def test_many_levels_are_registered_in_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        path = tmp_path / "levels.json"
        path.write_text(json.dumps({"levels": {f"Acme{number}": {"bits_per_param": 4} for number in range(count)}}))
        registry = Registry()
        start = time.process_time()
        assert len(levels_file(path, registry=registry)) == count
        return time.process_time() - start

    few = min(seconds(500) for _ in range(3))
    assert seconds(4000) < 24 * few  # eight times as many; quadratic would be 64 times


def test_a_mistake_that_is_repeated_is_looked_up_once() -> None:
    @attrs.frozen
    class Many:
        items: tuple[QuantizationLevel, ...]

    text = json.dumps({"items": ["in4"] * 20_000})
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        loads(text, "json", Many)
    assert time.process_time() - start < 10  # half a minute if each is compared with every level
    assert len(caught.value.messages) == 20_000
    assert caught.value.messages[-1].endswith("unknown level 'in4'; did you mean 'Int4'? (line 1)")
