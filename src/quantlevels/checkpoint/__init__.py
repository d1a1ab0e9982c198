"""What a checkpoint holds: containers read by their headers into one record of tensors. No quantizer is known here."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from quantlevels.checkpoint.gguf import read_gguf
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.locate import INDEX_SUFFIX, PROJECTOR, is_standard, is_weights, kind, locate, numbered
from quantlevels.checkpoint.onnx import read_onnx
from quantlevels.checkpoint.pytorch import read_pytorch
from quantlevels.checkpoint.safetensors import read_safetensors
from quantlevels.checkpoint.shards import read_index, read_parts
from quantlevels.container import CONFIG_FILES, Checkpoint, Format
from quantlevels.findings import Finding

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterator, Mapping

    from quantlevels.container import JSON

#: the reader of one file of each format
READERS: Final[dict[Format, Callable[[Path], Checkpoint]]] = {
    "safetensors": read_safetensors,
    "gguf": read_gguf,
    "onnx": read_onnx,
    "pytorch": read_pytorch,
}


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """What the headers of a checkpoint say, and the config files beside it.

    Args:
        path: a folder, one file with weights, an index, any part of a split GGUF, or a config file alone. Who names
            one shard of several means that shard, with the config files beside it; GGUF has none.

    Raises:
        CheckpointError: if nothing that can be read is there, or it is malformed; what is merely missing from a
            checkpoint in several files is a finding.
    """
    path = Path(path)
    with uncollected():
        main = locate(path)
        if main.is_dir():
            return Checkpoint(path=path, format="config", configs=_configs(main))
        if main.name.endswith(INDEX_SUFFIX):
            found = read_index(main, read_file)
        elif numbered(main.name) and (main != path or kind(main) == "gguf"):
            found = read_parts(main, read_file)
        elif kind(main) == "config":
            return Checkpoint(path=path, format="config", configs={main.name: read_object(main)})
        else:
            found = read_file(main)
        stray = () if main == path and not main.name.endswith(INDEX_SUFFIX) else _stray(main.parent, found)
        configs = {} if found.format == "gguf" else _configs(main.parent)
        return evolve(found, path=path, configs=configs, findings=(*found.findings, *stray))


def read_file(path: Path) -> Checkpoint:
    """The tensors of one file.

    Raises:
        CheckpointError: if it is malformed or of no known format.
    """
    return READERS[kind(path)](path)


def _configs(folder: Path) -> Mapping[str, Mapping[str, JSON]]:
    return {name: read_object(folder / name) for name in CONFIG_FILES if (folder / name).is_file()}


def _stray(folder: Path, found: Checkpoint) -> Iterator[Finding]:
    """The weights in a folder, of the format that was read or of a name that loaders look for, that were not read."""
    own = {file.path for file in found.files}
    suffixes = {Path(name).suffix for name in own}
    for entry in sorted(folder.iterdir()):
        name = entry.name
        if name in own or PROJECTOR in name.lower() or not (is_weights(name) and entry.is_file()):
            continue
        if entry.suffix in suffixes or is_standard(name):
            yield Finding("QL205", "holds weights that do not belong to the checkpoint", name)


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Without garbage collection: it finds nothing in so many small records, and takes a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
