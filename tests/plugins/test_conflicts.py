"""Two distributions that claim one word: equal levels are one level, different levels are an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site


@pytest.mark.parametrize("swapped", [False, True])
def test_different_levels_of_one_name(site: Site, other_site: Site, swapped: bool) -> None:
    site.install_level("b-quant", "Same", bits=4)
    other_site.install_level("a-quant", "Same", bits=5)
    first, second = (other_site, site) if swapped else (site, other_site)
    result = first.run(
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer(before=states(), error=tried(lambda: levels["same"]), there="Same" in levels)
            answer(again=tried(lambda: levels["same"]), states=states(), reasons=reasons())
        answer(warnings=[str(w.message) for w in caught])
        """,
        later=(second,),
    )
    assert set(result["before"].values()) == {"found"}
    assert (
        result["error"] == "AmbiguousLevelError: 'same' can mean a-quant[Same] or b-quant[Same]; uninstall one of them"
    )
    assert result["again"] == result["error"]
    assert not result["there"]
    assert result["states"] == {"a-quant[Same]": "conflicting", "b-quant[Same]": "conflicting"}
    assert result["reasons"] == {
        "a-quant[Same]": "'same' means something else in b-quant[Same]",
        "b-quant[Same]": "'same' means something else in a-quant[Same]",
    }
    assert result["warnings"] == ["b-quant[Same]: 'same' means something else in a-quant[Same]"]


def test_equal_levels_of_one_name_are_one(site: Site) -> None:
    site.install_level("a-quant", "Same")
    site.install_level("b-quant", "Same")
    result = site.run(
        """
        level = levels["Same"]
        import b_quant
        listed = [level.name for level in levels.all(plugins=True)]
        answer(names=listed.count("Same"), states=states(), known=b_quant.Same in levels)
        """,
        options=("-W", "error"),
    )
    assert result["names"] == 1
    assert result["known"]
    assert set(result["states"].values()) == {"loaded"}


def test_a_broken_namesake_does_not_hide_a_plugin(site: Site) -> None:
    site.install_level("b-quant", "Same")
    site.install("a-quant", {"Same": "a:Same"}, {"a.py": "1 / 0"})
    result = site.run("answer(found=tried(lambda: levels['Same']), states=states())")
    assert result["found"] == "Same"
    assert result["states"] == {"a-quant[Same]": "failed", "b-quant[Same]": "loaded"}


def test_different_levels_of_one_number(site: Site) -> None:
    site.install_level("a-quant", "One", spellings={"ggml": (1000, "ONE")})
    site.install_level("b-quant", "Two", spellings={"ggml": (1000, "TWO")})
    result = site.run("""
        answer(error=tried(lambda: levels.from_dialect("ggml", 1000)), two=levels.from_dialect("ggml", "TWO").name)
        answer(one=levels["One"].name, states=states(), reasons=reasons())
    """)
    assert (
        result["error"]
        == "AmbiguousLevelError: 'ggml 1000' can mean a-quant[One] or b-quant[Two]; uninstall one of them"
    )
    assert (result["one"], result["two"]) == ("One", "Two")
    assert set(result["states"].values()) == {"conflicting"}
    assert result["reasons"]["a-quant[One]"] == "'ggml 1000' means something else in b-quant[Two]"


def test_one_distribution_may_name_a_level_twice(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", aliases=("acme4",))
    site.install("acme-quant", {"Int4Acme": "acme_quant:Int4Acme", "acme4": "acme_quant:Int4Acme"})
    result = site.run(
        """
        answer(same=levels["acme4"] is levels["Int4Acme"], states=states())
        answer(listed=[level.name for level in levels.all(plugins=True)].count("Int4Acme"))
    """,
        options=("-W", "error"),
    )
    assert result["same"]
    assert result["listed"] == 1
    assert result["states"] == {"acme-quant[Int4Acme]": "loaded", "acme-quant[acme4]": "loaded"}


def test_the_first_installation_on_the_path_counts(site: Site, other_site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", bits=4)
    other_site.install_level("acme-quant", "Int4Acme", bits=5)
    first = site.run("answer(bits=levels['Int4Acme'].bits_per_param, states=states())", later=(other_site, site))
    second = other_site.run("answer(bits=levels['Int4Acme'].bits_per_param, states=states())", later=(site,))
    assert (first["bits"], second["bits"]) == (4, 5)
    assert first["states"] == second["states"] == {"acme-quant[Int4Acme]": "loaded"}


def test_a_first_installation_without_plugins_hides_the_second(site: Site, other_site: Site) -> None:
    site.install("acme-quant", "")
    other_site.install_level("Acme_Quant", "Int4Acme")
    assert site.run("answer(states=states())", later=(other_site,))["states"] == {}
    assert other_site.run("answer(states=states())", later=(site,))["states"] == {"Acme_Quant[Int4Acme]": "found"}


def test_a_process_may_register_what_a_plugin_brings_too(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run("""
        level = levels["Int4Acme"]
        equal = QuantizationLevel(name="Int4Acme", bits_per_param=4)
        answer(equal=levels.canonical(equal) is level, listed=[l.name for l in levels].count("Int4Acme"))
    """)
    assert result.answers == {"equal": True, "listed": 1}
