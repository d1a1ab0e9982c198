"""The checkpoints of ``tests/data``, written into folders; where only a header is kept, its data is a hole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.writers import framed, safetensors_header

DATA: Final = Path(__file__).parent / "data"
SCHEMES: Final = DATA / "schemes"
#: name → what ``tests/data/methods`` keeps of a checkpoint
METHODS: Final[Mapping[str, dict[str, Any]]] = {
    row["name"]: row
    for file in DATA.glob("methods/*.jsonl")
    for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
}
#: files that say what is expected of a checkpoint, or make it
_NOT_OF_IT: Final = ("header.json", "truth.json", "expected.json", "make.py")


def write_scheme(name: str, folder: Path, *, configs: bool = True) -> Path:
    """A checkpoint of ``tests/data/schemes``, with its config files or without."""
    for path in (SCHEMES / name).glob("*.json"):
        if configs and path.name not in _NOT_OF_IT:
            shutil.copy(path, folder)
    raw = (SCHEMES / name / "header.json").read_bytes()
    ends = [entry["data_offsets"][1] for key, entry in json.loads(raw).items() if key != "__metadata__"]
    _write_with_hole(folder, framed(raw), max(ends))
    return folder


def write_method(row: Mapping[str, Any], folder: Path) -> Path:
    """A checkpoint of `METHODS`, with the text of its marker tensors."""
    texts = {tensor: text.encode() for tensor, text in row["texts"].items()}
    markers = {tensor: row["tensors"][tensor] for tensor in texts}
    others = {tensor: entry for tensor, entry in row["tensors"].items() if tensor not in texts}
    header, nbytes = safetensors_header({**markers, **others}, row["metadata"])
    _write_with_hole(folder, framed(header), nbytes, b"".join(texts.values()))
    for file, content in row["files"].items():
        (folder / file).write_text(json.dumps(content))
    return folder


def _write_with_hole(folder: Path, header: bytes, nbytes: int, data: bytes = b"") -> None:
    path = folder / "model.safetensors"
    path.write_bytes(header + data)
    os.truncate(path, len(header) + nbytes)


def _copy(source: Path, folder: Path) -> None:
    if source.is_file():
        shutil.copy(source, folder)
    else:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_OF_IT))


def _kept_whole() -> list[Path]:
    """Single files, and the folders that have files."""
    folders = {path.parent for path in DATA.glob("containers/*/**/*") if path.is_file()}
    whole = [folder for folder in folders if folder.parent.name != "containers"]
    files = [*DATA.glob("containers/*/*"), *DATA.glob("pytorch/*")]
    return sorted([*whole, *(file for file in files if file.is_file() and file.name not in _NOT_OF_IT)])


#: name → writes the checkpoint into an empty folder
FIXTURES: Final[Mapping[str, Callable[[Path], object]]] = {
    **{str(path.relative_to(DATA)).replace(os.sep, "-"): partial(_copy, path) for path in _kept_whole()},
    **{
        f"schemes-{path.parent.name}": partial(write_scheme, path.parent.name) for path in SCHEMES.glob("*/header.json")
    },
    **{f"methods-{name}": partial(write_method, row) for name, row in METHODS.items()},
}
