"""The contract of a container's reader, as a check on a small file and damaged copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Final, TypeAlias, final

from attrs import frozen

from quantlevels.checkpoint.plugins import contents_problems
from quantlevels.checkpoint.storage_types import type_lookup
from quantlevels.container import Container, Contents, TruncatedError
from quantlevels.errors import CheckpointError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: name of a tensor → its level and shape
Expected: TypeAlias = Mapping[str, tuple[QuantizationLevel, tuple[int, ...]]]

#: how many copies of the file are cut, and how many get changed bytes
_CUTS: Final = 64
_CHANGES: Final = 256
#: bytes at the front of the file that are changed: where headers are
_CHANGED: Final = 4096


@final
@frozen
class MemoryFile:
    """A file in memory."""

    path: Path
    content: bytes
    version: None = None
    is_local: bool = True

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self.content)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``.

        Raises:
            TruncatedError: if the file ends before.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise TruncatedError(self.path, f"truncated: {count:,} bytes are needed", offset)
        return self.content[offset : offset + count]

    def prefetch(self, offset: int, least: int) -> None:
        """Nothing: all is there."""

    def sibling_size(self, name: str) -> None:
        """No file is beside it."""


def reader_problems(container: Container, file: Path, expected: Expected) -> Iterator[str]:
    """What is wrong with a container and its reader, one line each.

    Args:
        container: to be checked.
        file: a small one of the container.
        expected: its tensors.
    """
    content = file.read_bytes()
    yield from _recognition(container, file, content)
    try:
        contents = container.reader(MemoryFile(file, content), type_lookup(levels))
    except Exception as error:  # whatever a reader raises is a problem to report
        yield f"{file.name}: it is not read: {type(error).__name__}: {error}"
        return
    problems = list(contents_problems(contents, file.name, len(content)))
    yield from problems
    if not problems:  # else what it gives may be anything
        yield from _expectation_problems(contents, expected)
    yield from _damage_problems(container, file, content)


def _recognition(container: Container, file: Path, content: bytes) -> Iterator[str]:
    if container.magic and not content.startswith(container.magic):
        yield f"{file.name}: it does not begin with the magic {container.magic!r}"


def _expectation_problems(contents: Contents, expected: Expected) -> Iterator[str]:
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in contents.tensors}
    for name in expected.keys() - found.keys():
        yield f"tensor {name!r} is missing"
    for name in found.keys() - expected.keys():
        yield f"tensor {name!r} is not expected"
    for name in expected.keys() & found.keys():
        if found[name] != expected[name]:
            yield f"tensor {name!r} is {found[name]}, not {expected[name]}"


def _damage_problems(container: Container, file: Path, content: bytes) -> Iterator[str]:
    """What a reader raises on damaged copies that is not a CheckpointError, each kind once."""
    random = Random(0)  # the same copies in every run, so that a problem can be repeated
    copies = [content[: len(content) * cut // _CUTS] for cut in range(_CUTS)]
    for _ in range(_CHANGES if content else 0):
        changed = bytearray(content)
        changed[random.randrange(min(len(content), _CHANGED))] = random.randrange(256)
        copies.append(bytes(changed))
    kinds: dict[str, str] = {}
    for copy in copies:
        try:
            container.reader(MemoryFile(file, copy), type_lookup(levels))
        except CheckpointError:
            continue
        except Exception as error:  # the very thing that is looked for
            kinds.setdefault(type(error).__name__, str(error))
    for kind, text in kinds.items():
        yield f"on damaged copies it raises {kind} ({text:.80}): raise CheckpointError, and check counts before use"
