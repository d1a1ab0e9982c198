"""Patterns of quantizer configs name what the quantizers mean by them, whatever the pattern."""

from __future__ import annotations

import fnmatch
import re
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantlevels.schemes import patterns
from quantlevels.schemes.names import ModulePatterns
from quantlevels.schemes.patterns import MOST_STATES, Matcher, machine, regex, work

NAMES = st.text("ab.1_", max_size=8)

LITERALS = st.sampled_from([*"ab1_-]", r"\.", r"\_", "a{", "{}", "b{,x}"])
CLASSES = st.sampled_from([".", r"\d", r"\w", r"\D", r"\W", r"\S", "[ab]", "[^a]", r"[^\W1]", r"[\d.-]", "[a-b1]"])
ATOMS = LITERALS | CLASSES | st.sampled_from(["[]a]", "[^]a]", r"[.-\\]"])
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{,2}", "{0,1}", "{1,3}", "{0}", "{,}"])
QUANTIFIERS = REPEATS | st.builds("{}?".format, REPEATS)
EXPRESSIONS = st.recursive(
    ATOMS | st.sampled_from(["", "^", "$", r"\A", r"\Z"]),
    lambda inner: st.one_of(
        st.builds("({}){}".format, inner, QUANTIFIERS),
        st.builds("(?:{}){}".format, inner, QUANTIFIERS),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("{}{}".format, inner, inner),
        st.builds("{}|{}".format, inner, inner),
        st.builds("{}{}".format, ATOMS.filter(lambda atom: len(atom) == 1 or atom[0] in "\\["), QUANTIFIERS),
    ),
    max_leaves=8,
)


def glob(pattern: str) -> Matcher | Callable[[str], bool]:
    """The matcher of a glob; one that is not supported matches nothing."""
    return patterns.glob(pattern) or (lambda _: False)


def compiled(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(pattern)
        except re.error:
            return None


@given(EXPRESSIONS, st.lists(NAMES, min_size=1, max_size=8))
def test_regex_agrees_with_re(pattern: str, names: list[str]) -> None:
    matches, expected = regex(pattern), compiled(pattern)
    assert (matches is None) == (expected is None)
    if matches and expected:
        for name in names:
            assert matches(name) == bool(expected.match(name)), name


@given(st.lists(EXPRESSIONS, min_size=1, max_size=2), EXPRESSIONS, st.lists(NAMES, min_size=1, max_size=8))
def test_lookaheads_bar_what_re_lets_them(barred: list[str], rest: str, names: list[str]) -> None:
    pattern = "".join(f"(?!{expression})" for expression in barred) + f"(?:{rest})"
    matches, expected = regex(pattern), compiled(pattern)
    assert (matches is None) == (expected is None)
    if matches and expected:
        for name in names:
            assert matches(name) == bool(expected.match(name)), name


@given(st.text(r"ab.()[]{}*+?|^$\,-12dwSZ", max_size=10), st.lists(NAMES, min_size=1, max_size=4))
def test_regex_accepts_and_reads_patterns_as_re_does(pattern: str, names: list[str]) -> None:
    matches = regex(pattern)
    assume(matches)
    expected = compiled(pattern)
    assert matches
    assert expected
    for name in names:
        assert matches(name) == bool(expected.match(name)), name


@given(st.text("ab.1*?[]!^-\\", max_size=8), st.lists(st.text("ab.1]^-\\!", max_size=6), min_size=1, max_size=6))
def test_glob_agrees_with_fnmatch(pattern: str, names: list[str]) -> None:
    assume(not re.search(r"\[.*-.*\]", pattern))  # a range that runs backwards is its own case
    for name in names:
        assert glob(pattern)(name) == fnmatch.fnmatchcase(name, pattern), name


def test_globs_match_whole_names_and_their_case() -> None:
    assert glob("*.layers.[0-3].*")("model.layers.2.mlp")
    assert not glob("*.layers.[0-3].*")("model.layers.4.mlp")
    assert not glob("lm_head")("lm_head.weight")
    assert not glob("LM_*")("lm_head")
    assert not glob("[b-a]")("a")
    assert not glob("a" * 2 * MOST_STATES)("a" * 2 * MOST_STATES)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*)*x", "(a|a)*b", "(a*)*b", "(.*a){9}b", "a?" * 30 + "a" * 30 + "b"])
def test_patterns_that_make_re_hang_are_answered_fast(pattern: str) -> None:
    matches = regex(pattern)
    assert matches
    assert not matches("a" * 5_000 + "!")


def test_many_globs_of_stars_are_answered_at_once() -> None:
    assert not glob("*a" * 500 + "b")("a" * 5_000)


def test_globs_of_open_brackets_are_answered_at_once() -> None:
    started = time.process_time()
    for number in range(50):
        assert not glob(f"{number}" + "[a" * 2_000)("a")
    assert time.process_time() - started < 1


def test_many_optional_parts_take_little_memory() -> None:
    matches = regex("(a?){600}b")
    assert matches
    tracemalloc.start()
    assert matches("a" * 100 + "b")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "pattern", ["[", "(", ")", "(a", "*", "+a", "a**", "a{2}{3}", "a{3,2}", "[b-a]", r"[\d-a]", r"[a-\d]", "[]", "\\"]
)
def test_an_invalid_pattern_is_none(pattern: str) -> None:
    assert compiled(pattern) is None
    assert regex(pattern) is None


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)", "a(?!a)", "(?!a", "(?!(?=a))", "(?<=a)", "(?i)a", "(?P<n>a)", "(?#c)a", "(?>a)"]
)
def test_groups_outside_the_subset_are_none(pattern: str) -> None:
    assert regex(pattern) is None


@pytest.mark.parametrize("pattern", ["a*+", "a++", "a?+", "a{2}+", r"\ba", r"\x41", r"[\b]", r"\1"])
def test_a_pattern_outside_the_subset_is_none(pattern: str) -> None:
    assert regex(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        *("a{5000}", "(a{100}){100}", "((((a{9}){9}){9}){9}){9}", "((){9999}){9999}", "(){0,9999}", "a{99999999999}"),
        *("a{" + "9" * 4000 + "}", "(" * 900 + ")" * 900, "(" * 9000, "[" * 9000, "a" * (MOST_STATES + 1)),
    ],
)
def test_a_pattern_too_large_is_none(pattern: str) -> None:
    assert regex(pattern) is None


LAYER = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("entry", "named", "not_named"),
    [
        ("lm_head", ["lm_head", "model.lm_head"], ["lm_head2", "my_lm_head", "lm"]),
        ("model.layers.1", [LAYER, "model.layers.1"], ["model.layers.16.self_attn.q_proj", "model.layers"]),
        ("model.layers.1.", [LAYER], ["model.layers.16.self_attn.q_proj"]),
        ("self_attn", [LAYER], ["model.layers.1.cross_self_attn.q_proj"]),
        ("layers.1.self_attn", [LAYER], ["layers.2.self_attn", "layers.1.mlp.self_attn"]),
        ("*lm_head*", ["lm_head", "model.lm_head.linear"], ["lm_hea"]),
        ("model.layers.*.self_attn", [LAYER, "model.layers.1.self_attn"], ["model.layers.1.self_attn2", "x." + LAYER]),
        ("model.layers.1.self_attn*", [LAYER], ["model.layers.10.self_attn"]),
        ("mtp*", ["mtp", "mtp.layers.0.fc"], ["model.mtp"]),
        ("re:.*self_attn.*", [LAYER], ["model.layers.1.mlp"]),
        ("re:model\\.layers", [LAYER], ["language_model.layers.1"]),
        (r"re:.*\.(gate|up)_proj$", ["l.0.gate_proj"], ["l.0.gate_proj.weight", "l.0.down_proj"]),
        (r"re:^(?!.*\.experts(\.|$)).*$", [LAYER, "lm_head"], ["l.0.experts.1.w", "l.0.experts"]),
        (r"re:(?!a)^(?!b|c)[a-d]", ["d", "dc"], ["a", "b", "cd", "e"]),
        ("", [], [LAYER, "a"]),
        ("a." * 99 + "b", ["c." + "a." * 99 + "b.d", "a." * 100 + "b"], ["a." * 98 + "b", "a." * 99 + "bc"]),
    ],
)
def test_an_entry_names_what_its_quantizer_means(entry: str, named: list[str], not_named: list[str]) -> None:
    names = ModulePatterns([entry])
    assert names.unsupported == ()
    assert [name for name in named + not_named if name in names] == named


def test_the_first_entry_that_matches_wins() -> None:
    names = ModulePatterns([r"re:.*\.0\.", "lm_head", "*.1.*", "re:.*", "mlp"])
    assert names.first("layers.0.mlp") == r"re:.*\.0\."
    assert names.first("layers.1.mlp") == "*.1.*"
    assert names.first("lm_head") == "lm_head"
    assert names.first("layers.2.mlp") == "re:.*"


@given(st.lists(st.builds("re:{}".format, EXPRESSIONS), max_size=5), st.lists(NAMES, min_size=1, max_size=5))
def test_many_entries_match_as_each_one_does(entries: list[str], modules: list[str]) -> None:
    names = ModulePatterns(entries)
    for module in modules:
        assert names.first(module) == next((entry for entry in entries if module in ModulePatterns([entry])), None)


def test_what_is_unsupported_names_nothing_and_is_told() -> None:
    names = ModulePatterns(["re:[", "lm_head", "re:(?=a)", "[z-a]*"])
    assert names.unsupported == ("re:[", "re:(?=a)", "[z-a]*")
    assert "lm_head" in names
    assert "a" not in names


def test_many_large_patterns_are_all_supported() -> None:
    names = ModulePatterns([f"re:a{{{count}}}" for count in range(3900, 4000)])
    assert names.unsupported == ()
    assert "a" * 3900 in names


def dense(length: int) -> str:
    """A word whose beginnings reach ever new sets of states (Thue and Morse)."""
    return "".join("ab"[number.bit_count() % 2] for number in range(length))


def test_patterns_too_costly_are_given_up_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_WORK", 10_000)
    costly = "re:[ab]*a" + "[ab]" * 100 + "[cd]$"
    names = ModulePatterns([costly, "lm_head"])
    assert dense(1000) not in names
    assert names.unsupported == (costly,)
    assert "a" * 101 + "c" not in names
    assert "lm_head" in names


def test_a_machine_that_forgets_still_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_REMEMBERED", 1_000)
    matches, text = regex("[ab]*a" + "[ab]" * 100 + "$"), dense(1000)
    assert matches
    for end in range(900, 910):
        assert matches(text[:end]) == (text[end - 101] == "a")


@pytest.mark.parametrize("most", [0, 1_000, 1 << 20])
def test_forgotten_patterns_still_name_what_they_named(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(work, "MOST_REMEMBERED", most)
    entries = [r"re:.*\.{0}\.(gate|up{0}|down)_proj", "*layers.{}.*_proj", r"re:(?!.*norm)model.layers.{}\..*"]
    found = [entry.format(number) for number in range(50) for entry in entries]
    names = ModulePatterns(found)
    for _ in range(2):
        for number in range(50):
            assert names.first(f"model.layers.{number}.up_proj") == entries[1].format(number)
            assert names.first(f"model.layers.{number}.down_proj") == entries[0].format(number)
            assert names.first(f"model.layers.{number}.mlp") == entries[2].format(number)
            assert names.first(f"model.layers.{number}.norm") is None
    assert names.unsupported == ()


@pytest.mark.parametrize("spelling", [r"re:.*layers\.{}\..*up_proj$", "*layers.{}.*_proj", r"re:.*\.{}\.(up|gate)_.*"])
def test_many_patterns_take_little_memory(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setattr(work, "MOST_REMEMBERED", 1_000)
    entries = [spelling.format(number) for number in range(10_000)]
    modules = [f"model.layers.{number}.up_proj" for number in range(500)]
    tracemalloc.start()
    names = ModulePatterns(entries)
    assert names.filter(modules) == modules
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert names.unsupported == ()
    assert peak < 600 * len(entries)


#: how the pattern of an expert's projection is written, of which a model has tens of thousands
EXPERTS: dict[str, Callable[[str], str]] = {
    "plain dots": lambda module: f"re:.*{module}.*",
    "alternatives before": lambda module: f"re:.*(layers|blocks){module.removeprefix('layers')}",
    "alternatives behind": lambda module: f"re:.*{module.removesuffix('gate_proj')}(gate|up)_proj$",
    "an optional part": lambda module: rf"re:.*{re.escape(module)}(\.weight)?$",
    "a class": lambda module: f"re:.*{module.removesuffix('proj')}[a-z]+$",
}


@pytest.mark.parametrize("spelling", EXPERTS)
def test_a_pattern_for_each_expert_finds_its_own(spelling: str) -> None:
    modules = [f"layers.{layer}.mlp.experts.{expert}.gate_proj" for layer in range(60) for expert in range(64)]
    entries = [EXPERTS[spelling](module) for module in modules]
    names = ModulePatterns(entries)
    assert names.match_all([f"model.{module}" for module in modules]) == entries
    assert names.unsupported == ()


def test_a_name_that_nearly_fits_everywhere_is_given_up() -> None:
    names = ModulePatterns(f"re:.*a.a{'.' * number}b" for number in range(2, 1000))
    started = time.process_time()
    assert "b" + "ac" * 100_000 not in names
    assert time.process_time() - started < 10
    assert len(names.unsupported) == 998


#: how a pattern is written → the pattern of a number
SPELLINGS: dict[str, Callable[[int], str]] = {
    "a glob of the layers": "*layers.{}.*proj".format,
    "a glob of a part": "*.{}.*.up_proj".format,
    "an expression": r"re:.*layers\.{}\..*up_proj$".format,
    "an expression with plain dots": "re:model.layers.{}.mlp.*".format,
    "alternatives": r"re:.*\.{0}\.(gate|up{0}|down)_proj".format,
    "a lookahead": r"re:^(?!.*experts\.{}\.).*up_proj$".format,
    "a class": r"re:.*\.{}\.[a-z]+\.up_proj".format,
    "a name": "model.layers.{}".format,
}


def steps(entry: Callable[[int], str], count: int) -> int:
    """Lines of Python that run to match as many entries as modules: unlike seconds, the same on every machine."""
    modules = [f"model.layers.{number}.mlp.up_proj" for number in range(count)]
    taken = 0

    def trace(*_: object) -> object:
        nonlocal taken
        taken += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # a function that gives itself has no type that can be written
    try:
        names = ModulePatterns(map(entry, range(count)))
        names.match_all(modules)
    finally:
        sys.settrace(before)
    assert names.unsupported == ()
    return taken


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_work_grows_with_patterns_and_modules_no_faster(spelling: str) -> None:
    small, large = (steps(SPELLINGS[spelling], count) for count in (100, 1_600))
    assert large < 25 * small


@given(st.lists(st.text("ab1.*?", min_size=1, max_size=5), max_size=6), st.lists(NAMES, min_size=1, max_size=5))
def test_globs_name_what_they_match_and_all_below(globs: list[str], modules: list[str]) -> None:
    globs = [pattern for pattern in globs if set(pattern) & set("*?")]
    names = ModulePatterns(globs)
    for module in modules:
        above = [module[:end] for end in range(1, len(module)) if module[end] == "."] + [module]
        expected = (pattern for pattern in globs if any(fnmatch.fnmatchcase(name, pattern) for name in above))
        assert names.first(module) == next(expected, None), module
