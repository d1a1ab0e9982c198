"""Which file of a path stands for the checkpoint, and of what kind a file is."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.source import Source
from quantlevels.container import CONFIG_FILES, Format
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

INDEX_SUFFIX: Final = ".index.json"

#: the names that loaders look for in a folder, in the order in which they do
_STANDARD: Final[tuple[str, ...]] = (
    "model.safetensors.index.json",
    "model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
#: another copy of a model, as Mistral and Meta lay it beside
_COPY: Final = re.compile(r"consolidated(\.\d+)?\.(safetensors|pth)")
_SUFFIXES: Final[dict[str, Format]] = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".bin": "pytorch",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".ckpt": "pytorch",
    ".json": "config",
}
#: pickles that training leaves beside the weights, and what importance llama.cpp has measured of them
_NOT_WEIGHTS: Final = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state).*\.(bin|pt|pth)|.*imatrix.*\.gguf"
)
#: in the name of a file that llama.cpp loads beside a model, for its images and sounds
PROJECTOR: Final = "mmproj"
#: a numbered part of a model, such as ``model-00001-of-00003.gguf``
_PART: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)", re.ASCII)

_HEAD: Final = 512
#: how many folders an error lists
_LISTED: Final = 5
#: told whatever the name is
_MAGICS: Final[tuple[tuple[re.Pattern[bytes], Format], ...]] = (
    (re.compile(rb"GGUF"), "gguf"),
    (re.compile(rb"PK\x03\x04"), "pytorch"),
)
#: told where the name says nothing, as in a cache of blobs; a header of safetensors may have any length before it
_LOOKS: Final[tuple[tuple[re.Pattern[bytes], Format], ...]] = (
    (re.compile(rb".{8}\{\s*[\"}]", re.DOTALL), "safetensors"),
    (re.compile(rb"\x80[\x02-\x05]"), "pytorch"),
)
_FOREIGN: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/"),
        "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    ),
    (re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE), "is an HTML page, not a checkpoint; download the file again"),
    (re.compile(rb"\x93NUMPY"), "is a NumPy array, which is no checkpoint format"),
)


def kind(path: Path) -> Format:
    """The format of one file: by its first bytes where they are plain, else by its suffix.

    Raises:
        CheckpointError: if it is of no format that is read here, or only a pointer to a file.
    """
    with Source(path) as source:
        head = source.read(0, min(source.size, _HEAD))
    for magic, reason in _FOREIGN:
        if magic.match(head):
            raise CheckpointError(path, reason)
    named = _SUFFIXES.get(path.suffix.lower())
    for magic, format in _MAGICS if named else (*_MAGICS, *_LOOKS):
        if magic.match(head):
            return format
    if named == "pytorch" and path.with_suffix(".xml").is_file():
        raise CheckpointError(path, "is of an OpenVINO model, which is not read; name the model it was made from")
    if named:
        return named
    raise CheckpointError(path, "is no checkpoint: neither its name nor its first bytes are of a known format")


def locate(path: Path) -> Path:
    """The file that stands for the checkpoint at a path: an index, a single file, or one of a model's numbered parts.

    A file stands for itself. In a folder an index comes first, then the names that loaders look for, then the only
    model there is; a folder with config files alone stands for these.

    Raises:
        CheckpointError: if nothing is there, or several models of which none has such a name.
    """
    try:
        if path.is_file():
            return path
        if not path.is_dir():
            raise CheckpointError(path, "is no file or folder" if path.exists() else "does not exist")
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
    standard = [name for name in _STANDARD if name in names]
    models = standard[:1] or [name for name in names if name.endswith(INDEX_SUFFIX)] or _models(names)
    if len(models) > 1:
        models = [name for name in models if PROJECTOR not in name.lower()] or models
    if len(models) > 1:
        raise CheckpointError(path, f"holds {len(models)} models, name one of them: {', '.join(map(repr, models))}")
    if models:
        return path / models[0]
    if any(name in CONFIG_FILES for name in names):
        return path
    raise CheckpointError(path, f"holds no weights, and no config that says anything of them{_below(path)}")


def _below(path: Path) -> str:
    """Where the weights may be that a folder does not hold itself, as those of a pipeline of several models."""
    found: list[str] = []
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        with suppress(OSError):
            if any(is_weights(entry.name) for entry in folder.iterdir()):
                found.append(repr(folder.name))
    more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
    return f"; name one of its folders that do: {', '.join(found[:_LISTED])}{more}" if found else ""


def _models(names: list[str]) -> list[str]:
    """The files with weights; of the numbered parts of one model only the first that is there."""
    first: dict[str | Part, str] = {}
    for name in names:
        if is_weights(name):
            part = numbered(name)
            first.setdefault(part._replace(number=1) if part else name, name)
    return list(first.values())


class Part(NamedTuple):
    """What the name of a numbered part says, such as ``model-00001-of-00003.gguf``."""

    stem: str
    number: int
    total: int
    suffix: str


def numbered(name: str) -> Part | None:
    """A name as that of a numbered part, None if it is none."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    stem, number, count, suffix = match.groups()
    return Part(stem, int(number), int(count), suffix) if 1 <= int(number) <= int(count) else None


def is_standard(name: str) -> bool:
    """Whether weights of this name are those of a whole model, or a numbered part of one, to the usual loaders."""
    part = numbered(name)
    return _COPY.fullmatch(name) is not None or (part.stem + part.suffix if part else name) in _STANDARD


def is_weights(name: str) -> bool:
    """Whether a file has a name that weights have."""
    _, dot, suffix = name.lower().rpartition(".")
    return _SUFFIXES.get(dot + suffix, "config") != "config" and not _NOT_WEIGHTS.fullmatch(name)
