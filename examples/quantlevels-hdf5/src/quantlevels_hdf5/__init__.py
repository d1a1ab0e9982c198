"""HDF5 files and ``.keras`` archives as containers of quantlevels: what Keras writes, and any other file of arrays."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

from quantlevels.container import Container, Contents, Place, Places, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlevels.container import Source, TypeLookup

__all__ = ["HDF5", "KERAS", "read_hdf5", "read_keras"]

_MAGIC = b"\x89HDF\r\n\x1a\n"
#: the file in a ``.keras`` archive that holds the weights, and the bytes of a local header before its name
_WEIGHTS = "model.weights.h5"
_LOCAL_HEADER = struct.Struct("<26xHH")
#: groups in which Keras keeps the state of an optimizer, which is not weights
_OPTIMIZERS = ("optimizer/", "optimizer_weights/")
#: sign bit, exponent's place and bits, mantissa's place and bits → the type; NumPy has none for it
_FLOATS = {(15, 7, 8, 0, 7): "bfloat16"}


class _File(io.RawIOBase):
    """Part of a source as a Python file, which is what h5py and zipfile read from; it reads what they ask for."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        self._source = source
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # Any: a writable buffer, for which Python 3.11 has no type
        count = max(min(len(buffer), self._size - self._position), 0)
        buffer[:count] = self._source.read(self._start + self._position, count)
        self._position += count
        return count


class _Array(NamedTuple):
    """A dataset as its header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    #: bytes before it in the HDF5 file; None if its bytes are not a plain little-endian array there
    offset: int | None


def read_hdf5(source: Source, level_of: TypeLookup) -> Contents:
    """The arrays of an HDF5 file, named by their path with dots: ``layers.dense.vars.0``.

    The state of an optimizer is left out. Links to other files are not followed, but reported.

    Raises:
        CheckpointError: if the file is malformed.
    """
    return _read(source, 0, source.size, level_of)


def read_keras(source: Source, level_of: TypeLookup) -> Contents:
    """The arrays of the HDF5 file in a ``.keras`` archive.

    Raises:
        CheckpointError: if the archive is malformed, or compressed: then its arrays have no place in it.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(_File(source, 0, source.size))) as archive:
            entry = archive.getinfo(_WEIGHTS)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise CheckpointError(source.path, f"is not a valid Keras archive: {_one_line(error)}") from error
    if entry.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(source.path, f"is compressed; unzip it, and inspect the {_WEIGHTS} in it")
    # the name and the extra field of the local header may be longer than those of the directory at the end
    local_header = source.read(entry.header_offset, 30)
    start = entry.header_offset + len(local_header) + sum(_LOCAL_HEADER.unpack(local_header))
    return _read(source, start, min(entry.file_size, max(source.size - start, 0)), level_of)


def _read(source: Source, start: int, size: int, level_of: TypeLookup) -> Contents:
    """The arrays of the HDF5 file that begins at ``start`` and has ``size`` bytes."""
    import h5py  # type: ignore[import-untyped]  # here: it takes long to import, and has no types

    try:
        with h5py.File(_File(source, start, size), "r") as file:
            arrays = list(_arrays(file))
            elsewhere = _external_links(file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # what h5py raises for malformed files
        raise CheckpointError(source.path, f"is not a valid HDF5 file: {_one_line(error)}") from error
    if len({array.name for array in arrays}) < len(arrays):
        raise CheckpointError(source.path, "has two arrays whose paths are the same with dots in place of slashes")
    tensors = [Tensor(array.name, level_of("numpy", array.dtype), array.shape, array.nbytes) for array in arrays]
    places = (None if array.offset is None else Place(source.name, start + array.offset) for array in arrays)
    findings = [
        Finding("QL301", f"{tensor.dtype} is not a known level", tensor.name)
        for tensor in tensors
        if isinstance(tensor.dtype, UnknownType)
    ]
    for name, file_name in elsewhere:
        findings.append(Finding("QL202", f"is a link to {file_name!r}, another file; inspect that file as well", name))
    return Contents(tensors=tensors, places=Places.of(places), findings=tuple(findings))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _arrays(file: Any) -> Iterator[_Array]:  # Any: h5py brings no types
    """Each dataset of numbers, once if several names lead to it."""
    import h5py

    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    for dataset in found:
        name = dataset.name.strip("/")
        # a dataset may have no shape, and so no elements
        if not (dataset.shape is None or name.startswith(_OPTIMIZERS) or _is_text(dataset.dtype)):
            yield _array(name.replace("/", "."), dataset)


def _is_text(dtype: Any) -> bool:
    """Whether a dataset holds texts, such as Keras's configuration, or references to other datasets."""
    import h5py

    return dtype.kind in "SU" or h5py.check_string_dtype(dtype) is not None or h5py.check_ref_dtype(dtype) is not None


def _array(name: str, dataset: Any) -> _Array:
    itemsize = dataset.id.get_type().get_size()
    nbytes = dataset.size * itemsize
    # of a dataset that was never written, or is kept in another file, the offset means nothing
    is_whole = dataset.id.get_storage_size() == nbytes and not dataset.external
    is_plain = dataset.dtype.newbyteorder("<") == dataset.dtype and dataset.dtype.kind != "O"
    offset = dataset.id.get_offset() if is_whole and is_plain else None
    return _Array(name, _dtype(dataset), tuple(dataset.shape), nbytes, offset)


def _dtype(dataset: Any) -> str:
    """The name of a type; NumPy has none for some, which h5py then shows as a wider type."""
    import h5py

    stored = dataset.id.get_type()
    if dataset.dtype.kind == "O":
        return "variable-length array"
    if dataset.dtype.kind == "V" and dataset.attrs.get("dtype") == "bfloat16" and stored.get_size() == 2:
        return "bfloat16"  # Keras writes bytes without a type, and this beside them
    if isinstance(stored, h5py.h5t.TypeFloatID) and stored.get_size() != dataset.dtype.itemsize:
        return _FLOATS.get(stored.get_fields(), f"float of {stored.get_precision()} bits")
    name: str = dataset.dtype.name
    return name


def _external_links(file: Any) -> list[tuple[str, str]]:
    """The links to other files: where each stands, and the file it names."""
    import h5py

    found: list[tuple[str, str]] = []

    def note(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append((name.replace("/", "."), str(link.filename)))

    file.visititems_links(note)
    return found


HDF5 = Container(name="hdf5", reader=read_hdf5, suffixes=(".h5", ".hdf5"), magic=_MAGIC)
KERAS = Container(name="keras", reader=read_keras, suffixes=(".keras",))
