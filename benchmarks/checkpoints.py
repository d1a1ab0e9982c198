"""Folders of safetensors whose data are holes, and the least that reading their headers takes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

#: name, dtype, shape, bytes
Row: TypeAlias = tuple[str, str, list[int], int]


def write(
    folder: Path, tensors: Iterable[Row], count: int, shards: int = 1, config: Mapping[str, object] | None = None
) -> list[Path]:
    """So many of the tensors in so many files, with an index where there are several.

    Returns:
        the files.
    """
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    source = iter(tensors)
    places: dict[str, str] = {}
    paths: list[Path] = []
    for shard in range(1, shards + 1):
        name = f"model-{shard:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor, dtype, shape, nbytes in islice(source, count // shards):
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
            places[tensor] = name
            end += nbytes
        raw = json.dumps(header, separators=(",", ":")).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(raw)) + raw)
            file.truncate(8 + len(raw) + end)
        paths.append(folder / name)
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return paths


def headers(paths: Sequence[Path]) -> list[dict[str, dict[str, Any]]]:  # Any: unchecked JSON
    """The headers as JSON, unchecked: the least that a reader does."""
    parsed: list[dict[str, dict[str, Any]]] = []
    for path in paths:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            parsed.append(json.loads(file.read(length)))
    return parsed
