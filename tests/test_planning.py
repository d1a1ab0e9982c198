"""`fit`: the checkpoint as it is first, then what people deploy, each with its margin and the devices it needs."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from tests.writers import gguf, write_safetensors

from quantlevels import CheckpointError, SizingError, VerificationError, fit, inspect, levels, size, verify
from quantlevels.inspection.planning import AS_STORED, DEPLOYMENTS, Candidate
from quantlevels.vocabulary.formats import NOT_OF_WEIGHTS

PLAIN = {
    "model.embed_tokens.weight": ("BF16", [1024, 256]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [512, 256]),
    "model.norm.weight": ("BF16", [256]),
}
GPTQ = {"up.qweight": ("I32", [32, 256]), "up.qzeros": ("I32", [2, 32]), "up.scales": ("F16", [2, 256])}


def named(candidates: tuple[Candidate, ...]) -> dict[str, Candidate]:
    return {candidate.way.name: candidate for candidate in candidates}


def test_an_unquantized_checkpoint_is_sized_exactly(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", PLAIN)
    first, *rest = fit(tmp_path, memory=10**6).candidates
    assert (first.way.name, first.nbytes) == (AS_STORED, 2 * (1024 * 256 + 512 * 256 + 256))
    assert all(candidate.way.exact for candidate in rest)
    assert [candidate.nbytes for candidate in rest] == sorted((candidate.nbytes for candidate in rest), reverse=True)
    w4a16 = size(tmp_path, level="Int4", group_size=128, scheme="compressed-tensors")
    assert named(tuple(rest))["INT4 g128 (W4A16)"].nbytes == w4a16.nbytes


def test_fit_is_exact_only_as_stored_for_quantized_weights(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", GPTQ)
    (tmp_path / "config.json").write_text(
        json.dumps({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}})
    )
    stored = inspect(tmp_path).stored
    first, *rest = fit(tmp_path, memory=10**6).candidates
    assert stored
    assert (first.way.name, first.way.exact, first.nbytes) == (AS_STORED, True, stored.tensor_bytes)
    assert not any(candidate.way.exact for candidate in rest)
    assert named(tuple(rest))["BF16"].nbytes == 2 * stored.parameters


def test_a_gguf_is_exact_in_types_of_llama_cpp(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf({"blk.0.ffn_up.weight": (12, [256, 256])}, {"general.file_type": 15}))
    found = named(fit(path, memory=10**6).candidates)
    assert found[AS_STORED].nbytes == found["Q4_K_M"].nbytes == 256 * 256 * 9 // 16
    assert found["Q8_0"].way.exact
    assert not found["FP8"].way.exact


def test_parameters_alone_have_no_stored_form(tmp_path: Path) -> None:
    found = named(fit(8_000_000_000, memory=16 * 2**30).candidates)
    assert AS_STORED not in found
    assert found["BF16"].margin == 16 * 2**30 - 16_000_000_000
    assert not found["FP32"].fits


def test_devices_share_the_weights() -> None:
    report = fit(1_000_000, memory=1_000_000, devices=2, reserve=Fraction(1, 4))
    assert report.budget == 1_500_000
    found = named(report.candidates)
    assert (found["BF16"].devices_needed, found["BF16"].fits) == (3, False)
    assert (found["FP8"].devices_needed, found["FP8"].fits) == (2, True)


def test_every_level_of_weights_can_be_tried() -> None:
    tried = {candidate.way.level for candidate in fit(10**9, memory=10**9, known=levels).candidates}
    assert {level.name for level in set(levels) - tried} == NOT_OF_WEIGHTS


@pytest.mark.parametrize("way", DEPLOYMENTS, ids=lambda way: way.name)
def test_what_people_deploy_can_be_sized(tmp_path: Path, way: object) -> None:
    write_safetensors(tmp_path / "model.safetensors", PLAIN)
    assert way.name in named(fit(tmp_path, memory=10**6).candidates)  # type: ignore[attr-defined]


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"up.weight": ("U32", [256, 16])})
    with pytest.raises(SizingError, match="cannot be counted"):
        fit(tmp_path, memory=10**6)
    (tmp_path / "empty").mkdir()
    write_safetensors(tmp_path / "empty" / "model.safetensors", {})
    with pytest.raises(CheckpointError, match="has no weights"):
        fit(tmp_path / "empty", memory=10**6)


def test_packed_weights_are_not_sized_as_plain(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"fc.packed": ("U8", [4096]), "norm.weight": ("F32", [8])})
    with pytest.raises(SizingError, match="not all tensors are understood"):
        size(tmp_path, level="Int4")
    write_safetensors(
        tmp_path / "model.safetensors", {"fc.weight": ("F8_E4M3", [8, 8]), "fc.weight_scale": ("F32", [])}
    )
    with pytest.raises(SizingError, match="already quantized"):
        size(tmp_path, level="Int4")


def test_an_unmatched_keep_glob_names_the_closest_module(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"model.lm_head.weight": ("BF16", [8, 64])})
    with pytest.raises(SizingError, match=r"matches 'lm_head'; the closest module is model\.lm_head"):
        size(tmp_path, level="Int4", scheme="gptq", keep={"lm_head": "BFloat16"})


def test_nothing_is_exact_without_a_scheme(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"fc.weight": ("BF16", [64, 64])})
    assert not size(tmp_path, level="Int4").exact
    assert not size(tmp_path, level="Int4", group_size=32).exact
    assert size(tmp_path, level="Int4", group_size=32, scheme="gptq").exact
    assert size(tmp_path, level="Float16").exact
    assert not size(4096, level="Int4").exact


def test_a_file_is_verified_tensor_by_tensor_against_a_recipe() -> None:
    path = Path(__file__).parent.parent / "examples/dense-Q4_K_M.gguf"
    verify(path, recipe="q4_k_m")
    with pytest.raises(VerificationError, match="expected Q5_K by the recipe Q5_K_M, found Q4_K"):
        verify(path, recipe="Q5_K_M")
    stored = inspect(path).stored
    assert stored is not None
    assert size(path, recipe="Q4_K_M").nbytes == stored.tensor_bytes
