"""What a plugin of the group ``quantlevels.containers`` has to be, and what its reader has to give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.catalogue import CONFIG_SUFFIX, CONTAINERS
from quantlevels.checkpoint.names import suffix_of
from quantlevels.checkpoint.source import shown
from quantlevels.container import CONFIG, Container, Contents, File, Node, Places, Tensors, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.entry_points import one_line
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.plugins import CONTAINER_GROUP, PluginContract

if TYPE_CHECKING:
    from quantlevels.container import Source, TypeLookup


def _reserved(name: str) -> str:
    return "a format" if name == CONFIG or any(name == container.name for container in CONTAINERS) else ""


def _clash(container: Container) -> tuple[str, str] | None:
    """The first name, suffix or magic of a container that belongs to one of this package, and what it means."""
    if meaning := _reserved(container.name):
        return container.name, meaning
    for name in container.names:
        if suffix_of(name) == CONFIG_SUFFIX or any(name in builtin.names for builtin in CONTAINERS):
            return name, "files of a format"
    for builtin in CONTAINERS:
        for suffix in container.suffixes:
            if suffix == CONFIG_SUFFIX or suffix in builtin.suffixes:
                return suffix, "files of a format"
        if container.magic and _is_taken(container.magic, builtin):
            return repr(container.magic), "the first bytes of a format"
    return None


def _is_taken(magic: bytes, builtin: Container) -> bool:
    """Whether a file that begins so is one of a container of this package, or may be."""
    if builtin.looks and builtin.looks.match(magic):
        return True
    return bool(builtin.magic) and (magic.startswith(builtin.magic) or builtin.magic.startswith(magic))


def read_by_plugin(container: Container, source: Source, level_of: TypeLookup) -> Contents:
    """What the reader of a plugin says of a file.

    Raises:
        CheckpointError: if it refuses the file, fails in any other way, or gives what it must not.
    """
    try:
        contents = container.reader(source, level_of)
    except (CheckpointError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # of a plugin: it must not end the program, whatever it raises
        reason = f"is not read: the plugin for {container.name} failed with {one_line(error)}; please tell its author"
        raise CheckpointError(source.path, reason) from error
    problem = next(contents_problems(contents, source.name, source.size), "")
    if problem:
        reason = f"is not read: the plugin for {container.name} is wrong: {problem}; please tell its author"
        raise CheckpointError(source.path, reason)
    return contents


def contents_problems(contents: object, file: str, size: int) -> Iterator[str]:
    """What a reader gives that is not as `quantlevels.container` says, in words.

    Args:
        contents: what it gives.
        file: name of the file that it read.
        size: bytes of that file.
    """
    if not isinstance(contents, Contents):
        yield f"it gives a {type(contents).__name__}, not Contents"
        return
    columns: tuple[tuple[str, object, type], ...] = (
        ("findings", contents.findings, Finding),
        ("files", contents.files, File),
        ("nodes", contents.nodes, Node),
        ("tied", contents.tied, str),
    )
    for what, values, class_ in columns:
        if not isinstance(values, tuple) or not all(isinstance(value, class_) for value in values):
            yield f"its {what} are not a tuple of {class_.__name__}"
    mappings: tuple[tuple[str, object, type | UnionType], ...] = (
        ("metadata", contents.metadata, str | int | float | bool),
        ("markers", contents.markers, bytes),
    )
    for what, values, classes in mappings:
        if not isinstance(values, Mapping) or not all(
            isinstance(name, str) and isinstance(value, classes) for name, value in values.items()
        ):
            yield f"its {what} are not a mapping as `Contents` has it"
    wrong = [problem for tensor in contents.tensors if (problem := _tensor_problem(*tensor))]
    yield from wrong
    if not wrong:  # else names and bytes may be anything
        yield from _together_problems(contents, file, size)


def _tensor_problem(name: object, dtype: object, shape: object, nbytes: object) -> str:
    """What is wrong with one tensor; empty if nothing is."""
    if not isinstance(name, str):
        return f"a tensor is named {name!r}, not by a text"
    if not isinstance(dtype, QuantizationLevel | UnknownType):
        return f"tensor {shown(name)} has the dtype {dtype!r}: take it from the look-up that the reader is given"
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        return f"tensor {shown(name)} has the shape {shape!r}: give a tuple of integers"
    if not isinstance(nbytes, int) or nbytes < 0:
        return f"tensor {shown(name)} has {nbytes!r} bytes: give an integer"
    if isinstance(dtype, QuantizationLevel) and dtype.block.weights == 1 and not dtype.block.bits % BITS_PER_BYTE:
        needed = math.prod(shape) * dtype.block.bits // BITS_PER_BYTE
        if nbytes != needed:
            return f"tensor {shown(name)} has {nbytes:,} bytes: {dtype} of shape {list(shape)} has {needed:,}"
    return ""


def _together_problems(contents: Contents, file: str, size: int) -> Iterator[str]:
    """What is wrong with tensors and places that are sound one by one."""
    tensors: Tensors = contents.tensors
    places: object = contents.places
    if len(set(tensors.names)) != len(tensors):
        yield "two tensors have the same name"
    if not isinstance(places, Places):
        yield f"its places are a {type(places).__name__}, not Places"
        return
    if places and len(places) != len(tensors):
        yield f"{len(places):,} places for {len(tensors):,} tensors: give one per tensor, or none"
        return
    in_file = 0
    for tensor, place in zip(tensors, places, strict=bool(places)):
        if place and place.file == file:
            in_file += tensor.nbytes
            if not 0 <= place.offset <= size - tensor.nbytes:
                yield f"tensor {shown(tensor.name)} ends after the file: raise TruncatedError for such a file"
    if in_file > size:
        yield f"its tensors take {in_file:,} bytes of a file of {size:,}"


CONTAINER_PLUGINS: Final = PluginContract(
    group=CONTAINER_GROUP,
    class_=Container,
    noun="format",
    names=lambda container: (container.name,),
    reserved=_reserved,
    clash=_clash,
    places=lambda container: (
        *(("suffix", suffix) for suffix in container.suffixes),
        *(("file name", name) for name in container.names),
        *([("magic", container.magic.hex())] if container.magic else []),
    ),
)
