"""`check_plugin`: the contract of plugins as one test that reports everything that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

CHECK = """
from quantlevels.testing import check_plugin
try:
    check_plugin("acme-quant")
except AssertionError as error:
    answer(problems=str(error).splitlines())
else:
    answer(problems=[])
"""

LEVEL = """
from quantlevels import QuantizationLevel
Int4Acme = QuantizationLevel(name="Int4Acme", bits_per_param=4, aliases=("acme4",), spellings={"acme": ("i4a", 7)})
"""


def problems(site: Site, source: str, entries: dict[str, str] | None = None, *, typed: bool = True) -> list[str]:
    """What `check_plugin` reports of a package with this source."""
    entries = {"Int4Acme": "acme_quant:Int4Acme"} if entries is None else entries
    site.install("acme-quant", entries, {"acme_quant/__init__.py": source})
    if typed:
        site.write({"acme_quant/py.typed": ""})
    head, *found = site.run(CHECK, options=("-W", "error"))["problems"] or [""]
    assert head in ("", "acme-quant: breaks the contract of plugins")
    return found


def test_a_good_plugin_passes(site: Site) -> None:
    assert problems(site, LEVEL, {"Int4Acme": "acme_quant:Int4Acme", "acme4": "acme_quant:Int4Acme"}) == []


def test_a_distribution_without_entry_points(site: Site) -> None:
    for found in problems(site, LEVEL, {}), site.run(CHECK)["problems"][1:]:
        assert len(found) == 1
        assert '[project.entry-points."quantlevels.levels"]' in found[0]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("Int4Acme = 4", "of type 'int'"),
        (LEVEL.replace('"acme4"', '"int4"'), "'int4', which means Int4"),
        (LEVEL.replace('{"acme": ("i4a", 7)}', '{"torch": ("int8",)}'), "'torch int8', which means Int8"),
    ],
)
def test_what_the_registry_refuses(site: Site, source: str, text: str) -> None:
    first, *_ = problems(site, source)
    assert first.startswith("acme-quant[Int4Acme]: ")
    assert text in first
    assert ": correct that" in first


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ('"acme":', '"pytorch":', "call it 'torch' if that is meant"),
        ("from", "print('hello')\nfrom", "prints at import: 'hello"),
        ("from", "import sys; print('x', file=sys.stderr)\nfrom", "prints at import: 'x"),
        ("from", "open('cache.json', 'w').close()\nfrom", "writes at import: cache.json"),
        ("from", "import os; os.mkdir('cache')\nfrom", "writes at import: cache"),
        ("from", "import heavy\nfrom", "s to import, and imports heavy: move the levels"),
    ],
)
def test_side_effects_of_the_import(site: Site, before: str, after: str, text: str) -> None:
    site.write({"heavy.py": "import time\ntime.sleep(0.6)"})
    (only,) = problems(site, LEVEL.replace(before, after, 1))
    assert only.startswith("acme-quant[Int4Acme]: ")
    assert text in only


def test_a_package_that_hides_its_types(site: Site) -> None:
    (only,) = problems(site, LEVEL, typed=False)
    assert "put an empty file py.typed in " in only


def test_a_level_that_cannot_be_read_back(site: Site) -> None:
    (only,) = problems(site, LEVEL, {"acme4": "acme_quant:Int4Acme"})
    assert 'add the entry point Int4Acme = "acme_quant:Int4Acme"' in only


def test_all_problems_are_reported_at_once(site: Site) -> None:
    entries = {"acme4": "acme_quant:Int4Acme", "Int8": "acme_quant:Int8", "Missing": "acme_quant:Missing"}
    found = problems(site, f"print('x')\n{LEVEL}", entries, typed=False)
    assert len(found) == 5
