"""Closed books: the bytes of each tensor are in one level, in the buffers, or unexplained, and nothing is left out."""

from __future__ import annotations

import pytest
from tests.writers import Tensors

from quantlevels.inspection.totals import Tally

from .conftest import Look

N, K = 256, 512
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}
PACKED: Tensors = {
    "fc.qweight": ("I32", [K // 8, N]),
    "fc.qzeros": ("I32", [K // 128, N // 8]),
    "fc.scales": ("F16", [K // 128, N]),
    "fc.g_idx": ("I32", [K]),
}
CT = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128}}},
}
CT_PACKED: Tensors = {
    "fc.weight_packed": ("I32", [N, K // 8]),
    "fc.weight_scale": ("BF16", [N, K // 128]),
    "fc.weight_shape": ("I64", [2]),
}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
FP8_BLOCKS: Tensors = {"fc.weight": ("F8_E4M3", [N, K]), "fc.weight_scale_inv": ("F32", [N // 128, K // 128])}
MLX: Tensors = {
    "fc.weight": ("U32", [N, K // 8]),
    "fc.scales": ("F16", [N, K // 64]),
    "fc.biases": ("F16", [N, K // 64]),
}
MLX_CONFIG = {"quant_method": "mlx", "bits": 4, "group_size": 64}
BNB: Tensors = {
    "fc.weight": ("U8", [N * K // 2, 1]),
    "fc.weight.absmax": ("F32", [N * K // 64]),
    "fc.weight.quant_map": ("F32", [16]),
    "fc.weight.quant_state.bitsandbytes__nf4": ("U8", [80]),
}
HQQ: Tensors = {
    "fc.W_q": ("U8", [N * K // 128, 64]),
    "fc.scale": ("F16", [N * K // 64, 1]),
    "fc.zero": ("F16", [N * K // 64, 1]),
}
HQQ_CONFIG = {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}
NVFP4: Tensors = {
    "fc.weight": ("U8", [N, K // 2]),
    "fc.weight_scale": ("F8_E4M3", [N, K // 16]),
    "fc.weight_scale_2": ("F32", []),
}
NVFP4_CONFIG = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
QUANTO: Tensors = {"fc.weight._data": ("I8", [N, K]), "fc.weight._scale": ("BF16", [N, 1])}


@pytest.mark.parametrize(
    "buffers",
    [
        {"embeddings.position_ids": ("I64", [1, 512])},
        {"attn.bias": ("F32", [1, 1, 64, 64])},
        {"attn.causal_mask": ("BOOL", [64, 64])},
        {"rotary_emb.inv_freq": ("F32", [64])},
        {"rope.freqs": ("BF16", [64])},
        {"bn.running_mean": ("F32", [8]), "bn.running_var": ("F32", [8]), "bn.num_batches_tracked": ("I64", [])},
        {"attn.k_scale": ("F32", []), "attn.v_scale": ("F32", [])},
        {"anything.at_all": ("I64", [7, 3])},
        {"block._extra_state": ("U8", [40])},
        {"blk.0.ffn_gate_tid2eid.weight": ("I32", [64, 6])},
        {"fc.weight_quantizer._amax": ("F32", [8])},
    ],
    ids=lambda buffers: next(iter(buffers)),
)
def test_buffers_are_neither_parameters_nor_in_ratios(look: Look, buffers: Tensors) -> None:
    found = look({"fc.weight": ("BF16", [8, 8]), **buffers})
    alone = look(buffers).stored
    assert found.stored.buffers == Tally(len(buffers), alone.tensor_bytes)
    assert (found.stored.parameters, found.stored.bits_per_weight) == (64, 16)
    assert found.codes == []


@pytest.mark.parametrize(
    "codes",
    [
        {"fc.qcodes": ("I32", [16, 16])},
        {"fc.weight": ("I32", [16, 16])},
        {"fc.packed": ("U8", [4096])},
        {"fc.qweight": ("I8", [64, 32]), "fc.unheard_of": ("F16", [64])},
    ],
    ids=lambda codes: next(iter(codes)),
)
def test_integers_without_a_layout_are_always_reported(look: Look, codes: Tensors) -> None:
    found = look({"other.weight": ("BF16", [8, 8]), **codes})
    name = next(iter(codes))
    assert ("QL304", name) in [(finding.code, finding.where) for finding in found.inspection.findings]
    assert found.stored.unexplained.tensors == 1
    assert found.stored.bits_per_weight is None


@pytest.mark.parametrize(
    ("tensors", "config", "lost"),
    [
        (PACKED, GPTQ, "fc.qweight"),
        (PACKED, None, "fc.qweight"),
        (PACKED, GPTQ, "fc.scales"),
        (CT_PACKED, CT, "fc.weight_packed"),
        (CT_PACKED, CT, "fc.weight_scale"),
        (FP8_BLOCKS, FP8, "fc.weight"),
        (FP8_BLOCKS, FP8, "fc.weight_scale_inv"),
        (MLX, MLX_CONFIG, "fc.weight"),
        (HQQ, HQQ_CONFIG, "fc.W_q"),
        (NVFP4, NVFP4_CONFIG, "fc.weight"),
        (QUANTO, None, "fc.weight._data"),
        (QUANTO, None, "fc.weight._scale"),
    ],
)
def test_a_lost_tensor_of_a_module_is_missed(
    look: Look, tensors: Tensors, config: dict[str, object] | None, lost: str
) -> None:
    whole: Tensors = {"other.weight": ("BF16", [8, 8]), **tensors}
    assert not {"QL202", "QL303", "QL304"} & {*look(whole, config).codes}
    torn = look({name: kind for name, kind in whole.items() if name != lost}, config)
    assert "QL202" in torn.codes
    if torn.stored.unexplained.tensors:
        assert torn.stored.parameters == 64


@pytest.mark.parametrize(
    ("tensors", "config", "changed", "kind"),
    [
        (PACKED, GPTQ, "fc.scales", ("F16", [4, 7])),
        (PACKED, GPTQ, "fc.scales", ("I32", [4, N])),
        (PACKED, GPTQ, "fc.scales", ("BOOL", [4, N])),
        (PACKED, GPTQ, "fc.g_idx", ("I32", [7])),
        (PACKED, GPTQ, "fc.g_idx", ("F32", [K])),
        (PACKED, GPTQ, "fc.bias", ("F16", [3])),
        (PACKED, GPTQ, "fc.qzeros", ("I32", [3, N // 8])),
        (CT_PACKED, CT, "fc.weight_scale", ("BF16", [7, K // 128])),
        (CT_PACKED, CT, "fc.weight_scale", ("I32", [N, K // 128])),
        (CT_PACKED, CT, "fc.weight_zero_point", ("I32", [5, K // 128])),
        (CT_PACKED, CT, "fc.bias", ("BF16", [N + 1])),
        (CT_PACKED, CT, "fc.weight_g_idx", ("I32", [K - 1])),
        (FP8_BLOCKS, FP8, "fc.weight_scale_inv", ("F32", [3, 5])),
        (FP8_BLOCKS, FP8, "fc.weight_scale_inv", ("I64", [2, 4])),
        (FP8_BLOCKS, FP8, "fc.bias", ("BF16", [3])),
        (MLX, MLX_CONFIG, "fc.biases", ("F16", [N, K // 32])),
        (MLX, MLX_CONFIG, "fc.scales", ("I32", [N, K // 64])),
        (BNB, None, "fc.weight.absmax", ("F32", [77])),
        (BNB, None, "fc.weight.absmax", ("I64", [N * K // 64])),
        (BNB, None, "fc.weight.quant_map", ("F32", [15])),
        (NVFP4, NVFP4_CONFIG, "fc.weight_scale", ("F8_E4M3", [7, K // 16])),
        (NVFP4, NVFP4_CONFIG, "fc.weight_scale", ("F8_E4M3", [N, 5])),
        (NVFP4, NVFP4_CONFIG, "fc.weight_scale", ("I32", [N, K // 16])),
        (HQQ, HQQ_CONFIG, "fc.zero", ("BOOL", [N * K // 64, 1])),
        (QUANTO, None, "fc.weight._scale", ("BF16", [N - 1, 1])),
        (QUANTO, None, "fc.weight._scale", ("I32", [N, 1])),
    ],
)
def test_side_tensors_of_impossible_kinds_are_refused(
    look: Look, tensors: Tensors, config: dict[str, object] | None, changed: str, kind: tuple[str, list[int]]
) -> None:
    found = look({**tensors, changed: kind}, config)
    (problem,) = [finding for finding in found.inspection.findings if finding.code == "QL303"]
    assert problem.where == "fc"
    assert any(str(part) in problem.message for part in (kind[1], *kind[1]))


@pytest.mark.parametrize("claim", ["MXFP4", "NVFP4"])
def test_types_and_groups_win_against_a_claim(look: Look, claim: str) -> None:
    found = look(NVFP4, {"quant_method": "modelopt", "quant_algo": claim})
    assert [(str(level.level), level.group_size) for level in found.stored.levels] == [("NVFP4", 16)]


def test_narrow_integers_in_shared_bytes_have_two_readings(look: Look) -> None:
    tensors: Tensors = {"fc.weight": ("I8", [N, K]), "fc.weight_scale": ("F32", [N, 1])}
    config = {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "int4"}}}
    (problem,) = look(tensors, config).inspection.findings
    assert problem.code == "QL303"
    assert f"{N * K:,}" in problem.message
    assert f"{2 * N * K:,}" in problem.message


def mlx_rows(columns: int) -> Tensors:
    return {
        "model.layers.0.mlp.gate_proj.weight": ("U32", [64, columns // 4]),
        "model.layers.0.mlp.gate_proj.scales": ("F16", [64, columns // 32]),
        "model.layers.0.mlp.gate_proj.biases": ("F16", [64, columns // 32]),
    }


def test_mlx_bits_against_hidden_size_are_ambiguous(look: Look) -> None:
    config = {"hidden_size": 768, "quantization": {"bits": 8, "group_size": 32}}
    assert look(mlx_rows(768), config=config).codes == []
    (problem,) = (
        finding for finding in look(mlx_rows(192), config=config).inspection.findings if finding.code == "QL303"
    )
    assert "rows of 192" in problem.message
    assert "2 bits in groups of 128" in problem.message
