"""The command line as tests use it: in this process where that is enough, in a real one at the edges."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from attrs import frozen
from tests.writers import Tensors, write_safetensors

from quantlevels.cli.program import run

#: a quantized linear layer, and the embedding and the norm its quantizer leaves alone
W4A16: Tensors = {
    "model.embed_tokens.weight": ("BF16", (256, 128)),
    "model.layers.0.mlp.up_proj.weight_packed": ("I32", (256, 16)),
    "model.layers.0.mlp.up_proj.weight_scale": ("BF16", (256, 1)),
    "model.layers.0.mlp.up_proj.weight_shape": ("I64", (2,)),
    "model.norm.weight": ("BF16", (128,)),
}
#: the same with every code in a byte
W4A8: Tensors = {
    **{name: tensor for name, tensor in W4A16.items() if "up_proj" not in name},
    "model.layers.0.mlp.up_proj.weight": ("I8", (256, 128)),
    "model.layers.0.mlp.up_proj.weight_scale": ("BF16", (256, 1)),
}
PLAIN: Tensors = {
    **{name: tensor for name, tensor in W4A16.items() if "up_proj" not in name},
    "model.layers.0.mlp.up_proj.weight": ("BF16", (256, 128)),
}
INT4_CONFIG: Mapping[str, object] = {
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128},
            }
        },
        "ignore": ["lm_head"],
    },
}


def write_checkpoint(folder: Path, tensors: Tensors, config: Mapping[str, object] | None = None) -> Path:
    """A folder with a sparse ``model.safetensors`` of these tensors, and perhaps a ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_shards(folder: Path, count: int) -> Path:
    """A folder with an index and so many shards of one tensor each."""
    places = {}
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        tensors: Tensors = {f"model.layers.{number}.mlp.up_proj.weight": ("BF16", (4, 4))}
        write_checkpoint(folder, tensors).joinpath("model.safetensors").rename(folder / name)
        places.update(dict.fromkeys(tensors, name))
    index = {"metadata": {"total_size": 32 * count}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def w4a16(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "w4a16", W4A16, INT4_CONFIG)


@pytest.fixture
def w4a8(tmp_path: Path) -> Path:
    """Declared INT4, stored a byte a code."""
    return write_checkpoint(tmp_path / "w4a8", W4A8, INT4_CONFIG)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "plain", PLAIN, {"torch_dtype": "bfloat16"})


@frozen
class Answer:
    status: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """``ask("show", "int4")``: the command in this process, its output not a terminal."""

    def ask(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Answer(status, *capsys.readouterr())

    return ask


@pytest.fixture
def process() -> Ask:
    """``process("show", "int4")``: the command in a process of its own; ``env=`` and ``stdin=`` as in `subprocess`."""

    def process(*arguments: str | Path, **options: object) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "quantlevels", *map(str, arguments)],
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    return process
