"""Write ``older.jsonl`` beside this file: layouts whose writers today's packages no longer have, or no longer import.

    python make_older.py COMPRESSED_TENSORS AUTOAWQ

``COMPRESSED_TENSORS`` is a folder with compressed-tensors 0.12.2, the last with sparse compressors (``pip install
--no-deps --target``); ``AUTOAWQ`` the sources of autoawq 0.2.9. Rows are those of ``make.py``.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
from make import ROWS, Told, entries, record, section
from torch import Tensor, nn

ROWS_, COLUMNS = 128, 256
MODULE = "model.layers.0.mlp.up_proj"
EMBEDDING = "model.embed_tokens.weight"


def add(
    name: str, writer: str, method: str, config: dict[str, Any], state: dict[str, Tensor], told: Told | None
) -> None:
    """A checkpoint of one layer and an embedding."""
    tensors = entries({f"{MODULE}.{suffix}": tensor for suffix, tensor in state.items()})
    tensors[EMBEDDING] = ("F16", [96, 64])
    before = {f"{MODULE}.weight": [ROWS_, COLUMNS], EMBEDDING: [96, 64]}
    files = {"config.json": {"model_type": "llama", "dtype": "float16", **config}}
    record(name, writer, before, {MODULE: told} if told else {}, tensors, method=method, files=files)


def sparse() -> None:
    from compressed_tensors.compressors.sparse_compressors.sparse_24_bitmask import Sparse24BitMaskCompressor
    from compressed_tensors.compressors.sparse_compressors.sparse_bitmask import BitmaskCompressor
    from compressed_tensors.compressors.sparse_quantized_compressors.marlin_24 import Marlin24Compressor
    from compressed_tensors.config import SparsityCompressionConfig
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    writer = "compressed-tensors 0.12.2"
    fours = torch.randn(ROWS_ * COLUMNS // 4, 4)
    fours.scatter_(1, fours.abs().argsort(dim=1)[:, :2], 0)  # two of four are zero
    weight = fours.view(ROWS_, COLUMNS)
    for compressor, name in ((Sparse24BitMaskCompressor, "sparse-24-bitmask"), (BitmaskCompressor, "sparse-bitmask")):
        sparsity = SparsityCompressionConfig(format=name, sparsity_structure="2:4", global_sparsity=50.0)
        state = compressor(sparsity).compress_weight("fc.weight", weight.half())
        suffixes = {key.removeprefix("fc.").removeprefix("weight."): tensor for key, tensor in state.items()}
        described = {"format": name, "sparsity_structure": "2:4", "global_sparsity": 50.0}
        config = {"compression_config": {"quant_method": "compressed-tensors", "sparsity_config": described}}
        add(name.replace("-", "_"), writer, "compressed-tensors", config, suffixes, None)
    for bits in (4, 8):
        arguments = {"num_bits": bits, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
        scale = weight.view(ROWS_, 2, 128).abs().amax(-1) / (2 ** (bits - 1) - 1)
        given = {
            "fc.weight": weight,
            "fc.weight_scale": scale,
            "fc.weight_zero_point": torch.zeros_like(scale, dtype=torch.int8),
        }
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**arguments))
        state = Marlin24Compressor().compress(given, {"fc": scheme})
        group = {"targets": ["Linear"], "weights": arguments, "input_activations": None, "output_activations": None}
        config = section("compressed-tensors", format="marlin-24", config_groups={"group_0": group}, ignore=["lm_head"])
        suffixes = {key.removeprefix("fc."): tensor for key, tensor in state.items()}
        add(
            f"marlin_24_by_compressed_tensors_{bits}bit",
            writer,
            "compressed-tensors",
            config,
            suffixes,
            Told(f"Int{bits}", 128),
        )


def autoawq(home: Path) -> None:
    for package in ("awq", "awq.modules", "awq.modules.linear", "awq.utils"):  # whose own imports need old versions
        module = types.ModuleType(package)
        module.__path__ = [str(home.joinpath(*package.split(".")))]
        sys.modules[package] = module
    made = {
        "gemm": "WQLinear_GEMM",
        "gemv": "WQLinear_GEMV",
        "gemv_fast": "WQLinear_GEMVFast",
        "marlin": "WQLinear_Marlin",
    }
    for version, name in made.items():
        group = 128 if version == "marlin" else 64
        linear = nn.Linear(COLUMNS, ROWS_, bias=False).half()
        scales = torch.rand(ROWS_, COLUMNS // group).half()
        zeros = torch.randint(0, 16, (ROWS_, COLUMNS // group)).half()
        if version in ("gemm", "marlin"):
            scales, zeros = scales.t().contiguous(), zeros.t().contiguous()
        layer = getattr(importlib.import_module(f"awq.modules.linear.{version}"), name)
        symmetric = version == "marlin"
        packed = layer.from_linear(linear, 4, group, False, scales, None if symmetric else zeros)
        config = section("awq", bits=4, group_size=group, zero_point=not symmetric, version=version)
        told = Told("Int4", group, symmetric)
        add(f"autoawq_{version}", "autoawq 0.2.9", "awq", config, packed.state_dict(), told)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    torch.manual_seed(0)
    sparse()
    autoawq(Path(sys.argv[2]))
    lines = (json.dumps(row, separators=(",", ":")) for row in ROWS)
    Path(__file__).with_name("older.jsonl").write_text("\n".join(lines) + "\n")
