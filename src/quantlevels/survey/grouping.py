"""Which files of a folder are one checkpoint, by their names alone: a folder on disk and a prefix in a bucket alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from quantlevels.checkpoint.catalogue import weights_in
from quantlevels.checkpoint.names import INDEX_SUFFIX, PROJECTOR, is_standard, numbered

#: files of these names hold weights, or are damaged; a `.bin` may be anything
_CERTAIN: Final = (".safetensors", ".gguf", ".onnx")


class Group(NamedTuple):
    """The files of one checkpoint in a folder."""

    #: the file that stands for all of them
    main: str
    files: tuple[str, ...]
    #: whether a file of this name that cannot be read is an error, not something else than weights
    certain: bool


def groups_of(names: Iterable[str]) -> list[Group]:
    """The checkpoints among the files of one folder."""
    present = sorted(names)
    weights = [name for name in weights_in(present) if PROJECTOR not in name.lower()]
    indexes = [name for name in present if name.endswith(INDEX_SUFFIX)]
    whole = [name for name in weights if is_standard(name)]
    if indexes or whole:  # what else is there is another copy of it, or belongs to it
        return [Group((indexes or whole)[0], tuple(weights), certain=True)]
    parts: dict[object, list[str]] = {}
    for name in weights:
        part = numbered(name)
        model = part._replace(number=1) if part else name  # equal for all parts of one model
        parts.setdefault(model, []).append(name)
    return [Group(files[0], tuple(files), certain=files[0].endswith(_CERTAIN)) for files in parts.values()]


def named(folder: str, groups: Sequence[Group]) -> list[tuple[Group, str, str]]:
    """Each checkpoint of a folder with what it is called, and the file that stands for it; empty for the folder itself.

    Args:
        folder: what the folder is called; empty if its files are called by their own names.
        groups: its checkpoints.
    """
    if folder and len(groups) == 1:
        return [(groups[0], folder, "")]
    return [(group, "/".join(filter(None, (folder, group.main))), group.main) for group in groups]
