"""Safetensors files and folders whose data are holes, and the least that reading their headers takes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from safetensors import safe_open


class TensorRow(NamedTuple):
    """A tensor of a header."""

    name: str
    dtype: str
    shape: list[int]
    nbytes: int


def write(
    folder: Path,
    tensors: Iterable[TensorRow],
    number: int,
    *,
    shards: int = 1,
    config: Mapping[str, object] | None = None,
) -> Path:
    """The folder of a checkpoint with the first tensors, in several files and an index if there are several shards."""
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    source = iter(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(1, shards + 1):
        name = f"model-{shard:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for row in islice(source, number // shards):
            header[row.name] = {"dtype": row.dtype, "shape": row.shape, "data_offsets": [end, end + row.nbytes]}
            weight_map[row.name] = name
            end += row.nbytes
        content = json.dumps(header, separators=(",", ":")).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(content)) + content)
            file.truncate(8 + len(content) + end)
    if shards > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return folder


INDEX: Final = "model.safetensors.index.json"


def header_bytes(file: Path) -> bytes:
    """The JSON of a header."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        return stream.read(length)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def json_bytes(folder: Path) -> int:
    """Bytes of all headers, the index and the config."""
    headers = sum(len(header_bytes(file)) for file in _files(folder))
    return headers + sum(file.stat().st_size for file in folder.glob("*.json"))


def load_json(folder: Path) -> list[dict[str, Any]]:  # Any: unchecked JSON
    """``json.loads`` of all headers, the index and the config; nothing is checked."""
    parsed = [json.loads(header_bytes(file)) for file in _files(folder)]
    parsed += [json.loads(file.read_bytes()) for file in folder.glob("*.json")]
    return parsed


class Entry(msgspec.Struct):
    """A tensor of a header, for msgspec's typed decoder; the defaults let the entry for metadata pass."""

    dtype: str = ""
    shape: list[int] = []
    data_offsets: tuple[int, int] = (0, 0)


_DECODER: Final = msgspec.json.Decoder(dict[str, Entry])


def decode_typed(folder: Path) -> list[dict[str, Entry]]:
    """msgspec's typed decoding of all headers: shapes and offsets are checked for their types, not for their values."""
    return [_DECODER.decode(header_bytes(file)) for file in _files(folder)]


def open_and_list(folder: Path) -> list[str]:
    """The safetensors library opens every file, which checks its header, and lists the names of its tensors."""
    names: list[str] = []
    for file in _files(folder):
        with safe_open(file, "numpy") as opened:
            names += opened.keys()
    return names


# -- the tensors of real models ----------------------------------------------------------------------------------------


def dense() -> Iterator[TensorRow]:
    """A small model in BF16 with as many layers as are asked for."""
    for layer in count():
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield TensorRow(f"model.layers.{layer}.self_attn.{projection}.weight", "BF16", [64, 64], 2 * 64 * 64)


def bf16_experts() -> Iterator[TensorRow]:
    """Experts in BF16, named as those of a mixture of experts."""
    for matrix in count():
        layer, expert = divmod(matrix, 256)
        yield TensorRow(f"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", "BF16", [128, 128], 2 * 128**2)


def dotless() -> Iterator[TensorRow]:
    """The same matrices, with names that do not say which layer they belong to."""
    for matrix in count():
        yield TensorRow(f"onnx_MatMul_{matrix:07}", "BF16", [128, 128], 2 * 128**2)


def gptq_experts() -> Iterator[TensorRow]:
    """Experts quantized by GPTQ to 4 bits in groups of 128."""
    rows = (
        ("qweight", "I32", [512, 2048], 4 * 512 * 2048),
        ("qzeros", "I32", [32, 256], 4 * 32 * 256),
        ("scales", "F16", [32, 2048], 2 * 32 * 2048),
        ("g_idx", "I32", [4096], 4 * 4096),
        ("bias", "F16", [2048], 2 * 2048),
    )
    for matrix in count():
        layer, expert = divmod(matrix, 384)
        for suffix, dtype, shape, nbytes in rows:
            yield TensorRow(f"model.layers.{layer}.mlp.experts.{expert}.down_proj.{suffix}", dtype, shape, nbytes)


GPTQ: Final[Mapping[str, object]] = {
    "dtype": "float16",
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128},
}


def packed_experts() -> Iterator[TensorRow]:
    """Experts packed by compressed-tensors to 4 bits in groups of 32, as Kimi-K2 has them."""
    for matrix in count():
        layer, expert = divmod(matrix // 3, 384)
        projection, rows, columns = _PROJECTIONS[matrix % 3]
        module = f"model.layers.{layer}.mlp.experts.{expert}.{projection}_proj"
        yield TensorRow(f"{module}.weight_packed", "I32", [rows, columns // 8], rows * columns // 2)
        yield TensorRow(f"{module}.weight_scale", "BF16", [rows, columns // 32], rows * columns // 16)
        yield TensorRow(f"{module}.weight_shape", "I32", [2], 8)


_PROJECTIONS: Final = (("gate", 2048, 7168), ("up", 2048, 7168), ("down", 7168, 2048))
