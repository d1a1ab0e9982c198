"""Small CTranslate2 models, written by ctranslate2 itself: ``python make.py`` beside them (ctranslate2 4.8.5, numpy).

``expected.json`` holds what ctranslate2 says of each: the parameters of the model before it was quantized, and the
bytes of all variables that are stored, by its own count.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from ctranslate2.specs import common_spec, model_spec, transformer_spec

HERE = Path(__file__).parent
QUANTIZATIONS = ("float32", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16")
WIDTH, HEADS, WORDS = 16, 2, 24


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of a variable of the model below, by its name."""
    *_, layer, attribute = name.split("/")
    rows, columns = WIDTH, WIDTH
    if layer in ("embeddings_0", "embeddings", "projection"):
        rows = WORDS
    elif "self_attention/linear_0" in name:
        rows = 3 * WIDTH
    elif "ffn/linear_0" in name:
        rows = 2 * WIDTH
    elif "ffn/linear_1" in name:
        columns = 2 * WIDTH
    elif attribute in ("gamma", "beta"):
        return (WIDTH,)
    return (rows,) if attribute == "bias" else (rows, columns)


def model() -> transformer_spec.TransformerDecoderModelSpec:
    """A language model of two layers with random weights, its output tied to its embeddings."""
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(2, HEADS, activation=common_spec.Activation.GELU)
    random = np.random.default_rng(0)

    def fill(layer: model_spec.LayerSpec, name: str, value: object) -> None:
        attribute = name.rsplit("/", 1)[-1]
        if value is None and attribute in ("weight", "bias", "gamma", "beta"):
            setattr(layer, attribute, random.normal(size=shape_of(name)).astype(np.float32))

    model_spec.visit_spec(spec, fill)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.register_vocabulary([str(word) for word in range(WORDS)])
    spec.validate()
    return spec


#: weights of one group in the AWQ models, and columns of zero points that the kernels for vectors read at once
GROUP, PADDED = 32, 4


def awq_model(quantization: common_spec.Quantization) -> transformer_spec.TransformerDecoderModelSpec:
    """A Llama-like model of one layer whose linear layers have the words that AWQ stores."""
    width = 2 * GROUP
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        1, HEADS, activation=common_spec.Activation.SWISH, ffn_glu=True, rms_norm=True, rotary_dim=0,
        quant_type=quantization, quant_group_size=GROUP, quant_bits=4,
    )  # fmt: skip
    random = np.random.default_rng(0)

    def words(*shape: int) -> np.ndarray:
        return random.integers(-(2**31), 2**31, shape).astype(np.int32)

    def floats(*shape: int) -> np.ndarray:
        return random.random(shape).astype(np.float16)

    def fill(layer: common_spec.LinearSpec, rows: int, columns: int) -> None:
        if quantization == common_spec.Quantization.AWQ_GEMM:
            layer.weight, layer.weight_scale = words(columns, rows // 8), floats(columns // GROUP, rows)
            layer.weight_zero = words(columns // GROUP, rows // 8)
        else:
            layer.weight, layer.weight_scale = words(rows, columns // 8), floats(rows, 8 * PADDED)
            layer.weight_zero = words(rows, PADDED)

    decoder, (layer,) = spec.decoder, spec.decoder.layer
    decoder.embeddings.weight, decoder.projection.weight = floats(WORDS, width), floats(WORDS, width)
    for norm in (decoder.layer_norm, layer.self_attention.layer_norm, layer.ffn.layer_norm):
        norm.gamma = floats(width)
    fill(layer.self_attention.linear[0], 3 * width, width)
    for linear in (layer.self_attention.linear[1], layer.ffn.linear_0, layer.ffn.linear_0_noact, layer.ffn.linear_1):
        fill(linear, width, width)
    spec.register_vocabulary([str(word) for word in range(WORDS)])
    spec.validate()
    return spec


def write_awq() -> dict[str, dict[str, int]]:
    """Write the AWQ models; what is expected of them."""
    expected = {}
    for name in ("awq_gemm", "awq_gemv"):
        folder, width = HERE / name, 2 * GROUP
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        spec = awq_model(common_spec.Quantization[name.upper()])
        spec.save(str(folder))
        stored = [value for _, value in spec.variables(ordered=True) if not isinstance(value, str)]
        expected[name] = {
            "parameters": 2 * WORDS * width + 3 * width + 7 * width * width,
            "bytes": sum(value.num_bytes() for value in stored),
            "variables": len(stored),
        }
    return expected


def main() -> None:
    """Write each model anew."""
    expected = write_awq()
    for quantization in QUANTIZATIONS:
        folder = HERE / quantization
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        spec = model()
        weights = [
            value for _, value in spec.variables(ordered=True) if not isinstance(value, str) and not value.is_scalar()
        ]
        tied = int(np.prod(spec.decoder.projection.weight.shape))
        spec.optimize(quantization=quantization)
        spec.save(str(folder))
        stored = [value for _, value in spec.variables(ordered=True) if not isinstance(value, str)]
        expected[quantization] = {
            "parameters": sum(int(np.prod(value.shape)) for value in weights) - tied,
            "bytes": sum(value.num_bytes() for value in stored),
            "variables": len(stored),
        }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
