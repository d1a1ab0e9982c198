"""The targets of ``python -m fuzz`` for a moment each: nothing gets out of them."""

from __future__ import annotations

from random import Random

import pytest
from fuzz import TARGETS, target
from fuzz.mutation import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    for seed in target(name).SEEDS:
        target(name).run(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
def test_mutations_pass(name: str, random: Random) -> None:
    target(name).run(mutated(random, target(name).SEEDS))
