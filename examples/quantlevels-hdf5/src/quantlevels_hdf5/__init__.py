"""HDF5 files as a container of quantlevels: Keras's ``.h5`` and ``.weights.h5``, and any other file of arrays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from quantlevels.container import Container, Contents, Place, Places, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlevels.container import Source, TypeLookup

__all__ = ["HDF5", "read_hdf5"]

_MAGIC = b"\x89HDF\r\n\x1a\n"


class _File(io.RawIOBase):
    """A source as a Python file, which is what h5py reads from; nothing is read but what h5py asks for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # Any: a writable buffer, for which Python 3.11 has no type
        count = max(min(len(buffer), self._source.size - self._position), 0)
        buffer[:count] = self._source.read(self._position, count)
        self._position += count
        return count


def read_hdf5(source: Source, level_of: TypeLookup) -> Contents:
    """The datasets of an HDF5 file, named by their path with dots: ``layers.dense.vars.0``.

    Links to other files are not followed. Datasets that are cut into chunks, or compressed, have no place.

    Raises:
        CheckpointError: if the file is malformed.
    """
    import h5py  # type: ignore[import-untyped]  # here: it takes long to import, and has no types

    try:
        with h5py.File(_File(source), "r") as file:
            datasets = list(_datasets(file))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # what h5py raises for malformed files
        raise CheckpointError(source.path, f"is not a valid HDF5 file: {error}".replace("\n", " ")) from error
    tensors = [Tensor(name, level_of("numpy", dtype), shape, nbytes) for name, dtype, shape, nbytes, _ in datasets]
    offsets = [offset for *_, offset in datasets]
    findings = tuple(
        Finding("QL301", f"{tensor.dtype} is not a known level", tensor.name)
        for tensor in tensors
        if isinstance(tensor.dtype, UnknownType)
    )
    places = Places.of(None if offset is None else Place(source.name, offset) for offset in offsets)
    return Contents(tensors=tensors, places=places, findings=findings)


def _datasets(file: Any) -> Iterator[tuple[str, str, tuple[int, ...], int, int | None]]:  # Any: h5py brings no types
    """Name, numpy dtype, shape, bytes and byte offset of each dataset of numbers."""
    import h5py

    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    for dataset in found:
        if dataset.dtype.kind in "OSU":  # texts, such as Keras's configuration
            continue
        name = dataset.name.strip("/").replace("/", ".")
        yield (
            name,
            dataset.dtype.name,
            tuple(dataset.shape),
            dataset.size * dataset.dtype.itemsize,
            dataset.id.get_offset(),
        )


HDF5 = Container(name="hdf5", reader=read_hdf5, suffixes=(".h5", ".hdf5"), magic=_MAGIC)
