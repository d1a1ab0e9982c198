"""Sizes before the fact, against what real quantizers wrote from the same shapes."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from quantlevels import BF16, FP16, FP32, INT4, INT8, QuantizationLevel, SizingError, UnknownLevelError, levels
from quantlevels.container import Tensor
from quantlevels.inspection.sizing.sizes import Fallback, idealized, plain_bytes, size
from quantlevels.inspection.sizing.targets import Target


def llama(*, hidden: int, inner: int, kv: int, vocab: int, layers: int) -> list[Tensor]:
    """The tensors of a Llama in BF16, shapes as ``transformers`` has them."""
    linear = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocab, hidden),
    }
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in linear.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{norm}.weight"] = (hidden,)
    return [Tensor(name, BF16, shape, 2 * math.prod(shape)) for name, shape in shapes.items()]


LLAMA_8B = llama(hidden=4096, inner=14336, kv=1024, vocab=128256, layers=32)
SMALL = llama(hidden=128, inner=256, kv=64, vocab=256, layers=2)
KEEP = (("lm_head", BF16), ("*embed*", BF16))


def test_llama_3_1_8b_in_w4a16() -> None:
    """The size of RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16 without its stored biases."""
    sizing = size(LLAMA_8B, Target(level=INT4, group_size=128, scheme="compressed-tensors", keep=KEEP))
    assert sizing.parameters == 8_030_261_248
    assert sizing.nbytes == 5_700_595_200
    int4, bf16 = sizing.levels
    assert (int4.level, int4.group_size, int4.parameters, int4.weights) == (INT4, 128, 6_979_321_856, 224)
    assert int4.nbytes == Fraction(33, 8) * int4.parameters / 8 + 224 * 16
    assert (bf16.level, bf16.nbytes) == (BF16, 2_101_878_784)


@pytest.mark.parametrize(("level", "scheme"), [(INT8, "compressed-tensors"), (INT4, "int-quantized")])
def test_codes_in_a_byte_each(level: QuantizationLevel, scheme: str) -> None:
    assert size(LLAMA_8B, Target(level=level, group_size=128, scheme=scheme)).nbytes == 9_190_252_544


#: What real quantizers wrote from a Llama of the small shapes: the sum of the tensors' bytes in their headers.
WRITTEN = [
    # llmcompressor 0.14.0.1, compressed-tensors 0.19.0
    ("Int4", "compressed-tensors", {"group_size": 128}, 284_640),
    ("Int4", "compressed-tensors", {"group_size": 128, "zero_point": "Int4"}, 285_792),
    ("Int2", "compressed-tensors", {"group_size": 32, "zero_point": "Int2"}, 227_040),
    ("Int4", "compressed-tensors", {"group_size": 128, "keep": (("lm_head", "Int4"),)}, 236_016),
    ("Int8", "compressed-tensors", {}, 431_360),
    ("Int4", "int-quantized", {"group_size": 128}, 431_872),
    ("Float8E4M3FN", "compressed-tensors", {}, 431_360),
    ("NVFP4", "compressed-tensors", {}, 298_296),
    ("MXFP4", "compressed-tensors", {}, 289_024),
    # auto-round 0.16.1
    ("Int4", "gptq", {"group_size": 128}, 293_760),
    ("Int2", "gptq", {"group_size": 32}, 235_008),
    ("Int4", "awq", {"group_size": 128}, 285_568),
    # mlx-lm 0.32.2
    ("Int2", "mlx", {"group_size": 32}, 136_448),
    ("Int3", "mlx", {}, 158_976),
    ("Int4", "mlx", {}, 204_032),
    ("Int8", "mlx", {}, 384_256),
    ("MXFP4", "mlx", {}, 192_768),
    ("MXFP8_E4M3", "mlx", {}, 372_992),
    # transformers 5.23.0 with bitsandbytes 0.50.2
    ("NF4", "bitsandbytes", {}, 300_252),
    ("BNB_FP4", "bitsandbytes", {}, 300_252),
    ("Int8", "bitsandbytes", {}, 435_470),
    # transformers 5.23.0, nvidia-modelopt 0.47.0, optimum-quanto 0.2.7
    ("Float8E4M3FN", "fp8", {}, 427_344),
    ("Float8E4M3FN", "fbgemm_fp8", {}, 435_456),
    ("NVFP4", "modelopt", {}, 298_352),
    ("Int4", "quanto", {}, 289_080),
    ("Int8", "quanto", {}, 431_416),
    # torch: a cast
    ("Float16", None, {}, 722_176),
]


@pytest.mark.parametrize(("name", "scheme", "options", "written"), WRITTEN)
def test_what_real_quantizers_wrote(name: str, scheme: str | None, options: dict[str, Any], written: int) -> None:
    if "zero_point" in options:
        options = {**options, "zero_point": levels[options["zero_point"]]}
    keep = tuple((glob, levels[level]) for glob, level in options.get("keep", ()))
    target = Target(level=levels[name], scheme=scheme, **{**options, "keep": keep})
    assert size(SMALL, target).nbytes == written


def qwen(*, hidden: int, inner: int, tied: bool = False) -> list[Tensor]:
    """Two layers of Qwen2 with biases, as the checkpoints in ``data/schemes`` are made from."""
    tensors = llama(hidden=hidden, inner=inner, kv=hidden // 2, vocab=96, layers=2)
    biases = [
        tensor._replace(name=tensor.name.replace("weight", "bias"), shape=tensor.shape[:1], nbytes=2 * tensor.shape[0])
        for tensor in tensors
        if tensor.name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))
    ]
    return [tensor for tensor in tensors if not (tied and tensor.name == "lm_head.weight")] + biases


def qwen_moe(*, fused: bool) -> list[Tensor]:
    """Two layers of Qwen3-MoE with four experts each, one by one or all in one tensor."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (96, 128),
        "model.norm.weight": (128,),
        "lm_head.weight": (96, 128),
    }
    for layer in ("model.layers.0", "model.layers.1"):
        shapes |= {
            f"{layer}.self_attn.{name}_proj.weight": (rows, 128)
            for name, rows in zip("qkvo", (128, 64, 64, 128), strict=True)
        }
        shapes |= {f"{layer}.self_attn.{name}_norm.weight": (32,) for name in "qk"}
        shapes |= {f"{layer}.{name}_layernorm.weight": (128,) for name in ("input", "post_attention")}
        shapes[f"{layer}.mlp.gate.weight"] = (4, 128)
        experts = f"{layer}.mlp.experts"
        if fused:
            shapes |= {f"{experts}.gate_up_proj": (4, 128, 128), f"{experts}.down_proj": (4, 128, 64)}
        else:
            shapes |= {f"{experts}.{n}.{name}_proj.weight": (64, 128) for n in range(4) for name in ("gate", "up")}
            shapes |= {f"{experts}.{n}.down_proj.weight": (128, 64) for n in range(4)}
    return [Tensor(name, BF16, shape, 2 * math.prod(shape)) for name, shape in shapes.items()]


EXPERTS = {"one by one": qwen_moe(fused=False), "fused": qwen_moe(fused=True)}
O_PROJ, GATE = (("*.o_proj", INT8),), (("*gate", INT8),)
#: checkpoint in ``data/schemes`` → what it was made from and what it is
FIXTURES: dict[str, tuple[list[list[Tensor]], Target, int]] = {
    "auto_round_experts_gptq": ([*EXPERTS.values()], Target(level=INT4, scheme="gptq", group_size=32), 0),
    # its own format has no g_idx
    "auto_round_mixed": (
        [qwen(hidden=128, inner=192)],
        Target(level=INT4, scheme="gptq", group_size=64, keep=O_PROJ),
        -4 * 2 * (6 * 128 + 192),
    ),
    "bitsandbytes_fp4_in_bf16": (
        [qwen(hidden=128, inner=192, tied=True)],
        Target(level=levels["BNB_FP4"], scheme="bitsandbytes"),
        0,
    ),
    "bitsandbytes_int8": ([qwen(hidden=136, inner=200)], Target(level=INT8, scheme="bitsandbytes"), 0),
    "compressed_tensors_experts_w4a16": (
        [*EXPERTS.values()],
        Target(level=INT4, scheme="compressed-tensors", group_size=32),
        0,
    ),
    "compressed_tensors_nvfp4a16": (
        [qwen(hidden=128, inner=192, tied=True)],
        Target(level=levels["NVFP4"], scheme="compressed-tensors"),
        0,
    ),
    "compressed_tensors_w3_asymmetric_rows": (
        [qwen(hidden=160, inner=192)],
        Target(level=levels["Int3"], scheme="compressed-tensors", zero_point=levels["Int3"]),
        0,
    ),
    "compressed_tensors_w4a8": (
        [qwen(hidden=128, inner=192)],
        Target(level=INT4, scheme="int-quantized", group_size=64),
        0,
    ),
    "mlx_5bit": ([qwen(hidden=128, inner=192)], Target(level=levels["Int5"], scheme="mlx", group_size=32), 0),
    "mlx_experts_4bit": ([*EXPERTS.values()], Target(level=INT4, scheme="mlx", keep=GATE), 0),
    "mlx_nvfp4": ([qwen(hidden=128, inner=192, tied=True)], Target(level=levels["NVFP4"], scheme="mlx"), 0),
    # scales of the cache stand in it too
    "modelopt_fp8_cache": (
        [qwen(hidden=136, inner=200)],
        Target(level=levels["Float8E4M3FN"], scheme="modelopt"),
        4 * 4,
    ),
    "modelopt_nvfp4_experts": ([*EXPERTS.values()], Target(level=levels["NVFP4"], scheme="modelopt"), 0),
    "quanto_qfloat8": ([qwen(hidden=136, inner=200)], Target(level=levels["Float8E4M3FN"], scheme="quanto"), 0),
    "quanto_qint2": ([qwen(hidden=128, inner=192)], Target(level=levels["Int2"], scheme="quanto"), 0),
    "quanto_qint4": ([qwen(hidden=160, inner=192)], Target(level=INT4, scheme="quanto"), 0),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_what_real_quantizers_made_of_other_models(name: str) -> None:
    models, target, beside = FIXTURES[name]
    header = json.loads((Path(__file__).parent / "data/schemes" / name / "header.json").read_text())
    written = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    assert [size(tensors, target).nbytes + beside for tensors in models] == [written] * len(models)


@pytest.mark.parametrize(
    "name", ["output", "token_embd", "blk.0.ffn_gate_inp", "transformer.wte", "x.mlp.gate", "lm_head"]
)
def test_only_linear_layers_are_quantized_whatever_names_them(name: str) -> None:
    tensors = [Tensor(f"{name}.weight", BF16, (64, 128), 16384)]
    for scheme in ("compressed-tensors", "gptq", "awq", "bitsandbytes", "quanto"):
        assert (
            size(tensors, Target(level=levels["NF4"] if scheme == "bitsandbytes" else INT4, scheme=scheme)).nbytes
            == 16384
        )


def test_masks_and_positions_are_not_weights() -> None:
    buffers = [
        Tensor("embeddings.position_ids", levels["Int64"], (1, 512), 4096),
        Tensor("h.0.attn.bias", levels["Bool"], (1, 1, 64, 64), 4096),
    ]
    for scheme, level in ((None, INT4), ("gptq", INT4), ("gguf", levels["Q4_0"])):
        sizing = size(buffers, Target(level=level, scheme=scheme, keep=(("*", INT8),)))
        assert (sizing.nbytes, sizing.parameters) == (8192, 0)


@pytest.mark.parametrize(
    ("name", "nbytes"),
    [
        ("blk.0.ffn_gate_inp.weight", 4 * 8 * 64),
        ("model.layers.0.conv.conv.weight", 4 * 8 * 64),
        ("per_layer_model_proj.weight", 2 * 8 * 64),
        ("blk.0.laurel_l.weight", 2 * 8 * 64),
        ("blk.0.ffn_up.weight", 8 * 2 * 18),
    ],
)
def test_what_llama_cpp_does_not_quantize(name: str, nbytes: int) -> None:
    assert size([Tensor(name, BF16, (8, 64), 1024)], Target(level=levels["Q4_0"], scheme="gguf")).nbytes == nbytes


#: A Llama as GGUF names it, its shapes, and what llama.cpp's llama_model_quantize wrote of it at each type.
DENSE = {
    "output.weight": (256, 256),
    "output_norm.weight": (256,),
    "token_embd.weight": (256, 256),
    "blk.0.attn_k.weight": (64, 256),
    "blk.0.attn_norm.weight": (256,),
    "blk.0.attn_output.weight": (256, 256),
    "blk.0.attn_q.weight": (256, 256),
    "blk.0.attn_v.weight": (64, 256),
    "blk.0.ffn_down.weight": (256, 256),
    "blk.0.ffn_gate.weight": (256, 256),
    "blk.0.ffn_norm.weight": (256,),
    "blk.0.ffn_up.weight": (256, 256),
}
HEAD = ("output", "Q6_K")
QUANTIZED = [
    ("Q4_K", (), 279_552),  # with --pure
    ("Q8_0", (), 525_312),
    ("Q6_K", (), 406_272),
    ("Q4_0", (HEAD,), 296_448),
    ("Q5_0", (HEAD,), 349_696),
    ("Q4_K", (HEAD, ("*attn_v", "Q5_K")), 298_496),  # Q4_K_S
    ("Q4_K", (HEAD, ("*attn_v", "Q6_K"), ("*ffn_down", "Q6_K")), 317_568),  # Q4_K_M
    ("IQ4_NL", (HEAD, ("*attn_v", "Q5_K")), 298_496),
    ("IQ4_XS", (HEAD, ("*attn_v", "Q5_K")), 285_696),
    ("TQ2_0", (HEAD, ("token_embd", "Q4_K")), 186_624),
]


@pytest.mark.parametrize(("name", "keep", "written"), QUANTIZED)
def test_what_llama_cpp_wrote(name: str, keep: tuple[tuple[str, str], ...], written: int) -> None:
    tensors = [Tensor(tensor, FP16, shape, 2 * math.prod(shape)) for tensor, shape in DENSE.items()]
    kept = tuple((glob, levels[level]) for glob, level in keep)
    assert size(tensors, Target(level=levels[name], scheme="gguf", keep=kept)).nbytes == written


#: The same model, by the recipes that llama.cpp's llama_model_quantize was asked for.
RECIPES_WRITTEN = {
    "Q4_K_S": 298_496,
    "Q4_K_M": 317_568,
    "q4_k": 317_568,
    "Q8_0": 525_312,
    "Q6_K": 406_272,
    "Q4_0": 296_448,
    "Q5_0": 349_696,
    "IQ4_NL": 298_496,
    "IQ4_XS": 285_696,
    "TQ2_0": 186_624,
}


@pytest.mark.parametrize("recipe", RECIPES_WRITTEN)
def test_recipes_are_what_llama_cpp_wrote(recipe: str) -> None:
    tensors = [Tensor(tensor, FP16, shape, 2 * math.prod(shape)) for tensor, shape in DENSE.items()]
    target = Target.of_recipe(recipe)
    assert size(tensors, target).nbytes == RECIPES_WRITTEN[recipe]


def test_a_recipe_maps_names_of_transformers_to_llama_cpp() -> None:
    shapes = {"blk": {0: 4, 1: 4, 2: 4, 3: 4, 4: 4, 5: 4, 6: 4, 7: 4}}
    gguf, transformers = [], []
    for layer in shapes["blk"]:
        for there, here, shape in (
            ("attn_q", "self_attn.q_proj", (512, 512)),
            ("attn_k", "self_attn.k_proj", (128, 512)),
            ("attn_v", "self_attn.v_proj", (128, 512)),
            ("attn_output", "self_attn.o_proj", (512, 512)),
            ("ffn_down", "mlp.down_proj", (512, 768)),
            ("ffn_up", "mlp.up_proj", (768, 512)),
        ):
            gguf.append(Tensor(f"blk.{layer}.{there}.weight", FP16, shape, 2 * math.prod(shape)))
            transformers.append(Tensor(f"model.layers.{layer}.{here}.weight", FP16, shape, 2 * math.prod(shape)))
    for recipe in ("Q2_K", "Q3_K_M", "Q3_K_L", "Q4_K_M", "Q5_K_M", "IQ3_XS", "IQ2_M", "IQ1_S"):
        sizings = [size(tensors, Target.of_recipe(recipe)) for tensors in (gguf, transformers)]
        assert sizings[0].levels == sizings[1].levels
        assert len(sizings[0].levels) > 1


def test_an_unknown_recipe_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownLevelError, match="'Q4_K_M'"):
        Target.of_recipe("Q4_K_N")


def test_rows_without_whole_blocks_are_as_llama_cpp_wrote_them() -> None:
    """A Q4_K_M of rows of 320: most of it is Q5_0 and Q8_0, and only what is 512 wide is as it should."""
    shapes = {"output.weight": (256, 320), "output_norm.weight": (320,), "token_embd.weight": (256, 320)}
    shapes |= {"blk.0.attn_norm.weight": (320,), "blk.0.ffn_norm.weight": (320,)}
    shapes |= {"blk.0.attn_k.weight": (64, 320), "blk.0.attn_v.weight": (64, 320)}
    shapes |= {"blk.0.attn_q.weight": (320, 320), "blk.0.attn_output.weight": (320, 320)}
    shapes |= {
        "blk.0.ffn_gate.weight": (512, 320),
        "blk.0.ffn_up.weight": (512, 320),
        "blk.0.ffn_down.weight": (320, 512),
    }
    tensors = [Tensor(name, FP16, shape, 2 * math.prod(shape)) for name, shape in shapes.items()]
    keep = tuple((glob, levels["Q6_K"]) for glob in ("output", "*attn_v", "*ffn_down"))
    sizing = size(tensors, Target(level=levels["Q4_K"], scheme="gguf", keep=keep))
    assert sizing.nbytes == 683_520
    assert len(sizing.fallbacks) == 8


def test_shapes_of_packed_codes_are_refused() -> None:
    packed = [Tensor("model.layers.0.mlp.up_proj.qweight", levels["Int32"], (16, 128), 8192)]
    with pytest.raises(SizingError, match="already quantized"):
        size(packed, Target(level=INT4, scheme="gptq"))


@pytest.mark.parametrize(
    ("wanted", "columns", "given"),
    [
        ("Q4_K", 320, "Q5_0"),
        ("Q5_K", 320, "Q5_1"),
        ("Q6_K", 320, "Q8_0"),
        ("Q2_K", 320, "Q4_0"),
        ("Q3_K", 320, "Q4_0"),
        ("TQ2_0", 320, "Q4_0"),
        ("IQ4_XS", 320, "IQ4_NL"),
        ("IQ1_S", 320, "IQ4_NL"),
        ("Q4_K", 100, "Float16"),
    ],
)
def test_rows_without_whole_blocks_get_the_fallback_of_llama_cpp(wanted: str, columns: int, given: str) -> None:
    tensor = Tensor("blk.0.ffn_up.weight", BF16, (8, columns), 16 * columns)
    sizing = size([tensor], Target(level=levels[wanted], scheme="gguf"))
    assert sizing.fallbacks == (Fallback(tensor.name, columns, levels[wanted], levels[given]),)
    assert sizing.nbytes == levels[given].nbytes((8, columns))


@pytest.mark.parametrize(("name", "columns"), [("Q8_0", 100), ("NVFP4", 48)])
def test_a_ggml_type_without_fallback_is_refused(name: str, columns: int) -> None:
    tensor = Tensor("blk.0.ffn_up.weight", BF16, (8, columns), 16 * columns)
    with pytest.raises(SizingError, match=rf"blk\.0\.ffn_up\.weight: rows of {columns}"):
        size([tensor], Target(level=levels[name], scheme="gguf"))


def test_mlx_leaves_ragged_rows_and_says_so() -> None:
    tensor = Tensor("model.layers.0.mlp.up_proj.weight", BF16, (8, 100), 1600)
    sizing = size([tensor], Target(level=INT4, scheme="mlx"))
    assert (sizing.nbytes, sizing.fallbacks[0].given) == (1600, BF16)


def test_compressed_tensors_refuses_ragged_rows() -> None:
    with pytest.raises(SizingError, match="not a multiple of 128"):
        size(
            [Tensor("up_proj.weight", BF16, (8, 100), 1600)],
            Target(level=INT4, group_size=128, scheme="compressed-tensors"),
        )


def test_plain_rows_are_padded_to_whole_bytes() -> None:
    tensor = Tensor("a.weight", FP32, (3, 5), 60)
    assert size([tensor], Target(level=INT4)).nbytes == 3 * 3
    assert size([tensor], Target(level=INT4, group_size=4, zero_point=INT4)).nbytes == 3 * (3 + 4 + 1)


def test_a_cast_takes_norms_and_a_quantizer_leaves_them() -> None:
    norm = Tensor("model.norm.weight", FP32, (128,), 512)
    assert size([norm], Target(level=FP16)).nbytes == 256
    assert size([norm], Target(level=INT4)).nbytes == 512


def test_the_first_glob_that_matches_decides() -> None:
    keep = (("lm_head", FP32), ("*", INT8))
    sizing = size(SMALL, Target(level=INT4, keep=keep))
    assert {sized.level: sized.weights for sized in sizing.levels} == {FP32: 1, INT8: 20}


def test_a_count_gives_the_idealized_size() -> None:
    sizing = idealized(70_600_000_000, Target(level=INT4, group_size=128))
    assert (sizing.exact, sizing.nbytes) == (False, 36_403_125_000)
    with pytest.raises(SizingError, match="shapes"):
        idealized(1000, Target(level=INT4, scheme="gptq"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            Target(level=levels["NF4"], scheme="gptq"),
            "gptq does not store NF4; it stores Int2, Int3, Int4, Int5, Int6, Int7, Int8",
        ),
        (Target(level=INT4, scheme="gguf"), "gguf has no type for Int4"),
        (Target(level=levels["Q4_K"], scheme="gguf", keep=(("lm_head", INT4),)), "gguf has no type for Int4"),
        (Target(level=levels["Q4_K"], group_size=64, scheme="gguf"), "no groups"),
        (Target(level=levels["Q4_K"], group_size=64), "no groups"),
        (Target(level=INT4, zero_point=INT4, scheme="gptq"), "no choice of a zero point"),
        (Target(level=INT4, zero_point=INT4), "needs a group size"),
    ],
)
def test_what_cannot_be_made_is_refused(target: Target, reason: str) -> None:
    with pytest.raises(SizingError, match=reason):
        size(SMALL, target)


def test_a_misspelt_scheme_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownLevelError, match="did you mean 'compressed-tensors'"):
        size(SMALL, Target(level=INT4, scheme="compresed-tensors"))


@pytest.mark.parametrize("name", ["None", "BFloat16", "Int4", "Q4_K", "NVFP4"])
def test_tensors_alike_are_reckoned_once_and_add_up(name: str) -> None:
    target = Target(level=levels[name])
    assert plain_bytes(SMALL)(target) == size(SMALL, target).nbytes
