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


def main() -> None:
    """Write each model anew."""
    expected = {}
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
