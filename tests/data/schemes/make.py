"""Make the checkpoints in this folder: tiny models with random weights, quantized by the real quantizers on a CPU.

    python make.py [NAME ...]

Of each checkpoint its configs are kept, and of its weights the header alone: data takes space and tells nothing.
``parameters`` in ``truth.json`` are those of the model before it was quantized, a tied weight once.

Made with torch 2.13.0, transformers 5.23.0, compressed-tensors 0.20.0, llmcompressor 0.14.0.1, bitsandbytes 0.50.2,
optimum-quanto 0.2.7, hqq 0.2.8.post1, torchao 0.18.0, mlx 0.32.4, mlx-lm 0.32.2, nvidia-modelopt 0.47.0,
auto-round 0.16.1, amd-quark 0.13; and, for some, transformers 5.17.0, for gptqmodel 7.7.0 transformers 5.24.0.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
VOCABULARY = 96

MAKERS: dict[str, Callable[[Path], int]] = {}


def maker(function: Callable[[Path], int]) -> Callable[[Path], int]:
    """Register a function that writes a checkpoint to a folder and tells the parameters of its model."""
    MAKERS[function.__name__] = function
    return function


def dense(hidden: int = 128, inner: int = 192, *, tied: bool = False) -> transformers.PreTrainedModel:
    """Two layers with biases at queries, keys and values."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        architectures=["Qwen2ForCausalLM"],
        tie_word_embeddings=tied,
    )
    return transformers.Qwen2ForCausalLM(config).to(torch.bfloat16).eval()


def experts(hidden: int = 128, inner: int = 64) -> transformers.PreTrainedModel:
    """Two layers of four experts each."""
    torch.manual_seed(0)
    config = transformers.Qwen3MoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * inner,
        moe_intermediate_size=inner,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=64,
        architectures=["Qwen3MoeForCausalLM"],
    )
    return transformers.Qwen3MoeForCausalLM(config).to(torch.bfloat16).eval()


def parameters(model: torch.nn.Module) -> int:
    """Weights of a model before it is quantized, tied ones once."""
    return sum(weight.numel() for weight in model.parameters())


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One that some quantizers ask for and none uses."""
    from tokenizers import Tokenizer, models

    words = {f"w{index}": index for index in range(VOCABULARY)}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")))


def written(model: transformers.PreTrainedModel, folder: Path) -> Path:
    """The model as it is, on disk, for quantizers that load it."""
    plain = folder / "plain"
    model.save_pretrained(plain)
    return plain


# ---- compressed-tensors


def _compressed(model: transformers.PreTrainedModel, folder: Path, scheme: object, **options: object) -> int:
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    count = parameters(model)
    model = transformers.AutoModelForCausalLM.from_pretrained(written(model, folder), dtype=torch.bfloat16)
    settings = {"targets": "Linear", "ignore": ["lm_head", "re:.*mlp.gate$"], **options}
    chosen = {"scheme": scheme} if isinstance(scheme, str) else {"config_groups": scheme}
    if not isinstance(scheme, str):
        del settings["targets"]
    oneshot(model=model, tokenizer=tokenizer(), recipe=[QuantizationModifier(**settings, **chosen)])
    model.save_pretrained(folder, save_compressed=True)
    return count


def _weights(bits: int, group: int | None, **more: object) -> dict[str, object]:
    strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    return {"num_bits": bits, "type": "int", "symmetric": True, **strategy, **more}


@maker
def compressed_tensors_experts_w4a16(folder: Path) -> int:
    return _compressed(experts(), folder, {"a": {"targets": ["Linear"], "weights": _weights(4, 32)}})


@maker
def compressed_tensors_w3_asymmetric_rows(folder: Path) -> int:
    weights = _weights(3, None, symmetric=False)
    return _compressed(dense(160, 192), folder, {"a": {"targets": ["Linear"], "weights": weights}})


@maker
def compressed_tensors_mixed(folder: Path) -> int:
    groups = {
        "mlp": {"targets": ["re:.*mlp.*"], "weights": _weights(4, 64)},
        "attention": {"targets": ["re:.*self_attn.*"], "weights": _weights(8, None)},
    }
    return _compressed(dense(), folder, groups)


@maker
def compressed_tensors_fp8_block(folder: Path) -> int:
    return _compressed(dense(136, 200), folder, "FP8_BLOCK")


@maker
def compressed_tensors_nvfp4a16(folder: Path) -> int:
    return _compressed(dense(tied=True), folder, "NVFP4A16")


@maker
def compressed_tensors_w4a8(folder: Path) -> int:
    weights = {"a": {"targets": ["Linear"], "weights": _weights(4, 64), "input_activations": {"dynamic": True}}}
    return _compressed(dense(), folder, weights)


# ---- bitsandbytes


def _loaded(model: transformers.PreTrainedModel, folder: Path, config: object) -> int:
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        written(model, folder), quantization_config=config, dtype=torch.bfloat16, device_map="cpu"
    )
    loaded.save_pretrained(folder)
    return parameters(model)


@maker
def bitsandbytes_nf4_twice(folder: Path) -> int:
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    return _loaded(dense(136, 200), folder, config)


@maker
def bitsandbytes_fp4_in_bf16(folder: Path) -> int:
    config = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_storage=torch.bfloat16)
    return _loaded(dense(tied=True), folder, config)


@maker
def bitsandbytes_int8(folder: Path) -> int:
    return _loaded(dense(136, 200), folder, transformers.BitsAndBytesConfig(load_in_8bit=True))


# ---- torchao


def _torchao(folder: Path, model: transformers.PreTrainedModel, config: object) -> int:
    return _loaded(model, folder, transformers.TorchAoConfig(config))


@maker
def torchao_int8_rows(folder: Path) -> int:
    from torchao.quantization import Int8WeightOnlyConfig

    return _torchao(folder, dense(136, 200), Int8WeightOnlyConfig(version=2))


@maker
def torchao_float8(folder: Path) -> int:
    from torchao.quantization import Float8WeightOnlyConfig

    return _torchao(folder, dense(), Float8WeightOnlyConfig())


@maker
def torchao_intx_by_name(folder: Path) -> int:
    from torchao.quantization import FqnToConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup

    narrow = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    by_name = {r"re:model\.layers\.\d+\.mlp\..*": narrow, "model.layers.0.self_attn.q_proj": None}
    return _torchao(folder, dense(), FqnToConfig({**by_name, "_default": Int8WeightOnlyConfig(version=2)}))


@maker
def torchao_mxfp4(folder: Path) -> int:
    from torchao.prototype.mx_formats import MXDynamicActivationMXWeightConfig

    fp4 = torch.float4_e2m1fn_x2
    return _torchao(folder, dense(), MXDynamicActivationMXWeightConfig(activation_dtype=fp4, weight_dtype=fp4))


# ---- quanto, hqq


def _quanto(model: transformers.PreTrainedModel, folder: Path, weights: str) -> int:
    from optimum.quanto import QuantizedModelForCausalLM, qtypes

    count = parameters(model)
    quantized = QuantizedModelForCausalLM.quantize(model, weights=qtypes[weights], exclude="lm_head")
    quantized.save_pretrained(folder)
    return count


@maker
def quanto_qint4(folder: Path) -> int:
    return _quanto(dense(160, 192), folder, "qint4")


@maker
def quanto_qint2(folder: Path) -> int:
    return _quanto(dense(), folder, "qint2")


@maker
def quanto_qint4_rows(folder: Path) -> int:
    return _quanto(dense(104, 200), folder, "qint4")  # no group tiles the rows


@maker
def quanto_qfloat8(folder: Path) -> int:
    return _quanto(dense(136, 200), folder, "qfloat8")


def _hqq(folder: Path, nbits: float, group_size: int | None, axis: int) -> int:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    model = dense(160, 200 if group_size is None else 192)
    count = parameters(model)
    tensors = {name: weight.detach() for name, weight in model.state_dict().items() if "_proj" not in name}
    settings = BaseQuantizeConfig(nbits=nbits, group_size=group_size, axis=axis)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "_proj" in name:
            layer = HQQLinear(module, settings, compute_dtype=torch.float16, device="cpu", initialize=True)
            state = layer.state_dict()
            tensors |= {f"{name}.{key}": value.contiguous() for key, value in state.items() if torch.is_tensor(value)}
    save_file(tensors, folder / "model.safetensors")
    config = model.config.to_dict()
    config["quantization_config"] = transformers.HqqConfig(nbits=nbits, group_size=group_size, axis=axis).to_dict()
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str))
    return count


@maker
def hqq_3bit(folder: Path) -> int:
    return _hqq(folder, 3, 64, 1)


@maker
def hqq_4bit_rows(folder: Path) -> int:
    return _hqq(folder, 4, None, 1)


# ---- mlx


def _mlx(model: transformers.PreTrainedModel, folder: Path, **options: object) -> int:
    import mlx_lm.utils

    source = written(model, folder)
    config = json.loads((source / "config.json").read_text())
    spelled = {"num_experts": config.get("num_local_experts", config.get("num_experts")), "rope_theta": 10_000.0}
    (source / "config.json").write_text(json.dumps(config | spelled))  # as mlx-lm reads it
    loaded, config = mlx_lm.utils.load_model(source)
    mixed = options.pop("predicate", None)
    quantized, config = mlx_lm.utils.quantize_model(loaded, config, **options, quant_predicate=mixed)
    mlx_lm.utils.save_model(folder, quantized)
    mlx_lm.utils.save_config(config, folder / "config.json")
    return parameters(model)


@maker
def mlx_experts_4bit(folder: Path) -> int:
    def mixed(path: str, module: object) -> object:
        return {"bits": 8, "group_size": 64} if path.endswith("mlp.gate") else True

    return _mlx(experts(), folder, group_size=64, bits=4, mode="affine", predicate=mixed)


@maker
def mlx_nvfp4(folder: Path) -> int:
    return _mlx(dense(tied=True), folder, group_size=16, bits=4, mode="nvfp4")


@maker
def mlx_5bit(folder: Path) -> int:
    return _mlx(dense(), folder, group_size=32, bits=5, mode="affine")


# ---- modelopt, quark, auto-round


def _modelopt(model: transformers.PreTrainedModel, folder: Path, name: str) -> int:
    import modelopt.torch.quantization as mtq
    from modelopt.torch.export import export_hf_checkpoint

    count = parameters(model)
    tokens = torch.randint(0, VOCABULARY, (2, 16))
    with torch.no_grad():
        mtq.quantize(model, getattr(mtq, name), lambda quantized: quantized(tokens))
        export_hf_checkpoint(model, export_dir=folder)
    return count


@maker
def modelopt_fp8_cache(folder: Path) -> int:
    import modelopt.torch.quantization as mtq

    mtq.FP8_AND_CACHE = {
        **mtq.FP8_DEFAULT_CFG,
        "quant_cfg": [*mtq.FP8_DEFAULT_CFG["quant_cfg"], *mtq.FP8_KV_CFG["quant_cfg"]],
    }
    return _modelopt(dense(136, 200), folder, "FP8_AND_CACHE")


@maker
def modelopt_nvfp4_experts(folder: Path) -> int:
    return _modelopt(experts(), folder, "NVFP4_DEFAULT_CFG")


@maker
def modelopt_int4_awq(folder: Path) -> int:
    return _modelopt(dense(128, 256), folder, "INT4_AWQ_CFG")


@maker
def modelopt_mxfp4(folder: Path) -> int:
    return _modelopt(dense(), folder, "MXFP4_DEFAULT_CFG")


@maker
def modelopt_nvfp4_by_32(folder: Path) -> int:
    return _modelopt(dense(), folder, "W4A8_NVFP4_FP8_CFG")


@maker
def modelopt_nvfp4_affine_cache(folder: Path) -> int:
    import modelopt.torch.quantization as mtq

    mtq.FP8_AND_AFFINE_CACHE = {
        **mtq.FP8_DEFAULT_CFG,
        "quant_cfg": [*mtq.FP8_DEFAULT_CFG["quant_cfg"], *mtq.NVFP4_AFFINE_KV_CFG["quant_cfg"]],
    }
    return _modelopt(dense(), folder, "FP8_AND_AFFINE_CACHE")


def _quark(model: transformers.PreTrainedModel, folder: Path, scheme: str) -> int:
    from quark.torch import LLMTemplate, ModelQuantizer, export_safetensors

    count = parameters(model)
    template = LLMTemplate.get("qwen2")
    quantizer = ModelQuantizer(template.get_config(scheme=scheme, exclude_layers=["lm_head"]))
    tokens = torch.utils.data.DataLoader(torch.randint(0, VOCABULARY, (2, 16)), batch_size=1)
    quantized = quantizer.freeze(quantizer.quantize_model(model, tokens))
    export_safetensors(quantized, str(folder))
    return count


@maker
def quark_int8(folder: Path) -> int:
    return _quark(dense(), folder, "int8")


@maker
def quark_mxfp4(folder: Path) -> int:
    return _quark(dense(), folder, "mxfp4")


@maker
def quark_int4_rows(folder: Path) -> int:
    return _quark(dense(), folder, "int4_wo_per_channel")


@maker
def quark_int4_over_fp8(folder: Path) -> int:
    return _quark(dense(), folder, "int4_fp8")


@maker
def quark_nvfp4(folder: Path) -> int:
    return _quark(dense(), folder, "nvfp4")


def _auto_round(model: transformers.PreTrainedModel, folder: Path, format: str, **options: object) -> int:
    from auto_round import AutoRound

    quantizer = AutoRound(model, tokenizer(), iters=0, disable_opt_rtn=True, device_map="cpu", **options)
    count = parameters(model)
    quantizer.quantize_and_save(str(folder), format=format)
    inner = [path.parent for path in folder.rglob("config.json") if path.parent != folder]
    for path in inner[0].iterdir() if inner else ():
        shutil.copy(path, folder)
    return count


@maker
def auto_round_mixed(folder: Path) -> int:
    layers = {f"model.layers.{index}.self_attn.o_proj": {"bits": 8} for index in range(2)}
    return _auto_round(dense(), folder, "auto_round", bits=4, group_size=64, layer_config=layers)


@maker
def auto_round_experts_gptq(folder: Path) -> int:
    return _auto_round(experts(), folder, "auto_gptq", bits=4, group_size=32)


# ---- gptqmodel


def _gptqmodel(model: transformers.PreTrainedModel, folder: Path, kind: str, **options: object) -> int:
    """On two cores it asks for GPTQMODEL_CPU_WORKERS=2 in the environment."""
    from gptqmodel import GPTQModel
    from gptqmodel.quantization import config

    source = written(model, folder)
    words = tokenizer()
    words.pad_token = words.eos_token = "w0"
    words.save_pretrained(source)
    quantizer = GPTQModel.load(str(source), getattr(config, kind)(**options), device="cpu")
    tokens = torch.randint(0, VOCABULARY, (16, 48)).tolist()
    quantizer.quantize([{"input_ids": row, "attention_mask": [1] * len(row)} for row in tokens], batch_size=1)
    quantizer.save(str(folder))
    return parameters(model)


@maker
def gptqmodel_dynamic(folder: Path) -> int:
    other = {r"+:.*\.1\.mlp\.down_proj": {"bits": 8, "group_size": 32}, r"+:^(?!.*mlp).*k_proj": {"bits": 8}}
    skipped = {r"-:.*\.0\..*o_proj": {}}
    return _gptqmodel(dense(128, 256), folder, "GPTQConfig", bits=4, group_size=64, dynamic=other | skipped)


@maker
def gptqmodel_head(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "GPTQConfig", bits=3, group_size=32, lm_head=True, desc_act=True)


@maker
def gptqmodel_planar_5bit(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "GPTQConfig", bits=5, group_size=64, format="gptq_p")


@maker
def gptqmodel_v2_rows(folder: Path) -> int:
    options = {"bits": 8, "group_size": -1, "act_group_aware": False, "sym": False, "format": "gptq_v2"}
    return _gptqmodel(dense(128, 256), folder, "GPTQConfig", **options)


@maker
def gptqmodel_awq(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "AWQConfig", bits=4, group_size=32, sym=False, format="gemm")


@maker
def gptqmodel_paroquant(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "ParoConfig", bits=4, group_size=64)


@maker
def gptqmodel_qqq(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "QQQConfig", bits=4, group_size=128, dynamic={"-:.*o_proj": {}})


@maker
def gptqmodel_qqq_rows(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "QQQConfig", bits=4, group_size=-1)


@maker
def gptqmodel_ggml(folder: Path) -> int:
    other = {"-:.*o_proj": {}, "+:.*down_proj": {"bits": 6, "format": "q_k"}}
    return _gptqmodel(dense(256, 512), folder, "GGUFConfig", bits="q4_0", dynamic=other)


@maker
def gptqmodel_fp8(folder: Path) -> int:
    return _gptqmodel(dense(), folder, "FP8Config", format="float8_e5m2", weight_scale_method="tensor")


@maker
def gptqmodel_bitsandbytes_fp4(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "BitsAndBytesConfig", dynamic={"-:.*o_proj": {}})


@maker
def gptqmodel_bitsandbytes_int8(folder: Path) -> int:
    return _gptqmodel(dense(), folder, "BitsAndBytesConfig", bits=8)


@maker
def gptqmodel_vptq(folder: Path) -> int:
    return _gptqmodel(dense(128, 256), folder, "VPTQConfig")


def kept(source: Path, name: str, count: int) -> None:
    """Keep the header of the weights, the configs and the true count."""
    target = HERE / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    (weights,) = source.glob("*.safetensors")
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        (target / "header.json").write_bytes(file.read(length).rstrip())
    for path in source.glob("*.json"):
        if path.name.startswith(("config", "quant", "hf_quant")):
            content = json.loads(path.read_text())
            (target / path.name).write_text(json.dumps(content, separators=(",", ":")) + "\n")
    (target / "truth.json").write_text(json.dumps({"parameters": count}) + "\n")


def main(names: list[str]) -> None:
    for name in names or MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                kept(Path(folder), name, MAKERS[name](Path(folder)))
                print("made", name, flush=True)
            except Exception as error:  # one quantizer that cannot be had keeps none of the others from being made
                print("failed", name, f"{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
