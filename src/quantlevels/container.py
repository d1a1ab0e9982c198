"""The contract of a container: what the author of a container plugin imports.

A container is a file format that holds tensors, such as safetensors or GGUF. Its reader gets a `Source` of bytes and
returns `Contents`: what the header says, never the weights themselves. `Container` names the format, says how its files
are recognized and what holds of all of them.
"""

from __future__ import annotations

import fnmatch
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias, final, overload

from attrs import field, frozen

from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from pathlib import Path

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
#: a value in the header of a container
Scalar: TypeAlias = str | int | float | bool
ByteOrder: TypeAlias = Literal["little", "big"]

#: Name of a checkpoint without weights: config files alone.
CONFIG: Final = "config"


@final
class TruncatedError(CheckpointError):
    """A file that ends before what its header promises."""


@final
class UnknownType(NamedTuple):
    """A storage type that stands for no known level: reported, never guessed.

    Args:
        dialect: the naming system it comes from.
        spelling: what the file says.
    """

    dialect: str
    spelling: str | int

    @property
    def name(self) -> str:
        """The text that records show in place of a level's name."""
        return str(self)

    def __str__(self) -> str:
        return f"{self.dialect} type {self.spelling}"


#: ``(dialect, spelling)`` → the level a storage type stands for; `UnknownType` if no level, or more than one, has it.
TypeLookup: TypeAlias = Callable[[str, str | int], QuantizationLevel | UnknownType]


class Tensor(NamedTuple):
    """One tensor as a header describes it."""

    name: str
    #: what one stored element is
    dtype: QuantizationLevel | UnknownType
    #: stored elements per axis, rows last (logical weights if the container counts those: GGUF, sub-byte types)
    shape: tuple[int, ...]
    #: its bytes in the file, exact
    nbytes: int


#: a tensor without its name: dtype, shape and bytes, as in `Tensor`
Form: TypeAlias = tuple[QuantizationLevel | UnknownType, tuple[int, ...], int]
_form_bytes: Callable[[Form], int] = itemgetter(2)
_NAMES_AT_ONCE: Final = 4096


@final
@frozen(repr=False)
class Tensors(Sequence[Tensor]):
    """Many tensors in two columns, names and forms: of thousands of tensors, most share one of a few forms.

    Args:
        names: their names.
        forms: dtype, shape and bytes of each, in the same order.
    """

    names: Sequence[str] = ()
    forms: Sequence[Form] = ()

    @classmethod
    def joined(cls, parts: Collection[Tensors]) -> Tensors:
        """The tensors of all parts, one after the other."""
        names: list[str] = []
        forms: list[Form] = []
        for part in parts:
            names += part.names
            forms += part.forms
        return cls(names, forms)

    def chosen(self, indices: Collection[int]) -> Tensors:
        """Some of the tensors, by their indices."""
        return Tensors([self.names[index] for index in indices], [self.forms[index] for index in indices])

    def mention(self, text: str) -> bool:
        """Whether any of the names contains a text."""
        # one search in many joined names takes a tenth of the time of a search in each name
        starts = range(0, len(self.names), _NAMES_AT_ONCE)
        return any(text in "\n".join(self.names[start : start + _NAMES_AT_ONCE]) for start in starts)

    @property
    def nbytes(self) -> int:
        """Bytes of all of them together."""
        return sum(map(_form_bytes, self.forms))

    def __repr__(self) -> str:
        return f"<Tensors {len(self):,}>"

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Tensors: ...
    def __getitem__(self, index: int | slice) -> Tensor | Tensors:
        if isinstance(index, slice):
            return Tensors(self.names[index], self.forms[index])
        return Tensor(self.names[index], *self.forms[index])

    def __iter__(self) -> Iterator[Tensor]:
        for name, (dtype, shape, nbytes) in zip(self.names, self.forms, strict=True):
            yield Tensor(name, dtype, shape, nbytes)


def in_columns(tensors: Iterable[Tensor]) -> Tensors:
    """The columns of tensors that were made one by one; equal forms become one object."""
    if isinstance(tensors, Tensors):
        return tensors
    names: list[str] = []
    forms: list[Form] = []
    shared: dict[Form, Form] = {}
    for name, dtype, shape, nbytes in tensors:
        form = dtype, shape, nbytes
        names.append(name)
        forms.append(shared.setdefault(form, form))
    return Tensors(names, forms)


class Place(NamedTuple):
    """Where the bytes of a tensor begin."""

    #: path of the file within the folder of the checkpoint
    file: str
    #: bytes before the tensor in that file
    offset: int


_NOWHERE: Final = -1  # in place of None, which an array of integers cannot hold


@final
@frozen(eq=False, repr=False)
class Places:
    """The place of each tensor, in the order of the tensors: 12 bytes of memory per tensor.

    A place is None if the bytes of the tensor do not stand in the file as a plain row-major array: compressed,
    transposed, or numbers in a variable-length encoding.

    Args:
        files: names of files.
        file_indices: per tensor an index into ``files``.
        offsets: per tensor the byte offset in that file, -1 if it has no place.
    """

    files: tuple[str, ...] = ()
    file_indices: array[int] = field(factory=lambda: array("I"))
    offsets: array[int] = field(factory=lambda: array("q"))

    @classmethod
    def in_file(cls, file: str, offsets: Iterable[int | None] | array[int]) -> Places:
        """The places of tensors in one file, by their byte offsets.

        Raises:
            OverflowError: if an offset is not below 2 to the 63.
        """
        if isinstance(offsets, array):  # readers of large headers have an array already: no Python object per tensor
            column: array[int] = offsets  # pyrefly: ignore[bad-assignment]  # an array holds no None
        else:
            column = array("q", (_NOWHERE if offset is None else offset for offset in offsets))
        return cls((file,), array("I", [0]) * len(column), column)

    @classmethod
    def nowhere(cls, count: int) -> Places:
        """The places of ``count`` tensors, none of which stands in a file as a plain array."""
        return cls((), array("I", [0]) * count, array("q", [_NOWHERE]) * count)

    @classmethod
    def of(cls, places: Iterable[Place | None]) -> Places:
        """The places of tensors in several files."""
        files: dict[str, int] = {}
        result = cls()
        for place in places:
            if place is None:
                result.file_indices.append(0)  # any number: with this offset it is never read
                result.offsets.append(_NOWHERE)
            else:
                result.file_indices.append(files.setdefault(place.file, len(files)))
                result.offsets.append(place.offset)
        return cls(tuple(files), result.file_indices, result.offsets)

    @classmethod
    def joined(cls, parts: Iterable[Places]) -> Places:
        """The places of all parts, one after the other."""
        files: dict[str, int] = {}
        file_indices, offsets = array("I"), array("q")
        for part in parts:
            renumbered = [files.setdefault(file, len(files)) for file in part.files]
            if len(renumbered) == 1:  # nearly every shard is one file: repeating its index needs no Python loop
                file_indices.extend(array("I", renumbered) * len(part))
            else:
                file_indices.extend(map(renumbered.__getitem__, part.file_indices))
            offsets.extend(part.offsets)
        return cls(tuple(files), file_indices, offsets)

    def chosen(self, indices: Sequence[int]) -> Places:
        """The places of some of the tensors, by their indices."""
        file_indices = array("I", map(self.file_indices.__getitem__, indices))
        return Places(self.files, file_indices, array("q", map(self.offsets.__getitem__, indices)))

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Place | None:
        offset = self.offsets[index]
        return None if offset == _NOWHERE else Place(self.files[self.file_indices[index]], offset)

    def __iter__(self) -> Iterator[Place | None]:
        files = self.files
        for index, offset in zip(self.file_indices, self.offsets, strict=True):
            yield None if offset == _NOWHERE else Place(files[index], offset)


@final
class Node(NamedTuple):
    """An operator of a graph (ONNX)."""

    op_type: str
    domain: str
    #: names of the inputs in their order, stored tensors or not; empty for one that is left out
    inputs: tuple[str, ...]
    #: names of the outputs in their order
    outputs: tuple[str, ...]
    #: the attributes that are numbers, short texts, or short lists of integers
    attributes: Mapping[str, int | float | str | tuple[int, ...]]


@final
class File(NamedTuple):
    """A file of a checkpoint: its path within the folder, and its size in bytes."""

    path: str
    nbytes: int


@final
class RemoteLimits(NamedTuple):
    """How much may be fetched of one remote file. Passing a limit raises an error that names it.

    Args:
        requests: number of requests, with those sent again, without redirects.
        nbytes: bytes received.
        seconds: seconds of all requests together. The time that a busy server asks to wait is not counted; it has its
            own limit, 3 minutes.
        silence: seconds without a byte after which a request fails. A whole request may take twice that, plus one
            second per 64 KiB.
    """

    requests: int = 512
    nbytes: int = 1 << 28
    seconds: float = 120.0
    silence: float = 10.0


#: Of one remote file if weights are read as well as headers, unless the caller gives others: a sample takes some ten
#: requests per tensor.
LIMITS_FOR_VALUES: Final = RemoteLimits(requests=1 << 16, nbytes=1 << 40, seconds=3600)


class Source(Protocol):
    """The bytes of one open file, local or remote. A reader asks for the header only.

    Every method raises `CheckpointError` if the file cannot be read or changes while it is read.
    """

    @property
    def path(self) -> Path | str:
        """Path or URL, for errors and records; it carries no credentials."""
        ...

    @property
    def name(self) -> str:
        """Path of the file within the folder of the checkpoint."""
        ...

    @property
    def size(self) -> int:
        """Bytes in the file."""
        ...

    @property
    def version(self) -> str | None:
        """A mark that changes with the content, such as an ETag; None for a local file."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether many small reads far apart cost little; over a network each takes a request."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``.

        Raises:
            TruncatedError: if the file ends before, with the offset.
        """
        ...

    def prefetch(self, offset: int, least: int) -> None:
        """Announce that at least ``least`` bytes from ``offset`` will be read: one request instead of several."""
        ...

    def sibling_size(self, name: str) -> int | None:
        """Bytes in another file of the same folder, by its path within it; None if it is missing.

        Raises:
            CheckpointError: if the name leads out of the folder.
        """
        ...


class Folder(Protocol):
    """The folder of a checkpoint, local or remote."""

    @property
    def path(self) -> Path | str:
        """Path or URL, for errors and records; it carries no credentials."""
        ...

    @property
    def name(self) -> str:
        """The last part of its path."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether opening a file takes no round trip over a network."""
        ...

    def names(self) -> Sequence[str]:
        """Names of the files in it, sorted; none of its folders."""
        ...

    def folders(self) -> Sequence[str]:
        """Names of the folders in it, sorted."""
        ...

    def dangling(self) -> Sequence[str]:
        """Names of links in it that lead nowhere, sorted."""
        ...

    def others(self) -> Sequence[str]:
        """Names of what is in it and is not a regular file: folders, pipes, devices; sorted."""
        ...

    def subfolder(self, name: str) -> Folder:
        """One of its folders."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes in a file, by its path within the folder; None if it is missing."""
        ...

    def open(self, name: str) -> AbstractContextManager[Source]:
        """One of its files, by its path within the folder.

        Raises:
            CheckpointError: if it cannot be opened or is not a regular file.
        """
        ...


@frozen(kw_only=True, eq=False, repr=False)
class Contents:
    """What the header of one file says."""

    #: given as any iterable of `Tensor`
    tensors: Tensors = field(factory=Tensors, converter=in_columns)
    #: the place of each tensor, in the same order; empty if the reader gives none
    places: Places = field(factory=Places)
    #: the header's own key-values, scalars only
    metadata: Mapping[str, Scalar] = field(factory=dict[str, Scalar])
    #: order of the bytes within a number
    byte_order: ByteOrder = "little"
    #: other files that hold tensors of this one (external data of ONNX)
    files: tuple[File, ...] = ()
    #: defects that leave the rest readable: QL201 to QL206, and QL301 for types that no level has
    findings: tuple[Finding, ...] = ()
    #: the operators of a graph and its subgraphs, in their order
    nodes: tuple[Node, ...] = ()
    #: name → content of each tensor that holds text about others, such as ``comfy_quant``
    markers: Mapping[str, bytes] = field(factory=dict[str, bytes])
    #: further names of tensors that are in ``tensors`` under another name and counted there (aliases, tied weights)
    tied: tuple[str, ...] = ()


#: What reads the header of one file.
Reader: TypeAlias = Callable[[Source, TypeLookup], Contents]


@final
@frozen(kw_only=True, eq=False, repr=False)
class Container:
    """A file format that holds tensors.

    Args:
        name: what records call it.
        reader: reads the header of one file; it raises `CheckpointError` if the file breaks a rule of the format.
        suffixes: endings of file names, in lower case with their dot; several containers may share one.
        names: whole names of files that are always of this format.
        magic: first bytes that no other format has; they decide, even against the name of a file.
        looks: pattern that the first bytes of such a file match. It decides if the name has no known ending, as in a
            cache of blobs, or an ending that several containers share.
        is_text: whether its files are text, so that text is not a sign of an error page.
        graph: kind of graph whose operators say which tensors are quantized, and how; empty if it has no operators.
        self_described: whether the storage types say how weights are quantized, without any config.
        configs_beside: whether config files in the same folder describe the weights.
        part_is_whole: whether any numbered part, named alone, stands for the whole model.
        llama_cpp: whether names of tensors and ``general.file_type`` are those of llama.cpp.
        decoration: what its writers put before or after the names that weights have in the model.

    Raises:
        TypeError: if the reader cannot be called, or the suffixes, names or first bytes are of another type.
        ValueError: if a suffix is not in lower case with its one dot, or no file can match the container.
    """

    name: str
    reader: Reader
    suffixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    magic: bytes = b""
    looks: re.Pattern[bytes] | None = None
    is_text: bool = False
    graph: Literal["", "onnx", "openvino"] = ""
    self_described: bool = False
    configs_beside: bool = True
    part_is_whole: bool = False
    llama_cpp: bool = False
    decoration: re.Pattern[str] | None = None

    def __attrs_post_init__(self) -> None:
        if not callable(self.reader):
            raise TypeError(f"the reader of a container has to be a function, not {type(self.reader).__name__}")
        texts: tuple[tuple[str, object], ...] = (("suffixes", self.suffixes), ("names", self.names))
        for what, value in texts:
            if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
                raise TypeError(f"the {what} of a container have to be a tuple of texts, not {value!r}")
        if not isinstance(self.magic, bytes):
            raise TypeError(f"the magic of a container has to be bytes, not {self.magic!r}")
        # not every author has a type checker: `looks` may be anything, and have no pattern at all
        if self.looks is not None and not isinstance(getattr(self.looks, "pattern", None), bytes):
            raise TypeError(f"what a container looks like has to be a pattern of bytes, not {self.looks!r}")
        for suffix in self.suffixes:
            if not suffix.startswith(".") or suffix != suffix.lower():
                raise ValueError(f"suffix {suffix!r}: write it in lower case with its dot")
            if "." in suffix[1:]:  # no file would match: a suffix is what follows the last dot of a name
                raise ValueError(f"suffix {suffix!r}: write what follows the last dot alone")
        if not (self.suffixes or self.names or self.magic or self.looks):
            raise ValueError("no file can match this container: give it suffixes, names, magic or looks")

    # by hand, here and in `quantlevels.scheme`: what attrs generates is compiled when the module is imported
    def __repr__(self) -> str:
        return f"<Container {self.name}>"


@final
@frozen(kw_only=True, eq=False, repr=False)
class Checkpoint(Contents):
    """What the headers of all files of a checkpoint say, and the config files beside them."""

    #: path or URL
    path: str
    #: None for config files alone
    container: Container | None
    #: the folder the files are in; None if the checkpoint was not read from files
    folder: Folder | None = field(default=None, eq=False, repr=False)
    #: name of a config file (``config.json``, ``quantize_config.json`` ...) → the object in it
    configs: Mapping[str, Mapping[str, JSON]] = field(factory=dict[str, Mapping[str, JSON]])
    #: whether tensors are missing: a file is lost or cut, or it is one numbered part of several
    partial: bool = False
    #: the models of a folder that holds several which belong together (diffusers, sentence-transformers)
    components: tuple[Checkpoint, ...] = ()

    @property
    def format(self) -> str:
        """Name of the container; ``config`` for config files alone."""
        return self.container.name if self.container else CONFIG

    def path_of(self, file: str) -> str:
        """Path or URL of a file of the checkpoint, for messages."""
        return str(self.path) if self.folder is None else f"{self.folder.path}/{file}"


#: Last parts of names of small tensors whose bytes are text about the tensors beside them.
MARKERS: Final = frozenset({"comfy_quant"})

#: Config files that may stand beside the weights and speak about their levels: names and globs. If several
#: do, the first in this order speaks for the model: ``config.json`` is what loaders read first.
_CONFIG_FILES: Final = (
    "config.json",
    "quantize_config.json",
    "quant_config.json",
    "quantization_config.json",
    "hf_quant_config.json",
    "quanto_qmap.json",
    "ort_config.json",
    "params.json",
    "quant_model_description*.json",
    "openvino_config.json",
    "mlc-chat-config.json",
    "adapter_config.json",
)


def config_files(names: Collection[str]) -> list[str]:
    """The config files among the files of a folder, the model's own first."""
    found: dict[str, None] = {}  # in the order of the table, each file once
    for known in _CONFIG_FILES:
        if "*" in known:
            found.update(dict.fromkeys(fnmatch.filter(names, known)))
        elif known in names:  # a plain name needs no pattern compiled
            found[known] = None
    return list(found)
