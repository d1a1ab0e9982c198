"""What every plugin should test of itself, and what this one is for."""

from __future__ import annotations

from fractions import Fraction

import pytest
import quantlevels_ik

from quantlevels import levels
from quantlevels.testing import check_plugin


def test_the_contract_of_plugins() -> None:
    check_plugin("quantlevels-ik")


@pytest.mark.parametrize("name", quantlevels_ik.__all__)
def test_every_level_is_found_by_its_name(name: str) -> None:
    assert levels[name.lower()] is getattr(quantlevels_ik, name)


def test_a_gguf_reader_finds_the_type_by_its_number() -> None:
    assert levels.from_dialect("ggml", 139).name == "IQ4_K"
    assert levels["IQ4_K"].bits_per_weight == Fraction(9, 2)
    assert levels["Q6_0"].nbytes((4096, 4096)) == 4096 * 128 * 26
