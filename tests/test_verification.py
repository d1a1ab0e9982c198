"""What `verify` takes, as strictly as the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.writers import write_safetensors

from quantlevels import INT4, UnknownLevelError, VerificationError, fit, size, verify

GPTQ = {"up.qweight": ("I32", [16, 256]), "up.qzeros": ("I32", [1, 32]), "up.scales": ("F16", [1, 256])}
CONFIG = {"quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 128}}


@pytest.fixture
def mislabelled(tmp_path: Path) -> Path:
    """Declared with 8 bits, stored in 4."""
    write_safetensors(tmp_path / "model.safetensors", GPTQ)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def codes(folder: Path, **options: object) -> list[str]:
    try:
        verify(folder, **options)  # type: ignore[arg-type]
    except VerificationError as error:
        return [finding.code for finding in error.findings]
    return []


@pytest.mark.parametrize("ignored", ["QL102", ["QL102"], "QL1", "narrower-than-declared", "ql102"])
def test_one_string_is_one_code(mislabelled: Path, ignored: object) -> None:
    assert codes(mislabelled, ignore=ignored) == []
    assert codes(mislabelled, ignore="QL204") == ["QL102"]
    assert codes(mislabelled, select=ignored) == ["QL102"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("QL10x", "did you mean QL1"), ("", "codes begin with QL1"), ("wider-then-declared", "wider-than-declared")],
)
def test_codes_that_do_not_exist_are_an_error(mislabelled: Path, word: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        verify(mislabelled, ignore=word)
    with pytest.raises(ValueError, match=hint):
        verify(mislabelled, select=["QL1", word])


def test_a_level_may_be_given_by_name(mislabelled: Path) -> None:
    assert (
        verify(mislabelled, level="int4", ignore="QL102").stored
        == verify(mislabelled, level=INT4, ignore="QL102").stored
    )
    assert codes(mislabelled, level="Int8") == ["QL102", "QL501"]
    with pytest.raises(UnknownLevelError, match="Int4"):
        verify(mislabelled, level="in4")


MISTAKES: Mapping[str, tuple[dict[str, object], type[Exception]]] = {
    "a level that is a number": ({"level": 4}, TypeError),
    "bits that are text": ({"max_bits_per_weight": "4.5"}, TypeError),
    "no bits": ({"max_bits_per_weight": 0}, ValueError),
    "bits that are no number": ({"max_bits_per_weight": float("nan")}, ValueError),
    "parameters that are text": ({"parameters": "7B"}, TypeError),
    "fewer parameters than none": ({"parameters": -1}, ValueError),
    "a flag for a count": ({"parameters": True}, TypeError),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistaken_arguments_are_refused_before_reading(name: str) -> None:
    options, error = MISTAKES[name]
    with pytest.raises(error):
        verify("nowhere", **options)  # type: ignore[arg-type]


def test_size_takes_names_and_counts() -> None:
    assert size(70_600_000_000, level="int4", group_size=128).nbytes == 36_403_125_000


@pytest.mark.parametrize("options", [{"memory": 0}, {"memory": 1, "reserve": 1}, {"memory": 1, "devices": 0}])
def test_fit_refuses_numbers_that_cannot_be(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be at least|below 1"):
        fit(1000, **options)
