"""Small OpenVINO models, compressed by nncf: ``python make.py`` beside them (openvino 2026.4.1, nncf 3.4.0, numpy).

``expected.json`` holds the parameters of the model before it was compressed; no file is told to us by OpenVINO itself.
``converted`` holds a PyTorch model and what OpenVINO makes of it (torch 2.13.0, safetensors 0.8.0).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import torch
from openvino import opset13
from safetensors.torch import save_file

HERE = Path(__file__).parent
WIDTH, WORDS, GROUP = 64, 32, 16
MODES = nncf.CompressWeightsMode
#: name of the folder → how nncf compresses the weights
COMPRESSIONS = {
    "int8_sym": {"mode": MODES.INT8_SYM},
    "int8_asym": {"mode": MODES.INT8_ASYM},
    "int4_sym": {"mode": MODES.INT4_SYM, "group_size": GROUP, "all_layers": True},
    "int4_asym": {"mode": MODES.INT4_ASYM, "group_size": GROUP, "all_layers": True},
    "int4_asym_rows": {"mode": MODES.INT4_ASYM, "group_size": -1, "all_layers": True},
    "int4_mixed": {"mode": MODES.INT4_SYM, "group_size": GROUP, "ratio": 0.5},
    "int3_sym": {"mode": MODES.INT3_SYM, "group_size": GROUP, "all_layers": True},
    "int2_sym": {"mode": MODES.INT2_SYM, "group_size": GROUP, "all_layers": True},
    "nf4": {"mode": MODES.NF4, "group_size": GROUP, "all_layers": True},
    "cb4": {"mode": MODES.CB4, "group_size": GROUP, "all_layers": True},
    "mxfp4": {"mode": MODES.MXFP4, "all_layers": True},
    "mxfp8_e4m3": {"mode": MODES.MXFP8_E4M3, "all_layers": True},
    "fp8_e4m3": {"mode": MODES.FP8_E4M3, "group_size": GROUP, "all_layers": True},
    "fp4": {"mode": MODES.FP4, "group_size": GROUP, "all_layers": True},
    "nvfp4": {"mode": MODES.NVFP4, "all_layers": True},
}


def model() -> ov.Model:
    """An embedding, three linear layers with a norm between them, and a head."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    tokens = opset13.parameter([-1], np.int64, name="tokens")
    hidden = opset13.gather(weights(WORDS, WIDTH), tokens, np.int64(0))
    for _ in range(3):
        hidden = opset13.matmul(hidden, weights(WIDTH, WIDTH), transpose_a=False, transpose_b=True)
        hidden = opset13.add(opset13.multiply(hidden, weights(1, WIDTH)), weights(1, WIDTH))
    hidden = opset13.matmul(hidden, weights(WORDS, WIDTH), transpose_a=False, transpose_b=True)
    return ov.Model([hidden], [tokens], "small")


class Converted(torch.nn.Module):
    """An embedding, a layer and a head."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(WORDS, width)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(width, width, bias=False)])
        self.lm_head = torch.nn.Linear(width, WORDS, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return self.lm_head(torch.relu(self.layers[0](self.embed_tokens(tokens))))


def write_converted() -> None:
    """Write a PyTorch model, and three OpenVINO models that were made of it."""
    torch.manual_seed(0)
    source, folder = Converted().eval(), HERE / "converted"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "source").mkdir(parents=True)
    save_file(source.state_dict(), folder / "source/model.safetensors")
    for name, compression in {"fp32": None, "fp16": None, "int4_sym": {**COMPRESSIONS["int4_sym"]}}.items():
        compressed = ov.convert_model(source, example_input=torch.zeros(1, 4, dtype=torch.long))
        if compression:
            compressed = nncf.compress_weights(compressed, **compression)
        ov.save_model(compressed, folder / name / "openvino_model.xml", compress_to_fp16=name == "fp16")


def main() -> None:
    """Write each model anew."""
    write_converted()
    for name, compression in {"fp32": None, "fp16": None, **COMPRESSIONS}.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        compressed = nncf.compress_weights(model(), **compression) if compression else model()
        ov.save_model(compressed, folder / "openvino_model.xml", compress_to_fp16=name != "fp32")
    parameters = 2 * WORDS * WIDTH + 3 * (WIDTH * WIDTH + 2 * WIDTH)
    (HERE / "expected.json").write_text(json.dumps({"parameters": parameters}) + "\n")


if __name__ == "__main__":
    main()
