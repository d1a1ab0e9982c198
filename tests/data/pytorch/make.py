"""What torch 2.13.0 and torchao 0.18.0 wrote into this folder: `python make.py`."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

HERE = Path(__file__).parent


def tensors() -> dict[str, object]:
    """Every kind of tensor, and what shares storages."""
    base = torch.arange(64, dtype=torch.float32).reshape(8, 8)
    return {
        "base": base,
        "tied": base,
        "transposed": base.t(),
        "rows": base[:2],
        "bf16": torch.zeros(3, dtype=torch.bfloat16),
        "scalar": torch.tensor(1, dtype=torch.int64),
        "flag": torch.zeros(3, dtype=torch.bool),
        "parameter": nn.Parameter(torch.ones(2, 2)),
        "expanded": torch.zeros(1).expand(5, 5),
        "empty": torch.zeros(0, 3),
        "strided": torch.zeros(4, 6)[:, ::2],
        "per_tensor": torch.quantize_per_tensor(torch.rand(4, 6), 0.1, 3, torch.quint8),
        "per_channel": torch.quantize_per_channel(
            torch.rand(4, 6), torch.ones(4).double(), torch.zeros(4).long(), 0, torch.qint8
        ),
        "sparse": torch.eye(4).to_sparse(),
        "meta": torch.empty(3, device="meta"),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
    }


def newer() -> dict[str, object]:
    """Tensors of dtypes without a storage of their own."""
    return {
        "fp8": torch.zeros(4, dtype=torch.float8_e4m3fn),
        "u16": torch.zeros(4, dtype=torch.uint16),
        "fp4": torch.zeros(4, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
        "bits": torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
    }


def trained() -> dict[str, object]:
    """What a training loop keeps."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "layers": [OrderedDict(w=torch.zeros(2))],
    }


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32)).to(torch.bfloat16)


def main() -> None:
    torch.save(tensors() | newer(), HERE / "zip.pt")
    torch.save(tensors(), HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(trained(), HERE / "trained.ckpt")
    torch.save(quantize_dynamic(nn.Sequential(nn.Linear(64, 32)), {nn.Linear}).state_dict(), HERE / "torch_ao.pt")
    for name, config in {"int8": Int8WeightOnlyConfig(), "float8": Float8WeightOnlyConfig()}.items():
        model = linear()
        quantize_(model, config)
        torch.save(model.state_dict(), HERE / f"torchao_{name}.pt")


if __name__ == "__main__":
    main()
