"""Each finding about declared and stored levels: where it is due, and where it would be a false alarm."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pytest

from quantlevels import FP16, INT4, INT8, VerificationError, inspect, verify

if TYPE_CHECKING:
    from .conftest import Described, Look, Write

    Tensors = dict[str, Described]

GPTQ: Final = {"quant_method": "gptq", "bits": 4, "group_size": 128}
MLX: Final = {"bits": 4, "group_size": 64}
REST: Final[Tensors] = {
    "model.embed_tokens.weight": ("BF16", [96, 128]),
    "model.layers.0.input_layernorm.weight": ("BF16", [128]),
    "model.layers.0.mlp.gate.weight": ("BF16", [4, 128]),
    "vision_tower.patch_embed.proj.weight": ("BF16", [64, 3, 14, 14]),
    "lm_head.weight": ("BF16", [96, 128]),
}


def gptq(name: str, bits: int = 4) -> Tensors:
    return {
        f"{name}.qweight": ("I32", [256 * bits // 32, 512]),
        f"{name}.qzeros": ("I32", [2, 512 * bits // 32]),
        f"{name}.scales": ("F16", [2, 512]),
    }


def compressed(**weights: Any) -> dict[str, Any]:
    args = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, **weights}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"g": {"targets": ["Linear"], "weights": args}},
        "ignore": ["lm_head", "re:.*gate$", "re:vision_tower.*"],
    }


def group(bits: int, target: str) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": 128}
    return {"targets": [target], "weights": weights}


def packed(name: str, bits: int = 4) -> Tensors:
    return {
        f"{name}.weight_packed": ("I32", [256, 512 * bits // 32]),
        f"{name}.weight_scale": ("BF16", [256, 4]),
        f"{name}.weight_shape": ("I64", [2]),
    }


#: where the layers of a text model are, from one version of a model to the next
WRAPPED: Final = ("model.layers", "model.language_model.layers", "language_model.model.layers", "thinker.model.layers")
FP8: Final[Tensors] = {"model.up.weight": ("F8_E4M3", [256, 512]), "model.up.weight_scale": ("BF16", [256, 1])}
INT8_CODES: Final[Tensors] = {"model.up.weight": ("I8", [256, 512]), "model.up.weight_scale": ("BF16", [256, 4])}
PLAIN: Final[Tensors] = {"model.up.weight": ("BF16", [256, 512])}
LORA: Final[Tensors] = {"up.lora_A.weight": ("F16", [8, 512]), "up.lora_B.weight": ("F16", [256, 8])}
MLX_UP: Final[Tensors] = {
    "model.up.weight": ("U32", [256, 64]),
    "model.up.scales": ("BF16", [256, 8]),
    "model.up.biases": ("BF16", [256, 8]),
}

#: a text model of two layers, and the config of its shapes
LAYERS: Final[Tensors] = {
    "model.embed_tokens.weight": ("BF16", [96, 64]),
    **{f"model.layers.{number}.input_layernorm.weight": ("BF16", [64]) for number in range(2)},
    **{f"model.layers.{number}.self_attn.q_proj.weight": ("BF16", [128, 64]) for number in range(2)},
    **{f"model.layers.{number}.mlp.down_proj.weight": ("BF16", [64, 256]) for number in range(2)},
}
SHAPE: Final = {"dtype": "bfloat16", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 96}

#: what it is → tensors, what ``write`` takes, the findings
CASES: Final[dict[str, tuple[Tensors, dict[str, Any], list[str]]]] = {
    "QL101: int4 in bytes": (INT8_CODES, {"quantization": compressed()}, ["QL101"]),
    "QL101: 8-bit GPTQ under a config of 4": (gptq("model.up", 8), {"quantization": GPTQ}, ["QL101"]),
    "QL101 not: 3-bit HQQ in padded words": (
        {"up.W_q": ("I32", [2, 64]), "up.scale": ("F16", [11, 1]), "up.zero": ("F16", [11, 1])},
        {"quantization": {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3}}}},
        [],
    ),
    "QL101 not: int8 in bytes": (INT8_CODES, {"quantization": compressed(num_bits=8)}, []),
    "QL101 not: EXL3 above its average": (
        {"q.trellis": ("I16", [16, 16, 96]), "q.suh": ("F16", [256]), "q.svh": ("F16", [256])},
        {"quantization": {"quant_method": "exl3", "bits": 3.0, "head_bits": 6}},
        [],
    ),
    "QL101 not: FP8 beside BF16": (
        REST | FP8,
        {"quantization": {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]}},
        [],
    ),
    **{
        f"QL101 not: other bits for {declared}, stored as {name}": (
            packed(f"{name}.0.up", 8) | packed(f"{name}.1.up"),
            {
                "quantization": compressed()
                | {"config_groups": {"a": group(8, f"{declared}.0.up"), "b": group(4, "Linear")}}
            },
            [],
        )
        for declared in WRAPPED
        for name in WRAPPED
    },
    "QL101: other bits for the layers of another part": (
        packed("draft.layers.0.up", 8) | packed("model.layers.1.up"),
        {
            "quantization": compressed()
            | {"config_groups": {"a": group(8, "model.layers.0.up"), "b": group(4, "Linear")}}
        },
        ["QL101"],
    ),
    "QL102: 3-bit GPTQ under a config of 4": (gptq("model.up", 3), {"quantization": GPTQ}, ["QL102"]),
    **{
        f"QL102: {bits}-bit quanto under a config of {declared}": (
            {
                "up.weight._data._data": ("U8", [1024 * bits // 8, 128]),
                "up.weight._scale": ("BF16", [1024, 1]),
                "up.weight._shift": ("BF16", [1024, 1]),
            },
            {"quantization": {"quant_method": "quanto", "weights": f"int{declared}"}},
            ["QL102"],
        )
        for declared, bits in ((8, 4), (8, 2), (4, 2))
    },
    "QL102: NVFP4 under a config of FP8": (
        {
            "model.up.weight": ("U8", [256, 256]),
            "model.up.weight_scale": ("F8_E4M3", [256, 32]),
            "model.up.weight_scale_2": ("F32", []),
        },
        {"quantization": {"quant_method": "modelopt", "quant_algo": "FP8"}},
        ["QL102"],
    ),
    "QL101: 4-bit quanto under a map of 2": (
        {"model.up.weight._data._data": ("U8", [64, 128]), "model.up.weight._scale": ("BF16", [128, 1])},
        {"files": {"quanto_qmap.json": {"model.up": {"weights": "qint2", "activations": "none"}}}},
        ["QL101"],
    ),
    "QL101: 4-bit HQQ under a config of 2": (
        {"model.up.W_q": ("U8", [64, 128]), "model.up.scale": ("F16", [128, 1]), "model.up.zero": ("F16", [128, 1])},
        {
            "quantization": {
                "quant_method": "hqq",
                "quant_config": {"weight_quant_params": {"nbits": 2, "group_size": 128}},
            }
        },
        ["QL101"],
    ),
    "QL102 not: other bits for one module": (
        gptq("model.up", 3) | gptq("model.down"),
        {"quantization": GPTQ | {"dynamic": {"+:.*up": {"bits": 3}}}},
        [],
    ),
    "QL103: a stale config": (REST | PLAIN, {"quantization": GPTQ}, ["QL103"]),
    "QL103 not: quantized on loading": (REST | PLAIN, {"quantization": {"quant_method": "nvfp4"}}, []),
    "QL103 not: a layout that cannot be read": (
        {"model.up.weight": ("U8", [256, 100]), "model.up.weight_scale": ("F32", [256, 1])},
        {"quantization": {"quant_method": "modelopt"}},
        ["QL303"],
    ),
    "QL104: codes without a config": (REST | gptq("model.up"), {"config": {"dtype": "bfloat16"}}, ["QL104"]),
    "QL104 not: plain weights": (REST | PLAIN, {"config": {"dtype": "bfloat16"}}, []),
    "QL104 not: scales of a cache alone": (REST | PLAIN | {"model.k_scale": ("F32", [])}, {}, []),
    "QL105: BF16 that is FP32": (
        {"up.weight": ("F32", [64, 64])},
        {"config": {"torch_dtype": "bfloat16"}},
        ["QL105"],
    ),
    "QL105: BF16 that is half FP16, half FP32": (
        {"up.weight": ("F32", [64, 64]), "down.weight": ("F16", [64, 64]), "norm.weight": ("BF16", [64, 64])},
        {"config": {"torch_dtype": "bfloat16"}},
        ["QL105"],
    ),
    "QL105 not: norms in FP32": (
        REST | {"model.norm.weight": ("F32", [128])},
        {"config": {"torch_dtype": "bfloat16"}},
        [],
    ),
    "QL105 not: AWQ in FP16 under BF16": (
        {name: ("F16", shape) for name, (_, shape) in REST.items()} | gptq("model.up"),
        {"quantization": GPTQ, "config": {"torch_dtype": "bfloat16"}},
        [],
    ),
    "QL107: packed elements for parameters": (
        gptq("model.up"),
        {"quantization": GPTQ, "metadata": {"total_parameters": "17664"}},
        ["QL107"],
    ),
    "QL107 not: the truth": (
        gptq("model.up"),
        {"quantization": GPTQ, "metadata": {"total_parameters": "131072"}},
        [],
    ),
    "QL108: a head that was to be left alone": (
        gptq("lm_head"),
        {"quantization": GPTQ | {"modules_to_not_convert": ["lm_head"]}},
        ["QL108"],
    ),
    "QL108 not: the router and its experts": (
        REST | gptq("model.layers.0.mlp.gate_proj"),
        {"quantization": GPTQ | {"modules_to_not_convert": ["mlp.gate", "lm_head"]}},
        [],
    ),
    "QL109: a module with bits of its own that has none": (
        MLX_UP | {"model.head.weight": ("BF16", [256, 512])},
        {"config": {"quantization": MLX | {"model.head": {"bits": 8, "group_size": 64}}}},
        ["QL109"],
    ),
    "QL109 not: a module that is said to be left alone": (
        MLX_UP | {"model.head.weight": ("BF16", [256, 512])},
        {"config": {"quantization": MLX | {"model.head": False}}},
        [],
    ),
    "QL109: a module of another layer whose siblings are quantized": (
        packed("model.layers.0.up_proj") | {"model.layers.1.up_proj.weight": ("BF16", [256, 512])},
        {"quantization": compressed()},
        ["QL109"],
    ),
    "QL109: a layer that predicts tokens ahead, which nothing excludes": (
        packed("model.layers.0.up_proj") | {"mtp.layers.0.up_proj.weight": ("BF16", [256, 512])},
        {"quantization": compressed()},
        ["QL109"],
    ),
    "QL109 not: the same, excluded": (
        packed("model.layers.0.up_proj") | {"mtp.layers.0.up_proj.weight": ("BF16", [256, 512])},
        {"quantization": {**compressed(), "ignore": ["re:mtp.*"]}},
        [],
    ),
    "QL109 not: another model beside the text model": (
        packed("model.layers.0.q_proj") | {"visual.blocks.0.q_proj.weight": ("BF16", [256, 512])},
        {"quantization": compressed()},
        [],
    ),
    "QL111: E5M2 under a config of E4M3": (
        {"up.weight": ("F8_E5M2", [256, 512]), "up.weight_scale": ("BF16", [256, 1])},
        {"quantization": compressed(num_bits=8, type="float", strategy="channel", group_size=None)},
        ["QL111"],
    ),
    "QL111: INT8 under a config of FP8": (
        {"up.weight": ("I8", [256, 512]), "up.weight_scale": ("BF16", [256, 1])},
        {"quantization": compressed(num_bits=8, type="float", strategy="channel", group_size=None)},
        ["QL111"],
    ),
    "QL111 not: FP8 under a config of FP8": (
        {"up.weight": ("F8_E4M3", [256, 512]), "up.weight_scale": ("BF16", [256, 1])},
        {"quantization": compressed(num_bits=8, type="float", strategy="channel", group_size=None)},
        [],
    ),
    "QL112: groups of 64 declared, 128 stored": (
        gptq("model.up"),
        {"quantization": GPTQ | {"group_size": 64}},
        ["QL112"],
    ),
    "QL112: one layer in narrower groups": (
        gptq("model.layers.0.up")
        | {**gptq("model.layers.1.up"), "model.layers.1.up.scales": ("F16", [8, 512])}
        | {"model.layers.1.up.qzeros": ("I32", [8, 64])},
        {"quantization": GPTQ},
        ["QL112"],
    ),
    "QL112: zero points under a symmetric config": (
        packed("model.up") | {"model.up.weight_zero_point": ("I32", [32, 4])},
        {"quantization": compressed(symmetric=True)},
        ["QL112"],
    ),
    "QL113: the sidecar says 8 bits": (
        gptq("model.up"),
        {"quantization": GPTQ, "files": {"quantize_config.json": {"bits": 8, "group_size": 128, "desc_act": False}}},
        ["QL113"],
    ),
    "QL113 not: the sidecar agrees": (
        gptq("model.up"),
        {"quantization": GPTQ, "files": {"quantize_config.json": {"bits": 4, "group_size": 128, "desc_act": False}}},
        [],
    ),
    "QL115: a layer is missing": (LAYERS, {"config": SHAPE | {"num_hidden_layers": 3}}, ["QL115"]),
    "QL115: a gap in the layers": (
        LAYERS | {"model.layers.3.input_layernorm.weight": ("BF16", [64])},
        {"config": SHAPE},
        ["QL115"],
    ),
    "QL115: fewer rows than words": (LAYERS, {"config": SHAPE | {"vocab_size": 97}}, ["QL115"]),
    "QL115: another width": (LAYERS, {"config": SHAPE | {"hidden_size": 32}}, ["QL115"]),
    "QL115: one layer of another model": (
        LAYERS | {"model.layers.1.self_attn.q_proj.weight": ("BF16", [128, 32])},
        {"config": SHAPE},
        ["QL115"],
    ),
    "QL115: quantized projections of another width": (
        gptq("model.layers.0.q_proj") | gptq("model.layers.1.q_proj"),
        {"quantization": GPTQ, "config": {"hidden_size": 512}},
        ["QL115"],
    ),
    "QL115 not: what the config says": (LAYERS, {"config": SHAPE}, []),
    "QL115 not: an embedding that is narrower than the model": (
        LAYERS | {"model.embed_tokens.weight": ("BF16", [96, 32])},
        {"config": SHAPE | {"word_embed_proj_dim": 32}},
        [],
    ),
    "QL115 not: a layer more, and padded words": (
        LAYERS,
        {"config": SHAPE | {"num_hidden_layers": 1, "vocab_size": 90}},
        [],
    ),
    "QL115 not: the halves of an encoder-decoder": (
        LAYERS,
        {"config": SHAPE | {"num_hidden_layers": 4, "decoder_layers": 2}},
        [],
    ),
    "QL115 not: layers of an image encoder": (
        LAYERS | {"vision_tower.encoder.layers.5.q_proj.weight": ("BF16", [32, 32])},
        {"config": SHAPE},
        [],
    ),
    "QL115 not: shared attention over two inputs": (
        LAYERS | {"model.layers.1.shared.q_proj.weight": ("BF16", [64, 128])},
        {"config": SHAPE},
        [],
    ),
    "QL302: nobody's method": (REST | PLAIN, {"quantization": {"quant_method": "acme"}}, ["QL302"]),
    "QL303: MLX without a config": (MLX_UP, {}, ["QL303"]),
    "QL303: groups that do not tile a row": (
        {
            "q.qweight": ("I32", [20, 64]),
            "q.qzeros": ("I32", [3, 8]),
            "q.scales": ("F16", [3, 64]),
        },
        {},
        ["QL303"],
    ),
    "QL303 not: the same with its config": (
        {
            "q.qweight": ("I32", [40, 64]),
            "q.qzeros": ("I32", [3, 8]),
            "q.scales": ("F16", [3, 64]),
        },
        {"quantization": GPTQ},
        [],
    ),
    "QL401: an adapter": (LORA, {"files": {"adapter_config.json": {"peft_type": "LORA"}}}, ["QL401"]),
    "QL401: an adapter of other matrices": (
        LORA | {f"{name}.weight": ("F16", [8, 8]) for name in "abc"},
        {"files": {"adapter_config.json": {"peft_type": "LORA"}}, "name": "adapter_model.safetensors"},
        ["QL401"],
    ),
    "QL401 not: a model": (REST | PLAIN, {}, []),
    "QL401 not: a model whose adapter lies beside it": (
        REST | PLAIN,
        {"quantization": GPTQ, "files": {"adapter_config.json": {"peft_type": "LORA"}}},
        ["QL103"],
    ),
    "QL401 not: a model with an adapter inside": (REST | PLAIN | LORA, {"config": {"dtype": "bfloat16"}}, []),
    "QL401 not: a model with an adapter at each of its layers": (PLAIN | LORA, {"config": {"dtype": "bfloat16"}}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_found(name: str, look: Look) -> None:
    tensors, options, codes = CASES[name]
    assert look(tensors, **options).codes == codes


def test_modules_torn_by_missing_shards_are_not_ambiguous(write: Write) -> None:
    places = {name: f"model-0000{1 + (not name.endswith('weight'))}-of-00002.safetensors" for name in MLX_UP}
    files = {"model.safetensors.index.json": {"weight_map": places}}
    here = {name: tensor for name, tensor in MLX_UP.items() if "00001" in places[name]}
    folder = write(here, config={"quantization": MLX}, files=files, name="model-00001-of-00002.safetensors")
    assert [finding.code for finding in inspect(folder).findings] == ["QL201"]


def test_a_shard_that_is_ambiguous_alone_is_reported(write: Write) -> None:
    name = "model-00001-of-00002.safetensors"
    report = inspect(write(MLX_UP, name=name) / name)
    assert [finding.code for finding in report.findings if finding.severity == "error"] == ["QL303"]


def test_a_tied_head_is_no_lack(look: Look) -> None:
    found = look({"model.embed_tokens.weight": ("BF16", [96, 128])} | gptq("model.up"), GPTQ)
    assert (found.stored.parameters, found.codes) == (96 * 128 + 256 * 512, [])


def test_what_a_verification_expects(write: Write) -> None:
    folder = write(gptq("model.up"), GPTQ)
    assert verify(folder, level=INT4, max_bits_per_weight=5, parameters=256 * 512).findings == ()
    for code, expected in {
        "QL501": {"level": INT8},
        "QL502": {"max_bits_per_weight": 4},
        "QL503": {"parameters": 17},
    }.items():
        with pytest.raises(VerificationError) as refused:
            verify(folder, **expected)
        assert [finding.code for finding in refused.value.findings] == [code]
    exact = Fraction(8 * 68_096, 256 * 512)
    verify(folder, max_bits_per_weight=exact)
    with pytest.raises(VerificationError, match=": 1 bytes too many"):
        verify(folder, max_bits_per_weight=exact - Fraction(1, 10**9))
    verify(write(PLAIN | {"a.weight": ("F16", [1024, 1024])}), level=FP16)


def test_uncounted_weights_give_no_ratio_and_no_claim(write: Write) -> None:
    folder = write(REST | MLX_UP, metadata={"total_parameters": "262144"})
    report = inspect(folder)
    assert [finding.code for finding in report.findings] == ["QL303"]
    assert report.stored
    assert report.stored.parameters > 0
    assert (report.stored.parameters_known, report.stored.bits_per_weight) == (False, None)
    assert report.to_record()["stored"]["bits_per_weight"] is None
    with pytest.raises(VerificationError) as caught:
        verify(folder, level=INT4, max_bits_per_weight=100, parameters=262144)
    *_, level, bits, parameters = caught.value.findings
    assert level.message == "expected INT4, but not all weights can be counted"
    assert bits.message == "at most 100 bits are allowed, but not all weights can be counted"
    assert parameters.message == "expected 262,144 parameters, but not all weights can be counted"
