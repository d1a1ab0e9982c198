"""The containers that are read here, and which of them a file is. A new container is one file and one row."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.names import NOT_WEIGHTS, suffix_of
from quantlevels.container import Container
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlevels.container import Contents, Source, TypeLookup
    from quantlevels.vocabulary.registry import Registry


# Readers are imported when the first file of their format is read: most programs meet one format.


def _safetensors(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.safetensors import read_safetensors

    return read_safetensors(source, level_of)


def _gguf(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.gguf import read_gguf

    return read_gguf(source, level_of)


def _onnx(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.onnx import read_onnx

    return read_onnx(source, level_of)


def _pytorch(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.pytorch import read_pytorch

    return read_pytorch(source, level_of)


SAFETENSORS: Final = Container(
    name="safetensors",
    reader=_safetensors,
    suffixes=(".safetensors",),
    looks=re.compile(rb".{8}\s*\{\s*[\"}]", re.DOTALL),  # after a length that may be any
)
GGUF: Final = Container(
    name="gguf",
    reader=_gguf,
    suffixes=(".gguf",),
    magic=b"GGUF",
    self_described=True,
    configs_beside=False,
    part_is_whole=True,
    llama_cpp=True,
)
ONNX: Final = Container(name="onnx", reader=_onnx, suffixes=(".onnx",), graph=True, self_described=True)
PYTORCH: Final = Container(
    name="pytorch",
    reader=_pytorch,
    suffixes=(".bin", ".pt", ".pth", ".ckpt"),
    magic=b"PK\x03\x04",
    looks=re.compile(rb"\x80[\x02-\x05]"),
)
CONTAINERS: Final = (SAFETENSORS, GGUF, ONNX, PYTORCH)

#: a JSON file: config or index, never weights
CONFIG_SUFFIX: Final = ".json"
_SUFFIXES: Final = {suffix: container for container in CONTAINERS for suffix in container.suffixes}
_HEAD: Final = 512
#: characters of a text that an error shows
_SHOWN_TEXT: Final = 60


class _Foreign(NamedTuple):
    """A file that is not a checkpoint, by its first bytes, and what the error says of it."""

    head: re.Pattern[bytes]
    reason: str


_FOREIGN: Final = (
    _Foreign(
        re.compile(rb"version https://git-lfs\.github\.com/"),
        "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    ),
    _Foreign(
        re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE),
        "is an HTML page, not a checkpoint; download the file again",
    ),
    _Foreign(re.compile(rb"\x93NUMPY"), "is a NumPy array, which is not a checkpoint format"),
)


def container_of(source: Source, registry: Registry) -> Container | None:
    """The container of a file: by its first bytes if they are decisive, else by its suffix; None for JSON.

    Plugins are consulted only for a file that no container of this package claims.

    Raises:
        CheckpointError: if it is of no format that is read here, or only a pointer to a file.
    """
    head = source.read(0, min(source.size, _HEAD))
    for foreign in _FOREIGN:
        if foreign.head.match(head):
            raise CheckpointError(source.path, foreign.reason)
    suffix = suffix_of(source.name)
    found = _by_magic(CONTAINERS, head)
    if found:
        return found
    if suffix == CONFIG_SUFFIX:
        return None
    if suffix in PYTORCH.suffixes and source.sibling_size(f"{source.name.removesuffix(suffix)}.xml") is not None:
        raise CheckpointError(
            source.path, "belongs to an OpenVINO model, which is not read; name the model it was converted from"
        )
    found = _SUFFIXES.get(suffix)
    if not suffix:  # a blob in a cache, say
        found = _by_looks(CONTAINERS, head)
    found = found or _of_plugin(registry, head, suffix) or _by_looks(CONTAINERS, head)
    if found is None:
        raise CheckpointError(source.path, "is not a checkpoint: neither its name nor its first bytes are known")
    return found


def beginning_of_text(source: Source) -> str:
    """The beginning of a file that is text, such as an error message of a server; empty if it is not text."""
    head = source.read(0, min(source.size, _HEAD))
    try:
        # a character that is cut at the end of the head is no reason to call it binary
        text = getincrementaldecoder("utf-8")().decode(head).strip()
    except UnicodeDecodeError:
        return ""
    return text[:_SHOWN_TEXT] if all(character.isprintable() or character.isspace() for character in text) else ""


def _by_magic(containers: Sequence[Container], head: bytes) -> Container | None:
    return next((each for each in containers if each.magic and head.startswith(each.magic)), None)


def _by_looks(containers: Sequence[Container], head: bytes) -> Container | None:
    return next((each for each in containers if each.looks and each.looks.match(head)), None)


def _of_plugin(registry: Registry, head: bytes, suffix: str) -> Container | None:
    containers = plugin_containers(registry)
    by_suffix = (container for container in containers if suffix in container.suffixes)
    return _by_magic(containers, head) or next(by_suffix, None) or _by_looks(containers, head)


def plugin_containers(registry: Registry) -> tuple[Container, ...]:
    """The containers of all plugins; the first call imports them."""
    from quantlevels.checkpoint.plugins import CONTAINER_PLUGINS  # here: most files need no plugin

    registry._installed.load(CONTAINER_PLUGINS.group)
    return registry._installed.loaded(CONTAINER_PLUGINS)


def is_weights(name: str, plugins: Sequence[Container] = ()) -> bool:
    """Whether a file has a name that weights have.

    Args:
        name: of the file.
        plugins: containers of plugins to consider besides those of this package.
    """
    suffix = suffix_of(name)
    known = suffix in _SUFFIXES or any(suffix in container.suffixes for container in plugins)
    return known and not NOT_WEIGHTS.fullmatch(name)


def container_named(name: str) -> Container | None:
    """The container of this package whose suffix a file name has; None for any other name."""
    return _SUFFIXES.get(suffix_of(name))
