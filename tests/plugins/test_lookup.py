"""Levels of installed distributions are found where the known ones end, and imported one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site


def test_a_name_imports_its_plugin_alone(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", aliases=("acme4",))
    site.install_level("other-quant", "Int4Other")
    result = site.run("""
        answer(found=levels["int4ACME"].name, same=levels["Int4Acme"] is levels["INT4ACME"], states=states())
        answer(alias=levels["acme4"].name, known=[level.name for level in levels][-1])
    """)
    assert result["found"] == result["alias"] == result["known"] == "Int4Acme"
    assert result["same"]
    assert result.imported == ["acme_quant"]
    assert result["states"] == {"acme-quant[Int4Acme]": "loaded", "other-quant[Int4Other]": "found"}


def test_an_entry_point_may_be_an_alias(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", entry="acme-4", aliases=("acme_4",))
    assert site.run("answer(found=levels['acme_4'].name)")["found"] == "Int4Acme"


def test_known_names_never_scan(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run("""
        for name in ("Int4", "fp32", "torch.bfloat16", "Q4_K", "NF4", "none", "torch.float8_e5m2", "q8"):
            levels[name], levels.get(name), name in levels
        levels.from_bits(8), levels.from_dialect("ggml", 12), list(levels), len(levels), INT4 in levels
        levels.register(QuantizationLevel(name="Mine", bits_per_param=3))
        levels["Mine"], levels.from_dialect("safetensors", "BF16")
        import pickle
        pickle.loads(pickle.dumps([*levels, QuantizationLevel(name="Foreign", bits_per_param=3)]))
        heavy = ("importlib_metadata", "quantlevels.vocabulary.plugins")
        answer(modules=[name for name in sys.modules if name in heavy])
        tried(lambda: levels["in4"])
        answer(after="importlib_metadata" in sys.modules)
    """)
    assert result["modules"] == []
    assert result["after"]
    assert result.imported == []


def test_a_width_a_number_and_a_listing_import_all(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", spellings={"ggml": (1000,)})
    site.install_level("other-quant", "Int5Other", bits=5)
    by_width = site.run("answer(found=[level.name for level in levels.with_bits(5)])")
    by_number = site.run("answer(found=levels.from_dialect('ggml', 1000).name)")
    listed = site.run("answer(found=[level.name for level in levels.all(plugins=True)][-2:])")
    assert by_width["found"][-1] == "Int5Other"
    assert by_number["found"] == "Int4Acme"
    assert listed["found"] == ["Int4Acme", "Int5Other"]
    for result in by_width, by_number, listed:
        assert result.imported == ["acme_quant", "other_quant"]


def test_suggestions_know_what_is_installed_and_import_nothing(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run("answer(error=tried(lambda: levels['int4_acmee']))")
    assert result["error"] == "UnknownLevelError: unknown level 'int4_acmee'; did you mean 'Int4Acme'?"
    assert result.imported == []


def test_what_is_registered_in_process_comes_first(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run("""
        mine = levels.register(QuantizationLevel(name="Int4Acme", bits_per_param=4, summary="mine"))
        answer(mine=levels["Int4Acme"] is mine)
    """)
    assert result["mine"]
    assert result.imported == []


def test_pickles_keep_identity_and_never_scan(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run("""
        import copy, pickle
        level = levels["Int4Acme"]
        pickled = pickle.dumps(level)
        answer(pickled=pickled.hex(), same=[pickle.loads(pickled) is level, copy.deepcopy(level) is level])
    """)
    assert result["same"] == [True, True]
    elsewhere = site.run(f"""
        import pickle
        level = pickle.loads(bytes.fromhex({result["pickled"]!r}))
        answer(name=level.name, scanned="importlib_metadata" in sys.modules, equal=level == levels["Int4Acme"])
    """)
    assert elsewhere.answers == {"name": "Int4Acme", "scanned": False, "equal": True}


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (None, ["acme-quant", "other.quant"]),
        ("", ["acme-quant", "other.quant"]),
        ("all", ["acme-quant", "other.quant"]),
        ("off", []),
        (" Acme_Quant ,", ["acme-quant"]),
        ("other-quant,nobody", ["other.quant"]),
        ("nobody", []),
    ],
)
def test_the_environment_says_which_distributions_count(site: Site, policy: str | None, found: list[str]) -> None:
    site.install_level("acme-quant", "Int4Acme")
    site.install("other.quant", {"Int4Other": "other_quant:LEVEL"})
    result = site.run("answer(found=[p.distribution for p in levels.plugins()])", plugins=policy)
    assert result["found"] == found


def test_with_plugins_off_nothing_is_paid(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme")
    result = site.run(
        """
        answer(error=tried(lambda: levels["Int4Acme"]), paid="importlib_metadata" in sys.modules)
        answer(mine=Registry(plugins=["acme-quant"])["Int4Acme"].name, misspelt=tried(lambda: Registry(plugins="acme")))
        """,
        plugins="off",
    )
    assert result["error"].startswith("UnknownLevelError")
    assert not result["paid"]
    assert result["mine"] == "Int4Acme"
    assert result["misspelt"] == "ValueError: plugins must be 'all', 'off' or a list of distributions, not 'acme'"


def test_schemes_are_found_by_their_method(site: Site) -> None:
    source = """
from quantlevels.scheme import MethodConfig, Scheme
AcmeScheme = Scheme(method="acme", config=MethodConfig)
"""
    site.install(
        "acme-quant", {"acme": "acme_quant:AcmeScheme"}, {"acme_quant.py": source}, group="quantlevels.schemes"
    )
    result = site.run("""
        levels.with_bits(4)
        answer(level=tried(lambda: levels["acme"]), states=states())
        from quantlevels.schemes import find_scheme
        answer(scheme=find_scheme("acme").method, none=find_scheme("acne"), after=states())
    """)
    assert result["level"] == "UnknownLevelError: unknown level 'acme'"
    assert result["states"] == {"acme-quant[acme]": "found"}
    assert result["scheme"] == "acme"
    assert result["none"] is None
    assert result["after"] == {"acme-quant[acme]": "loaded"}


def test_refresh_sees_what_was_installed_meanwhile(site: Site) -> None:
    site.path.mkdir()
    site.install_level("old-quant", "Int4Old")
    result = site.run(f"""
        import os
        from pathlib import Path
        old = levels["Int4Old"]
        answer(before=tried(lambda: levels["Int4Acme"]))
        site = Path({str(site.path)!r})
        info = site / "acme_quant-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: acme-quant\\nVersion: 1.0\\n")
        (info / "entry_points.txt").write_text("[quantlevels.levels]\\nInt4Acme = acme_quant:LEVEL\\n")
        source = (site / "old_quant.py").read_text().replace("Int4Old = ", "LEVEL = ").replace("Int4Old", "Int4Acme")
        (site / "acme_quant.py").write_text(source)
        answer(still=tried(lambda: levels["Int4Acme"]))
        levels.refresh()
        answer(after=levels["Int4Acme"].name, same=levels["Int4Old"] is old)
    """)
    assert result["before"].startswith("UnknownLevelError")
    assert result["still"].startswith("UnknownLevelError")
    assert result["after"] == "Int4Acme"
    assert result["same"]


def test_a_level_registered_later_replaces_a_cached_plugin(site: Site) -> None:
    site.install_level("acme-quant", "Int4Acme", aliases=("acme4",), entry="acme4")
    result = site.run("""
        before = levels["ACME4"]
        mine = levels.register(QuantizationLevel(name="Acme4", bits_per_param=3))
        answer(before=before.name, after=levels["ACME4"] is mine, name=levels["int4acme"] is before)
    """)
    assert result.answers == {"before": "Int4Acme", "after": True, "name": True}


def test_a_cached_spelling_can_become_ambiguous(site: Site) -> None:
    site.install_level("a-quant", "One", aliases=("same",), entry="same")
    site.install_level("b-quant", "Two", aliases=("same",))
    result = site.run("""
        warnings.simplefilter("ignore")
        answer(before=tried(lambda: levels["SAME"]), two=levels["Two"].name, after=tried(lambda: levels["SAME"]))
    """)
    assert result["before"] == "One"
    assert result["after"].startswith("AmbiguousLevelError")


@pytest.mark.parametrize("policy", ["off,acme-quant", "acme-quant, off", "all,acme-quant"])
def test_a_policy_word_beside_distributions_is_refused(site: Site, policy: str) -> None:
    site.install_level("acme-quant", "Int4Acme")
    word = "off" if "off" in policy else "all"
    result = site.run(
        f"""
        answer(known=levels["q4_k"].name, error=tried(lambda: levels["Int4Acme"]), listed=tried(levels.plugins))
        answer(argument=tried(lambda: Registry(plugins=["acme-quant", {word!r}])))
        """,
        plugins=policy,
    )
    assert result["known"] == "Q4_K"
    assert result["error"] == result["listed"]
    assert result["error"].startswith("ConfigError: QUANTLEVELS_PLUGINS=")
    assert f"{word!r} must stand alone" in result["error"]
    assert result["argument"].startswith(f"ValueError: plugins=['acme-quant', {word!r}]: ")
    assert result.imported == []


def test_an_unknown_group_is_reported_with_the_closest(site: Site) -> None:
    site.install("acme-quant", {"Int4Acme": "acme:Int4Acme"}, {"acme.py": ""}, group="quantlevels.level")
    site.install_level("other-quant", "Int4Other")
    result = site.run("""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer(other=levels["Int4Other"].name, states=states(), reasons=reasons())
            levels.plugins(load=True)
        answer(warnings=len(caught))
    """)
    assert result["states"] == {"acme-quant[Int4Acme]": "rejected", "other-quant[Int4Other]": "loaded"}
    assert "no plugins of the group 'quantlevels.level'; did you mean 'quantlevels.levels'?" in str(result["reasons"])
    assert result["warnings"] == 1


def test_all_groups_are_reported_and_checked(site: Site) -> None:
    site.install("acme-quant", {"acme": "acme:ACME"}, {"acme.py": "ACME = 1"}, group="quantlevels.schemes")
    site.install("other-quant", {"gptq": "acme:ACME"}, group="quantlevels.schemes")
    site.install_level("third-quant", "Int4Third")
    result = site.run("""
        answer(before=states())
        levels.plugins(load=True)
        answer(after=states(), reasons=reasons())
    """)
    assert result["before"] == {
        "acme-quant[acme]": "found",
        "other-quant[gptq]": "rejected",
        "third-quant[Int4Third]": "found",
    }
    assert result["after"]["acme-quant[acme]"] == "rejected"
    assert result["after"]["third-quant[Int4Third]"] == "loaded"
    assert "has to be a Scheme, and is of type 'int'" in result["reasons"]["acme-quant[acme]"]
