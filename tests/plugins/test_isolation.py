"""A broken plugin: an error for look-ups of its names, a record and one warning; no effect on the other plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

GOOD = """
from quantlevels import QuantizationLevel
Good = QuantizationLevel(name="Good", bits_per_param=4)
"""

#: source of the module of the plugin ``Bad`` → what its error says
FAILED = {
    "def (": "SyntaxError: invalid syntax",
    "import a_module_nobody_has": "No module named 'a_module_nobody_has'",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise GeneratorExit": "GeneratorExit",
    "class Skipped(BaseException): ...\nraise Skipped('not here')": "Skipped: not here",
    "import sys; sys.exit('bye')": "SystemExit: bye",
    "1 / 0": "ZeroDivisionError: division by zero",
    "class E(Exception):\n    def __str__(self): raise self\nraise E": "exception str() failed",
    "def f(): f()\nf()": "RecursionError",
    "": "AttributeError: module 'bad' has no attribute 'Bad'",
    "class Bad(QuantizationLevel): ...": "QuantizationLevel is sealed",
    "Bad = QuantizationLevel(name='Bad', bits_per_param=-4)": "bits_per_param must be at least 1",
    "Bad = levels['Bad']": "while it is being imported",
}
REJECTED = {
    "Bad = QuantizationLevel": "of type 'type'",
    "Bad = 4": "of type 'int'",
    "Bad = None": "of type 'NoneType'",
    "def Bad(): raise AssertionError('called')": "of type 'function'",
    "class Bad:\n    __class__ = QuantizationLevel\nBad = Bad()": "of type 'Bad'",
    "Bad = INT4": "has to be called 'Int4'",
    "Bad = QuantizationLevel(name='Other', bits_per_param=4)": "has to be called 'Other'",
    "Bad = QuantizationLevel(name='Bad', bits_per_param=4, aliases=('INT-4', 'i4'))": "'i4', which means Int4",
    "Bad = QuantizationLevel(name='Bad', bits_per_param=4, aliases=('fp4',))": "'fp4', which means",
    "Bad = QuantizationLevel(name='Q4_K', bits_per_param=4, aliases=('Bad',))": "'Q4_K', which means Q4_K",
    "Bad = QuantizationLevel(name='Bad', bits_per_param=4, spellings={'ggml': (12,)})": "'ggml 12', which means Q4_K",
    "Bad = QuantizationLevel(name='Bad', bits_per_param=4, label='FP32')": "'FP32', which means None",
}

#: entry_points.txt and METADATA of a distribution, and what its error says
DEFECTS: dict[str, tuple[bytes, bytes | None, str]] = {
    "a line without =": (b"[quantlevels.levels]\nBad\n", b"", "entry_points.txt is malformed"),
    "a header without an end": (b"[quantlevels.levels\nBad = bad:Bad\n", b"", "entry_points.txt is malformed"),
    "a byte order mark": (b"\xef\xbb\xbf[quantlevels.levels]\nBad = bad:Bad\n", b"", "entry_points.txt is malformed"),
    "elsewhere in the file": (
        b"[other]\nx\n[quantlevels.levels]\nBad = bad:Bad\n",
        b"",
        "entry_points.txt is malformed",
    ),
    "not UTF-8": (b"[quantlevels.levels]\nBad = bad:Bad\xff\n", b"", "entry_points.txt cannot be read"),
    "no object reference": (b"[quantlevels.levels]\nBad = not a reference!\n", b"", ""),
    "a module": (b"[quantlevels.levels]\nBad = bad\n", b"", "has to be 'module:NAME'"),
    "no METADATA": (b"[quantlevels.levels]\nBad = bad:Bad\n", None, "METADATA cannot be read"),
    "METADATA without a name": (b"[quantlevels.levels]\nBad = bad:Bad\n", b"Version: 1\n", "METADATA cannot be read"),
    "METADATA not UTF-8": (
        b"[quantlevels.levels]\nBad = bad:Bad\n",
        b"Name: b\xe4d\nVersion: 1\n",
        "METADATA cannot be",
    ),
}

OTHERS = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    answer(error=tried(lambda: levels["Bad"]), again=tried(lambda: levels.get("Bad")), there="Bad" in levels)
    answer(good=tried(lambda: levels["Good"]), listed=[level.name for level in levels.all(plugins=True)][-1])
    answer(width=[level.name for level in levels.with_bits(4)][-1], unknown=tried(lambda: levels["Godo"]))
    levels.plugins(load=True)
    answer(states=states(), reasons=reasons(), seconds=[p.seconds for p in levels.plugins()])
answer(warnings=[str(w.message) for w in caught if w.category is PluginWarning], others=len(caught))
"""


@pytest.mark.parametrize("source", [*FAILED, *REJECTED])
def test_a_broken_module(site: Site, source: str) -> None:
    state, error = ("failed", "PluginLoadError") if source in FAILED else ("rejected", "PluginContractError")
    reason = {**FAILED, **REJECTED}[source]
    site.install("bad-quant", {"Bad": "bad:Bad"}, {"bad.py": f"from quantlevels import *\n{source}"})
    site.install("good-quant", {"Good": "good:Good"}, {"good.py": GOOD})
    result = site.run(OTHERS)
    assert result["states"] == {"bad-quant[Bad]": state, "good-quant[Good]": "loaded"}
    assert reason in result["reasons"].pop("bad-quant[Bad]")
    assert not result["reasons"]
    assert result["error"] == result["again"]
    assert result["error"].startswith(f"{error}: bad-quant[Bad]: ")
    assert reason in result["error"]
    assert not result["there"]
    assert result["good"] == result["listed"] == result["width"] == "Good"
    assert result["unknown"] == "UnknownLevelError: unknown level 'Godo'; did you mean 'Good'?"
    assert [warning.startswith("bad-quant[Bad]: ") for warning in result["warnings"]] == [True]
    assert result["others"] == 1
    assert all(seconds > 0 for seconds in result["seconds"])


@pytest.mark.parametrize("defect", DEFECTS)
def test_broken_metadata(site: Site, defect: str) -> None:
    entry_points, metadata, reason = DEFECTS[defect]
    site.install("bad-quant", entry_points, {"bad.py": "print('imported bad')"}, metadata=metadata)
    site.install("good-quant", {"Good": "good:Good"}, {"good.py": GOOD})
    result = site.run(OTHERS)
    assert sorted(result["states"].values()) == ["failed", "loaded"]
    assert all(reason in found for found in result["reasons"].values())
    assert len(result["reasons"]) == len(result["warnings"]) == result["others"] == 1
    assert result["error"].split(":")[0] in ("PluginLoadError", "UnknownLevelError")
    assert result["good"] == result["listed"] == result["width"] == "Good"
    assert result.imported == []


def test_broken_distributions_without_plugins_are_ignored(site: Site) -> None:
    site.install("one", "[console_scripts]\nno equals sign\n")
    site.install("two", "[console_scripts]\nx = not a reference!\n", metadata=b"\xff")
    site.install("three", "", metadata=None)
    site.install("good-quant", {"Good": "good:Good"}, {"good.py": GOOD})
    result = site.run(OTHERS)
    assert result["states"] == {"good-quant[Good]": "loaded"}
    assert result["warnings"] == []


@pytest.mark.parametrize("entry", ["Int4", "INT4", "fp32", "none", "q4-k", "NF4", "torch.float16", "fp4", "I8"])
def test_protected_names_are_rejected_unimported(site: Site, entry: str) -> None:
    site.install("bad-quant", {entry: "bad:Bad"}, {"bad.py": "print('imported bad')"})
    result = site.run(f"""
        before = tried(lambda: levels[{entry!r}])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            levels.with_bits(4)
            answer(states=states(), reasons=reasons())
            levels.plugins(load=True)
        answer(warnings=len(caught), same=before == tried(lambda: levels[{entry!r}]), before=before)
    """)
    assert result["states"] == {f"bad-quant[{entry}]": "rejected"}
    assert "which means" in result["reasons"][f"bad-quant[{entry}]"]
    assert result["warnings"] == 1
    assert result["same"]
    assert result.imported == []


def test_a_keyboard_interrupt_passes_and_leaves_no_trace(site: Site) -> None:
    source = "import builtins\nif builtins.stop:\n    raise KeyboardInterrupt\n" + GOOD.replace("Good", "Bad")
    site.install("bad-quant", {"Bad": "bad:Bad"}, {"bad.py": source})
    result = site.run("""
        import builtins
        builtins.stop = True
        answer(first=tried(lambda: levels["Bad"]), listing=tried(lambda: levels.with_bits(4)), states=states())
        builtins.stop = False
        answer(second=tried(lambda: levels["Bad"]))
    """)
    assert result["first"] == result["listing"] == "KeyboardInterrupt: "
    assert result["states"] == {"bad-quant[Bad]": "found"}
    assert result["second"] == "Bad"


def test_a_look_up_raises_its_error_not_the_warning(site: Site) -> None:
    site.install("bad-quant", {"Bad": "bad:Bad"}, {"bad.py": "1 / 0"})
    result = site.run("answer(error=tried(lambda: levels['Bad']))", options=("-W", "error"))
    assert result["error"].startswith("PluginLoadError: bad-quant[Bad]: ")


def test_a_plugin_may_look_up_levels_at_import(site: Site) -> None:
    source = """
from quantlevels import QuantizationLevel, levels
assert levels["Good"].name == "Good"
assert "Bad" not in levels
assert [level.name for level in levels.with_bits(3)][-1] == "Later"
Bad = QuantizationLevel(name="Bad", bits_per_param=levels["Good"].bits_per_param)
"""
    site.install("bad-quant", {"Bad": "bad:Bad"}, {"bad.py": source})
    site.install("good-quant", {"Good": "good:Good"}, {"good.py": GOOD})
    site.install_level("later-quant", "Later", bits=3)
    result = site.run("answer(found=levels['Bad'].name, states=states())", options=("-W", "error"))
    assert result["found"] == "Bad"
    assert set(result["states"].values()) == {"loaded"}


def test_plugins_that_need_each_other_fail_clearly(site: Site) -> None:
    site.install("a-quant", {"A": "a:A"}, {"a.py": "from quantlevels import levels\nA = levels['B']"})
    site.install("b-quant", {"B": "b:B"}, {"b.py": "from quantlevels import levels\nB = levels['A']"})
    result = site.run("""
        answer(a=tried(lambda: levels["A"]), b=tried(lambda: levels["B"]), states=states(), reasons=reasons())
    """)
    assert result["a"].startswith("PluginLoadError: a-quant[A]: ")
    assert result["b"].startswith("PluginLoadError: b-quant[B]: ")
    assert result["states"] == {"a-quant[A]": "failed", "b-quant[B]": "failed"}
    for reason in result["reasons"].values():
        assert "a-quant[A]: it is looked up while it is being imported" in reason
