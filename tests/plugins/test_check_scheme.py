"""`check_scheme`: a scheme of a plugin on a small model, all that is wrong in one failing test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

EXAMPLE = Path(__file__).parents[2] / "examples" / "quantlevels-zigzag" / "src" / "quantlevels_zigzag" / "__init__.py"

CHECK = """
from quantlevels.testing import check_scheme
tensors = {
    "layers.0.up.zz_codes": ("U8", (32, 128)),
    "layers.0.up.zz_scales": ("F16", (32, 4)),
    "layers.0.up.bias": ("F16", (32,)),
    "norm.weight": ("BF16", (32,)),
}
config = {"quant_method": "zigzag"}
config |= CONFIG
try:
    check_scheme(config, tensors, parameters=32 * 256 + 64, levels={"Int4": 32 * 256})
except AssertionError as error:
    answer(problems=str(error).splitlines()[1:] or [str(error)])
else:
    answer(problems=[])
"""


def problems(site: Site, before: str = "", after: str = "", config: dict[str, object] | None = None) -> list[str]:
    """What is wrong with the example's scheme after a change to its source, or with another config."""
    source = EXAMPLE.read_text(encoding="utf-8")
    assert before in source
    source = source.replace(before, after)
    site.install("zigzag", {"zigzag": "zz:ZIGZAG"}, {"zz.py": source}, group="quantlevels.schemes")
    return list(site.run(CHECK.replace("CONFIG", repr(config or {})))["problems"])


def test_a_good_scheme_passes(site: Site) -> None:
    assert problems(site) == []
    assert problems(site, config={"calibration_samples": 128, "group_size": 64}) == []


def test_a_method_that_no_plugin_brings(site: Site) -> None:
    (problem,) = site.run(CHECK.replace("CONFIG", "{}"))["problems"]
    assert 'add an entry point to [project.entry-points."quantlevels.schemes"]' in problem


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"zz_scales", ("Float16",)', '"zz_scales", ("BFloat16",)', "zz_scales is FP16 [32, 4]; expected BFloat16"),
        ("parameters=rows * columns", "parameters=rows * packed", "4,160 parameters are read, not 8,256"),
        ("level=integer(hint.bits)", "level=integer(8)", "0 weights are read at Int4, not 8,192"),
        ("tensors=(CODES, SCALES)", "tensors=(CODES,)", "predict 4,096 bytes for a weight of [32, 256] at Int4"),
        (
            'Packing("zz_codes", ("zz_scales",), fold, sides=(SCALES,))',
            'Packing("zz_codes", ("zz_scales",), fold, sides=("zz_scales",))',
            "if layers.0.up.zz_scales has the shape [33, 4], nothing is reported",
        ),
        (
            'group_size(columns, module["zz_scales"].matrix[1], hint)',
            '{4: 64}[module["zz_scales"].matrix[1]]',
            "KeyError is raised (5): raise LayoutError in `fold`",
        ),
    ],
)
def test_what_is_wrong_is_named(site: Site, before: str, after: str, problem: str) -> None:
    found = problems(site, before, after)
    assert any(problem in line for line in found), found


def test_an_unread_key_is_reported(site: Site) -> None:
    (problem,) = problems(site, config={"grup_size": 64})
    assert "QL306" in problem
    assert "grup_size" in problem


def test_the_scheme_in_the_docs_passes(site: Site) -> None:
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (scheme,) = (block for block in blocks if "ACME = Scheme(" in block)
    (check,) = (block for block in blocks if "check_scheme(" in block)
    site.install("acme-quant", {"acme": "acme:ACME"}, {"acme.py": scheme}, group="quantlevels.schemes")
    assert site.run(f"{check}\ntest_a_small_model()\nanswer(done=True)", options=("-W", "error"))["done"]
