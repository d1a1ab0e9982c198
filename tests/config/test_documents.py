"""Documents: what is read, on which line it stands, and what is refused because readers differ on it."""

from __future__ import annotations

from time import perf_counter
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantlevels import ConfigError
from quantlevels.config.documents import DocumentFormat, dump, parse

yaml = pytest.importorskip("yaml")
pytest.importorskip("msgpack")
pytest.importorskip("tomli_w")

TOML = '''\
x = 1
y.z = "q"

[a.b]
k = [
  1,
  2,
]
m = """
s = 1
[r]
"""
[[p]]
n = 1
[[p]]
n = 2
[p.q]
deep = {a = 1, b = 2}
[[p.r]]
v = 1
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 1),
        (("x",), 1),
        (("y", "z"), 2),
        (("a",), 4),
        (("a", "b", "k"), 5),
        (("a", "b", "k", 1), 5),
        (("a", "b", "m"), 9),
        (("p",), 13),
        (("p", 0, "n"), 14),
        (("p", 1), 15),
        (("p", 1, "n"), 16),
        (("p", 1, "q"), 17),
        (("p", 1, "q", "deep", "b"), 18),
        (("p", 1, "r", 0, "v"), 20),
        (("nowhere", "at", "all"), 1),
    ],
)
def test_lines_of_toml(keys: tuple[object, ...], line: int) -> None:
    assert parse(TOML, "toml").line(keys) == line
    assert parse(TOML.replace("\n", "\r\n"), "toml").line(keys) == line


@pytest.mark.parametrize(
    "value",
    [
        r'''"""]" # [
\""" ["""""''',
        r"""'''" [
{'''''""",
        r'"]\"[" # ["',
        r"'[\' # '",
        """[ # ] "
  {a = ['['], "b}" = "]" }, # {
]""",
    ],
)
def test_toml_values_end_with_their_text_and_brackets(value: str) -> None:
    document = parse(f"x = {value}\ny = 1\n[z.'[']\nx = {value}\ny = 1", "toml")
    lines = value.count("\n") + 1
    assert [document.line(keys) for keys in [("x",), ("y",), ("z", "[", "y")]] == [1, lines + 1, 2 * lines + 3]


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ('{"a": 1,\n "b": [1,\n  {"c": null}],\n "d":\n  2}', "json"),
        ("a: 1\nb: [1,\n  {c: ~}]\nd:\n 2\n", "yaml"),
    ],
)
def test_lines_of_json_and_yaml(text: str, format: DocumentFormat) -> None:
    document = parse(text, format)
    assert document.data == {"a": 1, "b": [1, {"c": None}], "d": 2}
    places = {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 2,
        ("b", 1): 3,
        ("b", 1, "c"): 3,
        ("d",): 5,
        ("b", 1, "nowhere"): 3,
    }
    assert {keys: document.line(keys) for keys in places} == places


@pytest.mark.parametrize("format", ["json", "toml", "msgpack"])  # YAML's lines are found as JSON's are
def test_large_documents_are_read_in_linear_time(format: DocumentFormat) -> None:
    lists = {f"k{number}": [[number]] * 900 for number in range(20)}
    content = dump({"lists": lists, "keys": dict.fromkeys(map(str, range(40_000)), 1)}, format)
    start = perf_counter()
    document = parse(content, format)
    lines = [document.line(("keys", key)) for key in document.data["keys"]]
    assert lines == sorted(lines, key=lambda line: line or 0)
    assert perf_counter() - start < 30  # one or two, and minutes were any of it quadratic


def test_msgpack_has_no_lines() -> None:
    assert parse(dump({"a": 1}, "msgpack"), "msgpack").line(("a",)) is None


@pytest.mark.parametrize(
    ("text", "format"),
    [('{"a": 1, "b": {"c": 1,\n"c": 2},\n"a": 2}', "json"), ("{a: 1, b: {c: 1,\nc: 2},\na: 2}", "yaml")],
)
def test_keys_given_twice_are_faults_with_their_place(text: str, format: DocumentFormat) -> None:
    document = parse(text, format)
    assert {keys: document.line(keys) for keys, _ in document.faults} == {("a",): 3, ("b", "c"): 2}


@pytest.mark.parametrize(
    ("content", "format", "reason"),
    [
        ("", "json", "Expecting value"),
        ('{"a": NaN}', "json", "NaN is not a JSON value: line 1 column 7"),
        ("[-Infinity]", "json", "-Infinity is not a JSON value"),
        ("[1e999]", "json", "too large"),
        ("[" + "9" * 5000 + "]", "json", "limit"),
        ("[" * 100_000, "json", "nested too deeply"),
        ('{"a":' * 100_000, "json", "nested too deeply"),
        (b'"\xff"', "json", "not UTF-8 text, from byte 1 on"),
        ('"\ufeff"\ufeff', "json", "Extra data"),
        ("a = 1\nb = \n", "toml", "line 2"),
        ("a = 1e999", "toml", "too large"),
        ("a = 1\na = 2", "toml", "overwrite"),
        ("a = " + "[" * 100_000, "toml", "nested too deeply"),
        ("a" + ".a" * 100_000 + " = 1", "toml", "nested too deeply"),
        ("[a" + ' . "\\"" . a' * 50_000 + "]", "toml", "nested too deeply"),
        ("a: b: c", "yaml", "line 1: mapping values are not allowed here"),
        ("a: 1\n---\nb: 1", "yaml", "line 2"),
        ("\x00", "yaml", "special characters"),
        ("\t-", "yaml", "line 1"),
        ("[" * 100_000, "yaml", "nested too deeply"),
        ("a: 1e999", "yaml", "line 1: a number too large"),
        ("x: 1\ny: !!python/object/apply:os.system [id]", "yaml", "line 2: the tag"),
        ("x: !mine y", "yaml", "the tag '!mine' is not read"),
        ("x: !!int 0o7", "yaml", "'0o7' is not a valid int"),
        ("x: !!map y", "yaml", "the tag"),
        ("? [a]\n: b", "yaml", "a key that is a list or a table"),
        ("a: &x [*x]", "yaml", "an alias of a value inside that value"),
        ("a: *x", "yaml", "line 1"),
        ("a: {<<: 1}", "yaml", "only tables can be merged"),
        (b"", "msgpack", "incomplete"),
        (b"\xdd\xff\xff\xff\xff", "msgpack", "exceeds"),
        (b"\x82\xa1a\x01\xa1a\x02", "msgpack", "'a' is given twice"),
        (b"\x81\x90\x01", "msgpack", "a key that is a list or a table"),
        (b"\xa1\xff", "msgpack", ""),
        (b"\x01\x01", "msgpack", "extra data"),
    ],
)
def test_what_is_refused(content: str | bytes, format: DocumentFormat, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"^not valid (JSON|TOML|YAML|MessagePack): ") as caught:
        parse(content, format)
    assert reason.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_aliases_that_explode_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    with pytest.raises(ConfigError, match="values with its aliases written out"):
        parse(bomb, "yaml")


def test_merges_that_explode_are_refused_at_once() -> None:
    table = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1_100)) + "}\n"
    many_times = "b: {<<: [" + ", ".join(["*a"] * 1_100) + "]}\n"
    in_many_places = "".join(f"b{n}: {{<<: *a}}\n" for n in range(1_100))
    for bomb in (table + many_times, table + in_many_places):
        start = perf_counter()
        with pytest.raises(ConfigError, match="more than 1,000,000 values"):
            parse(bomb, "yaml")
        assert perf_counter() - start < 30  # seconds; a bomb of this kind can be made to take hours


def test_ordinary_aliases_and_merges_are_read() -> None:
    document = parse("base: &b {x: 1, y: None}\nall:\n- *b\n- {<<: *b, y: 2}\n- {<<: [{y: 3}, *b]}\n", "yaml")
    assert document.data["all"] == [{"x": 1, "y": "None"}, {"x": 1, "y": 2}, {"x": 1, "y": 3}]
    assert not document.faults


@pytest.mark.parametrize("format", ["json", "toml", "yaml"])
def test_a_byte_order_mark_is_ignored(format: DocumentFormat) -> None:
    text = dump({"a": "b"}, format)
    assert parse(b"\xef\xbb\xbf" + text, format).data == {"a": "b"}


@given(st.text("0123456789_.:+-eExobynNtTfFaslurifAO~<=", max_size=8))
@example("None")
@example("none")
@example("null")
@example("~")
@example("010")
@example("1_0")
@example("1:30")
@example("0o7")
@example("yes")
@example("off")
@example("2020-01-01")
@example("1e3")
def test_yaml_words_need_both_versions_to_agree(word: str) -> None:
    try:
        old = yaml.safe_load(f"[ {word} ]")
        new = parse(f"[ {word} ]", "yaml").data
    except (yaml.YAMLError, ValueError, ConfigError):
        return
    if old != new and not isinstance(new[0], dict):  # ``00:`` is a table
        assert new == [word.strip()] or isinstance(new[0], float)  # exponents, which YAML 1.1 wants with a point


plain = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), plain, max_size=4),
    format=st.sampled_from(get_args(DocumentFormat)),
)
def test_what_is_dumped_is_parsed(data: dict[str, object], format: DocumentFormat) -> None:
    try:
        written = dump(data, format)
    except ConfigError:
        assert format != "json"
        return
    assert parse(written, format).data == data


@pytest.mark.parametrize("format", get_args(DocumentFormat))
def test_what_cannot_be_dumped(format: DocumentFormat) -> None:
    with pytest.raises(ConfigError, match="cannot be written as"):
        dump({"a": object()}, format)


@pytest.mark.parametrize(
    "word", ["None", "no", "010", "1e3", "0o7", "~", "<<", "1:30", ".inf", "2020-01-01", "", "é\n", "\x85", "="]
)
def test_text_stays_text_in_yaml_of_either_version(word: str) -> None:
    written = dump([word, {word: word}], "yaml")
    assert parse(written, "yaml").data == yaml.safe_load(written) == [word, {word: word}]
