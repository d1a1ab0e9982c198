"""cattrs converters that know levels: round trips in every place and format, and refusals in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, Literal, TypedDict, get_args

import attrs
import pytest
from cattrs import BaseConverter, BaseValidationError, Converter, StructureHandlerNotFoundError, transform_error
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import (
    BF16,
    FP16,
    FP32,
    INT4,
    INT8,
    Block,
    ConfigError,
    DuplicateLevelError,
    QuantizationLevel,
    QuantLevelsError,
    Registry,
    ReservedLevelError,
    UnknownLevelError,
    UntranslatableLevelError,
    levels,
)
from quantlevels.converters import configure_converter, format_exception
from quantlevels.fields import OneOf
from quantlevels.vocabulary.level import Kind

#: bson comes with pymongo
PRECONF = ("json", "orjson", "ujson", "msgspec", "pyyaml", "tomlkit", "tomllib", "cbor2", "msgpack", "bson")

ACME = QuantizationLevel(name="Int4Acme", bits_per_param=4, label="acme4", block=Block(32, 144), aliases=("i4a",))


def preconf(name: str) -> Any:  # Any: each has its own class
    module = pytest.importorskip(f"cattrs.preconf.{name}")
    # TOML has no null, so fields that are None by default are left out
    converter = module.make_converter(**({"omit_if_default": True} if name.startswith("toml") else {}))
    configure_converter(converter)
    return converter


def plain(**registry: Any) -> Converter:  # Any: the arguments of configure_converter
    converter = Converter()
    configure_converter(converter, **registry)
    return converter


def levels_in(value: object) -> Iterator[QuantizationLevel]:
    if isinstance(value, QuantizationLevel):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from levels_in(key)
            yield from levels_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from levels_in(item)
    elif hasattr(value, "__annotations__"):
        for name in type(value).__annotations__:
            yield from levels_in(getattr(value, name))


def messages(error: BaseException) -> list[str]:
    return transform_error(error, format_exception=format_exception)


# -- round trips -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRECONF)
def test_round_trip_in_every_place(name: str, shapes: ModuleType) -> None:
    converter = preconf(name)
    for type_, value in shapes.VALUES:
        text = converter.dumps(value, type_)
        back = converter.loads(text, type_)
        assert back == value
        for level in levels_in(back):
            assert level == shapes.CUSTOM or level == shapes.THREE or level is levels[level.name]


@pytest.mark.parametrize("name", PRECONF)
def test_untyped_fields_write_a_level_by_name(name: str) -> None:
    converter = preconf(name)
    written = converter.dumps({"keys": {INT4: 1}, "value": FP32})
    back = converter.loads(written, dict[str, Any])
    assert back == {"keys": {"Int4": 1}, "value": "None"}


known = st.sampled_from(list(levels))
custom = st.builds(
    QuantizationLevel,
    name=st.from_regex(r"Custom_[A-Za-z0-9_]{1,8}", fullmatch=True),
    bits_per_param=st.integers(1, 64),
    block=st.builds(Block, st.integers(1, 512), st.integers(64 * 512, 100_000), st.integers(0, 64)),
    aliases=st.lists(st.from_regex(r"also_[a-z0-9]{1,8}", fullmatch=True), max_size=2).map(tuple),
    spellings=st.dictionaries(
        st.just("acme"), st.lists(st.from_regex(r"acme_[a-z]{1,8}", fullmatch=True) | st.integers(100, 200), min_size=1)
    ).map(lambda words: {dialect: tuple(word) for dialect, word in words.items()}),
    kind=st.sampled_from(["int", "float", "custom"]),
    summary=st.text("abc ", max_size=10),
)
#: (type, a strategy of values of it): containers of containers of levels
typed: st.SearchStrategy[tuple[Any, Any]] = st.recursive(
    st.just((QuantizationLevel, known | custom)),
    lambda inner: inner.flatmap(
        lambda pair: st.sampled_from(
            [
                (list[pair[0]], st.lists(pair[1], max_size=3)),
                (tuple[pair[0], ...], st.lists(pair[1], max_size=3).map(tuple)),
                (dict[str, pair[0]], st.dictionaries(st.text("abc", min_size=1), pair[1], max_size=3)),
                (dict[QuantizationLevel, pair[0]], st.dictionaries(known, pair[1], max_size=3)),
                (pair[0] | None, st.none() | pair[1]),
            ]
        )
    ),
    max_leaves=3,
)


@given(case=typed.flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])), name=st.sampled_from(PRECONF))
def test_structure_undoes_unstructure(case: tuple[Any, Any], name: str) -> None:
    type_, value = case
    converter = CONVERTERS.setdefault(name, preconf(name))
    back = converter.structure(converter.unstructure(value, type_), type_)
    assert back == value
    assert type(back) is type(value)


CONVERTERS: dict[str, Any] = {}


def test_sets_of_levels_round_trip() -> None:
    converter = plain()
    assert converter.structure(["Int4", "int4", "INT8"], set[QuantizationLevel]) == {INT4, INT8}


def test_a_copy_of_a_converter_knows_levels() -> None:
    assert plain().copy().structure({"int4": "int8"}, dict[QuantizationLevel, QuantizationLevel]) == {INT4: INT8}


def test_a_base_converter_reads_levels() -> None:
    converter = BaseConverter()
    configure_converter(converter)
    assert converter.structure(["q4_k"], list[QuantizationLevel]) == [levels["Q4_K"]]
    assert converter.unstructure(FP32) == "None"


def test_another_registry_can_be_used() -> None:
    registry = Registry()
    registry.register(ACME)
    converter = plain(registry=registry)
    assert converter.structure("i4a", QuantizationLevel) is ACME
    assert converter.unstructure(ACME) == "Int4Acme"
    with pytest.raises(UnknownLevelError):
        plain().structure("i4a", QuantizationLevel)


# -- spellings ---------------------------------------------------------------------------------------------------------


@given(st.text() | st.sampled_from(["int4", "FP-16", "fp4", "torch.half", "q4_K", "float8_e4m3", "Nf4", "1", "null"]))
def test_any_accepts_what_the_registry_accepts(text: str) -> None:
    try:
        want = levels[text]
    except LookupError as error:
        with pytest.raises(type(error)):
            plain().structure(text, QuantizationLevel)
    else:
        assert plain().structure(text, QuantizationLevel) is want


@pytest.mark.parametrize("value", [None, True, False, 0, 4, 4.0, b"Int4", [], ["Int4"], object(), int])
def test_what_is_neither_word_nor_table_is_refused(value: object) -> None:
    with pytest.raises(QuantLevelsError):
        plain().structure(value, QuantizationLevel)


def test_a_number_suggests_the_level_of_that_width() -> None:
    with pytest.raises(UnknownLevelError, match="unknown level 4; did you mean 'Int4'"):
        plain().structure(4, QuantizationLevel)


def test_null_is_not_fp32() -> None:
    assert plain().structure(None, QuantizationLevel | None) is None  # type: ignore[arg-type]  # no TypeForm yet
    with pytest.raises(ConfigError, match="FP32 is written 'None'"):
        plain().structure(None, QuantizationLevel)


def test_two_spellings_of_one_key_are_refused() -> None:
    with pytest.raises(ConfigError, match="'Int4', 'int4' mean the same"):
        plain().structure({"Int4": 1, "int4": 2}, dict[QuantizationLevel, int])


# -- tables ------------------------------------------------------------------------------------------------------------


def test_a_table_defines_a_level() -> None:
    table = {"name": "Int4Acme", "bits_per_param": 4, "label": "acme4", "block": {"weights": 32, "bits": 144}}
    assert plain().structure({**table, "aliases": ["i4a"]}, QuantizationLevel) == ACME


def test_tables_equal_to_a_level_become_it() -> None:
    registry = Registry()
    registry.register(ACME)
    table = plain().unstructure(ACME)
    assert plain(registry=registry).structure(table, QuantizationLevel) is ACME


@pytest.mark.parametrize(
    "table",
    [
        {"name": "Int4", "bits_per_param": 3},
        {"name": "q4_k", "bits_per_param": 4},
        {"name": "Mine", "bits_per_param": 4, "aliases": ["int4"]},
        {"name": "Mine", "bits_per_param": 4, "label": "NF4"},
        {"name": "Mine", "bits_per_param": 4, "spellings": {"torch": ["bfloat16"]}},
        {"name": "Mine", "bits_per_param": 4, "spellings": {"ggml": [12]}},
    ],
)
def test_tables_cannot_use_words_of_known_levels(table: dict[str, object]) -> None:
    with pytest.raises(ReservedLevelError):
        plain().structure(table, QuantizationLevel)


def test_tables_cannot_use_words_of_registered_levels() -> None:
    registry = Registry()
    registry.register(ACME)
    with pytest.raises(DuplicateLevelError):
        plain(registry=registry).structure({"name": "Mine", "bits_per_param": 4, "aliases": ["I4A"]}, QuantizationLevel)


def test_every_mistake_in_a_table_has_its_place() -> None:
    @attrs.define
    class Config:
        weights: QuantizationLevel

    table = {
        "name": "4bit",
        "bits_per_param": True,
        "block": {"weights": 0, "bit": 4},
        "aliases": "one",
        "spellings": {"torch": "x"},
        "kind": "quantum",
        "sumary": "",
    }
    with pytest.raises(BaseValidationError) as caught:
        plain().structure({"weights": table}, Config)
    assert messages(caught.value) == [
        "name must be ASCII letters, digits and underscores, no digit first, not '4bit' @ $.weights.name",
        "bits_per_param must be an integer, not True @ $.weights.bits_per_param",
        "weights must be at least 1, not 0 @ $.weights.block.weights",
        "required field missing @ $.weights.block.bits",
        "unknown key 'bit'; did you mean 'bits'? @ $.weights.block",
        "aliases must be a list of strings, not 'one' @ $.weights.aliases",
        "spellings in 'torch' must be a list of at least one string or number, not 'x' @ $.weights.spellings",
        f"kind must be one of {', '.join(sorted(get_args(Kind)))}, not 'quantum' @ $.weights.kind",
        "unknown key 'sumary'; did you mean 'summary'? @ $.weights",
    ]


def test_without_detailed_validation_the_first_mistake_is_raised() -> None:
    converter = Converter(detailed_validation=False)
    configure_converter(converter)
    with pytest.raises(ConfigError, match="bits_per_param must be an integer, not '4'"):
        converter.structure({"name": "X", "bits_per_param": "4"}, QuantizationLevel)


def test_other_errors_keep_the_text_of_cattrs() -> None:
    with pytest.raises(BaseValidationError) as caught:
        plain().structure({"x": "y"}, dict[str, int])
    assert messages(caught.value) == ["invalid value for type, expected int @ $['x']"]


# -- what cannot be written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRECONF)
def test_an_unregistered_level_cannot_be_a_key(name: str) -> None:
    converter = preconf(name)
    with pytest.raises(ConfigError, match="'Int4Acme' is not registered"):
        converter.dumps({ACME: 1}, dict[QuantizationLevel, int])


def test_levels_with_taken_names_are_not_written() -> None:
    with pytest.raises(ReservedLevelError):
        plain().unstructure(attrs.evolve(INT4, bits_per_param=3))


# -- unions and choices ------------------------------------------------------------------------------------------------


def test_a_union_with_str_is_refused() -> None:
    with pytest.raises(StructureHandlerNotFoundError, match="a value in a file can fit several members"):
        plain().structure("int4", QuantizationLevel | str)  # type: ignore[arg-type]  # no TypeForm yet


def test_unions_with_a_level_s_name_are_refused() -> None:
    with pytest.raises(StructureHandlerNotFoundError, match="a value in a file can fit several members"):
        plain().structure("int4", QuantizationLevel | Literal["Int4"])  # type: ignore[arg-type]  # no TypeForm yet


def test_a_union_does_not_convert() -> None:
    union: Any = QuantizationLevel | int
    assert plain().structure(4, union) == 4
    for value in (True, 4.5, None, []):
        with pytest.raises(QuantLevelsError):
            plain().structure(value, union)
    with pytest.raises(UnknownLevelError):
        plain().structure("4", union)


CHOICE = Annotated[QuantizationLevel, OneOf(INT8, INT4)]


def test_one_of() -> None:
    @attrs.define
    class Config:
        weights: CHOICE
        many: list[CHOICE]
        perhaps: Annotated[QuantizationLevel | None, OneOf(INT8)]

    config = plain().structure({"weights": "int4", "many": ["i8"], "perhaps": None}, Config)
    assert config == Config(INT4, [INT8], None)
    assert plain().unstructure(config) == {"weights": "Int4", "many": ["Int8"], "perhaps": None}
    with pytest.raises(BaseValidationError) as caught:
        plain().structure({"weights": "fp16", "many": ["q4_k"], "perhaps": "int4"}, Config)
    assert messages(caught.value) == [
        "expected 'Int8' or 'Int4', got 'Float16' @ $.weights",
        "expected 'Int8' or 'Int4', got 'Q4_K' @ $.many[0]",
        "expected 'Int8', got 'Int4' @ $.perhaps",
    ]


@pytest.mark.parametrize("choices", [(), ("Int4",), (INT4, 4)])
def test_one_of_needs_levels(choices: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        OneOf(*choices)


# -- as the enum of the original five ----------------------------------------------------------------------------------


@pytest.fixture
def canonical() -> Any:  # Any: the class of the json converter, which mypy would want a stub for
    converter = import_module("cattrs.preconf.json").make_converter()
    configure_converter(converter, names="canonical")
    return converter


@pytest.mark.parametrize("level", [FP32, FP16, BF16, INT8, INT4])
def test_canonical_takes_names_and_unit_variants(canonical: Any, level: QuantizationLevel) -> None:
    assert canonical.dumps(level) == f'"{level.name}"'
    for text in (f'"{level.name}"', f'{{"{level.name}":null}}', f' "\\u{ord(level.name[0]):04x}{level.name[1:]}"\n'):
        assert canonical.loads(text, QuantizationLevel) is level
    assert canonical.loads(f'{{"{level.name}": 1}}', dict[QuantizationLevel, int]) == {level: 1}


@pytest.mark.parametrize(
    "value",
    [
        *("int4", "INT4", "FP32", "none", " Int4", "Int4 ", "Int4\n", "Int4\x00", "", "Int2", "Q4_K", "torch.float16"),
        *("null", "Self::None", "I\u0301nt4", "Int\uff14", "\ufeffInt4"),
        *(None, True, 0, 4, 32, 4.0, [], ["Int4"], {}),
        *({"Int4": {}}, {"Int4": []}, {"Int4": 0}, {"Int4": True}, {"int4": None}, {"Int4": None, "Int8": None}),
        {"name": "Mine", "bits_per_param": 4},
    ],
)
def test_canonical_takes_nothing_else(canonical: Any, value: object) -> None:
    with pytest.raises(QuantLevelsError):
        canonical.loads(json.dumps(value), QuantizationLevel)


def test_canonical_sees_a_name_given_twice(canonical: Any) -> None:
    with pytest.raises(QuantLevelsError):
        canonical.loads('{"Int4":null,"Int4":null}', QuantizationLevel)
    assert canonical.loads('{"x":"Int4","x":"Int8"}', dict[str, QuantizationLevel]) == {"x": INT8}  # as a map does


def test_canonical_keeps_null_apart(canonical: Any) -> None:
    optional: Any = QuantizationLevel | None
    assert canonical.loads("null", optional) is None
    assert canonical.loads('"None"', optional) is FP32


def test_canonical_writes_the_five_only(canonical: Any) -> None:
    for level in (levels["Q4_K"], ACME, attrs.evolve(INT4, bits_per_param=3)):
        with pytest.raises(UntranslatableLevelError):
            canonical.dumps(level)


# -- tomlkit's own values ----------------------------------------------------------------------------------------------


def test_items_of_tomlkit_are_read_as_plain_values() -> None:
    class Config(TypedDict):
        weights: QuantizationLevel | int
        acme: QuantizationLevel

    text = "weights = 3\n[acme]\nname = 'Int4Acme'\nbits_per_param = 4\n"
    config = preconf("tomlkit").loads(text, Config)
    assert config == {"weights": 3, "acme": QuantizationLevel(name="Int4Acme", bits_per_param=4)}
    assert type(config) is dict
