"""Small checkpoints by torch.distributed.checkpoint: ``python make.py`` beside them (torch 2.13.0).

``expected.json`` holds the bytes and elements of the tensors that were saved, by torch's own count.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

HERE = Path(__file__).parent


def states() -> dict[str, dict[str, object]]:
    """name of a folder → what is saved in it."""
    torch.manual_seed(0)
    linear = torch.nn.Sequential(OrderedDict(up=torch.nn.Linear(16, 32), down=torch.nn.Linear(32, 16)))
    half = {name: tensor.bfloat16() for name, tensor in linear.state_dict().items()}
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(16)).sum().backward()
    optimizer.step()
    return {
        "float32": dict(linear.state_dict()),
        "bfloat16": half,
        "float8": {"weight": torch.ones(8, 16).to(torch.float8_e4m3fn), "weight_scale": torch.ones(8)},
        "nested": {"model": half, "step": 7, "note": "after one step"},
        "with_optimizer": {"model": dict(linear.state_dict()), "optimizer": optimizer.state_dict()},
        "integers": {"codes": torch.zeros(4, 6, dtype=torch.uint8), "positions": torch.arange(5)},
        "scalar_and_empty": {"temperature": torch.tensor(1.5), "nothing": torch.zeros(0, 4)},
        "views": {"whole": torch.ones(6, 6), "part": torch.ones(6, 6)[1:3]},
    }


def tensors(state: dict[str, object]) -> list[torch.Tensor]:
    """Every tensor in a state, however deep."""
    found: list[torch.Tensor] = []
    for value in state.values():
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict):
            found += tensors(value)
    return found


#: processes that write the sharded checkpoint
RANKS = 2


def sharded() -> dict[str, torch.Tensor]:
    """What is saved in parts: along rows that do not divide evenly, along columns, in fewer rows than ranks, whole."""
    torch.manual_seed(0)
    return {
        "rows.weight": torch.randn(7, 8, dtype=torch.bfloat16),
        "columns.weight": torch.randn(8, 6),
        "one.weight": torch.randn(1, 4),
        "norm.weight": torch.randn(8),
    }


def save_rank(rank: int, folder: str, rendezvous: str) -> None:
    """What one process saves."""
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    axes = {"rows.weight": Shard(0), "columns.weight": Shard(1), "one.weight": Shard(0), "norm.weight": Replicate()}
    state = {name: distribute_tensor(tensor, mesh, [axes[name]]) for name, tensor in sharded().items()}
    dcp.save(state, checkpoint_id=folder)
    dist.destroy_process_group()


def save_sharded(folder: Path) -> dict[str, object]:
    """Write the checkpoint that several processes save together; what is in it."""
    with tempfile.TemporaryDirectory() as place:
        torch.multiprocessing.spawn(save_rank, (str(folder), f"{place}/rendezvous"), nprocs=RANKS)
    return dict(sharded())


def main() -> None:
    """Write each checkpoint anew."""
    expected = {}
    for name, state in {**states(), "sharded": {}}.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        if name == "sharded":
            state = save_sharded(folder)
        else:
            dcp.save(state, checkpoint_id=folder)
        saved = tensors(state)
        expected[name] = {
            "tensors": len(saved),
            "elements": sum(tensor.numel() for tensor in saved),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in saved),
        }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
