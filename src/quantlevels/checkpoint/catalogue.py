"""The containers that are read here, and which of them a file is. A new container is one file and one row."""

from __future__ import annotations

import os
import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from quantlevels.checkpoint.names import INDEX_SUFFIX, NOT_WEIGHTS, suffix_of
from quantlevels.container import Container, config_files
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


def _ctranslate2(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.ctranslate2 import read_ctranslate2

    return read_ctranslate2(source, level_of)


def _legacy_ggml(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.legacy_ggml import read_legacy_ggml

    return read_legacy_ggml(source, level_of)


def _openvino(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.openvino import read_openvino

    return read_openvino(source, level_of)


def _numpy(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.numpy_files import read_numpy

    return read_numpy(source, level_of)


def _mlc(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.mlc import read_mlc

    return read_mlc(source, level_of)


def _distributed(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.distributed import read_distributed

    return read_distributed(source, level_of)


def _nemo(source: Source, level_of: TypeLookup) -> Contents:
    from quantlevels.checkpoint.nemo import read_nemo

    return read_nemo(source, level_of)


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
ONNX: Final = Container(name="onnx", reader=_onnx, suffixes=(".onnx",), graph="onnx", self_described=True)
PYTORCH: Final = Container(
    name="pytorch",
    reader=_pytorch,
    suffixes=(".bin", ".pt", ".pth", ".ckpt"),
    magic=b"PK\x03\x04",
    looks=re.compile(rb"\x80[\x02-\x05]"),  # the first operation of a pickle of protocol 2 to 5, before torch 1.6
)
CTRANSLATE2: Final = Container(
    name="ctranslate2",
    reader=_ctranslate2,
    suffixes=(".bin",),
    looks=re.compile(rb"[\x03-\x06]\0\0\0.\0\w+Spec\0", re.DOTALL),  # version, length of a name, name of a model's spec
    self_described=True,
)
LEGACY_GGML: Final = Container(
    name="ggml",
    reader=_legacy_ggml,
    suffixes=(".bin",),
    looks=re.compile(rb"lmgg|fmgg|tjgg"),  # 0x67676d6c, 0x67676d66, 0x67676a74
    self_described=True,
    configs_beside=False,
)
OPENVINO: Final = Container(
    name="openvino",
    reader=_openvino,
    suffixes=(".xml",),
    is_text=True,
    looks=re.compile(rb"\s*(<\?xml[^>]*>\s*)?<net\s"),
    graph="openvino",
    self_described=True,
    # of the PyTorch module that was converted, and of constants that were then made FP16
    decoration=re.compile(r"^self\.|_compressed$"),
)
NUMPY: Final = Container(
    name="numpy",
    reader=_numpy,
    suffixes=(".npz", ".npy"),
    magic=b"\x93NUMPY",
    looks=re.compile(rb"PK\x03\x04.{26}[^\0]{1,400}?\.npy", re.DOTALL),  # a zip archive whose first entry is an array
)
MLC: Final = Container(
    name="mlc",
    reader=_mlc,
    names=("tensor-cache.json", "ndarray-cache.json"),
    is_text=True,
    looks=re.compile(rb'\s*\{\s*"metadata":\s*\{\s*"ParamSize":'),
)
DISTRIBUTED: Final = Container(
    name="pytorch-distributed",
    reader=_distributed,
    names=(".metadata",),
    looks=re.compile(rb"\x80[\x02-\x05].{1,100}?torch\.distributed\.checkpoint\.metadata", re.DOTALL),
)
NEMO: Final = Container(
    name="nemo",
    reader=_nemo,
    suffixes=(".nemo",),
    looks=re.compile(rb".{100}[0-7 \0]{8}.{149}ustar", re.DOTALL),  # a tar archive: the mode in octal, the magic
)
CONTAINERS: Final = (
    *(SAFETENSORS, GGUF, ONNX, PYTORCH),
    *(CTRANSLATE2, LEGACY_GGML, OPENVINO, NUMPY, MLC, DISTRIBUTED, NEMO),
)

#: containers whose first bytes decide whatever the name is; those of the others, such as JSON after a length or a
#: pickle, may begin many files
_PARTICULAR: Final = (CTRANSLATE2, LEGACY_GGML, OPENVINO, NUMPY, MLC, DISTRIBUTED, NEMO)
#: a JSON file: config or index, never weights
CONFIG_SUFFIX: Final = ".json"
#: the first container of a suffix is meant if first bytes do not tell
_SUFFIXES: Final = {suffix: container for container in reversed(CONTAINERS) for suffix in container.suffixes}
_NAMES: Final = {name: container for container in CONTAINERS for name in container.names}
#: files that list the parts of a model: of diffusers and of sentence-transformers
PIPELINE: Final = "model_index.json"
MODULES: Final = "modules.json"
#: bytes read to tell a format: enough for the longest of the patterns below and a first line of text
_HEAD: Final = 512
#: of the files that hold the tensors of a distributed PyTorch checkpoint
_PART_SUFFIX: Final = ".distcp"
_MLC_SHARD: Final = re.compile(r"params_shard_\d+\.bin")
#: characters of a text that an error shows
_SHOWN_TEXT: Final = 60


class _NotModel(NamedTuple):
    """A file that stands in the place of a checkpoint, by its first bytes, and what the error says of it.

    Args:
        head: in lower case, without the space before them.
        reason: the message.
    """

    head: tuple[bytes, ...]
    reason: str


_NOT_MODELS: Final = (
    _NotModel(
        (b"version https://git-lfs.github.com/",),
        "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    ),
    _NotModel(
        (b"<!doctype", b"<html"),
        "is an HTML page, not a checkpoint; download the file again",
    ),
)


_SOURCE: Final = "inspect the model it was converted from"


class Foreign(NamedTuple):
    """A format that is not read. Its expressions are texts: they are compiled for a file that nothing else explains.

    Args:
        format: what it is, for a message.
        name: what names of its files match, in any case.
        advice: what to inspect instead.
        head: what its first bytes match; None if its name alone tells.
    """

    format: str
    name: str
    advice: str = _SOURCE
    head: bytes | None = None


FOREIGN: Final = (
    Foreign("a LiteRT (TensorFlow Lite) model", r".*\.(tflite|task|litertlm)", head=rb".{4}TFL3|LITERTLM"),
    Foreign("a Core ML model", r".*\.(mlmodel|mlpackage|mlmodelc)"),
    Foreign("an ExecuTorch program", r".*\.pte", head=rb".{4}ET\d\d"),
    Foreign("a TensorRT engine", r".*\.(engine|plan|trt)", head=rb"[fp]trt"),
    Foreign("an ncnn model", r".*\.ncnn\.(param|bin)|.*\.param", head=rb"7767517\s"),
    Foreign("an MNN model", r".*\.mnn(\.weight)?"),
    Foreign("Flax weights in msgpack", r".*\.msgpack", "inspect the safetensors or PyTorch files of the same model"),
    Foreign("a TensorFlow model", r".*\.pb|.*\.ckpt\.(index|meta)|.*\.data-\d{5}-of-\d{5}"),
    Foreign("an Orbax checkpoint", r"_CHECKPOINT_METADATA|manifest\.ocdbt|.*\.zarray"),
    Foreign(
        "an HDF5 file", r".*\.(h5|hdf5)", "install the container plugin quantlevels-hdf5 to read it", rb"\x89HDF\r\n"
    ),
    Foreign(
        "a Keras archive",
        r".*\.keras",
        "install the container plugin quantlevels-hdf5 to read it",
        # Keras writes it first; a zipped folder of any model may begin with config.json
        rb"PK\x03\x04.{26}metadata\.json",
    ),
    Foreign("a part of a distributed PyTorch checkpoint", r".*\.distcp", "inspect the folder with its .metadata"),
    Foreign("a llamafile", r".*\.llamafile", "unzip it, and inspect the .gguf file in it", rb"MZqFpD"),
)


def foreign_named(name: str) -> Foreign | None:
    """The format that is not read, but whose files have such a name; None if the name tells nothing."""
    return next((foreign for foreign in FOREIGN if re.fullmatch(foreign.name, name, re.IGNORECASE)), None)


def container_of(source: Source, registry: Registry) -> Container | None:
    """The container of a file: by its first bytes if they are decisive, else by its suffix; None for JSON.

    Plugins are consulted only for a file that no container of this package claims.

    Raises:
        CheckpointError: if it is of no format that is read here, or only a pointer to a file.
    """
    # The order decides. First what is not a model, whatever its name is; then bytes that only one format has; then
    # evidence that agrees (name and bytes); then bytes alone; then refusals with an advice; last the suffix alone,
    # which many formats share (.bin, .pt).
    head = source.read(0, min(source.size, _HEAD))
    for other in _NOT_MODELS:
        if head.lstrip().lower().startswith(other.head):
            raise CheckpointError(source.path, other.reason)
    name = source.name.rpartition("/")[2]
    suffix = suffix_of(name)
    found = _NAMES.get(name) or _by_looks(_PARTICULAR, head) or _by_suffix(head, suffix)
    if found is None and (foreign := _foreign_zip(head, name)):
        return _of_plugin(registry, head, name) or _refuse(source, foreign)
    found = found or _by_magic(CONTAINERS, head)
    if found or suffix == CONFIG_SUFFIX:
        return found
    return _container_of_other(source, registry, head, name)


def _container_of_other(source: Source, registry: Registry, head: bytes, name: str) -> Container:
    """The container of a file whose first bytes are not decisive: that of a plugin, or the one its suffix gives.

    Raises:
        CheckpointError: as `container_of`.
    """
    suffix = suffix_of(name)
    if foreign := _foreign_head(head):
        # a plugin may read what this package does not, HDF5 for example
        return _of_plugin(registry, head, name) or _refuse(source, foreign)
    if suffix in PYTORCH.suffixes:
        _refuse_data(source, name)
    found = None if foreign_named(name) else _SUFFIXES.get(suffix)  # the .bin of ncnn is not one of PyTorch
    if not suffix:  # a blob in the cache of Hugging Face is named by its hash alone
        found = _by_looks(CONTAINERS, head)
    found = found or _of_plugin(registry, head, name) or _by_looks(CONTAINERS, head)
    if found is None:
        if foreign := foreign_named(name):
            _refuse(source, foreign)
        raise CheckpointError(source.path, "is not a checkpoint: neither its name nor its first bytes are known")
    return found


def _foreign_head(head: bytes) -> Foreign | None:
    """The format that is not read and whose files begin so."""
    return next((foreign for foreign in FOREIGN if foreign.head and re.match(foreign.head, head, re.DOTALL)), None)


def _foreign_zip(head: bytes, name: str) -> Foreign | None:
    """The format that is not read of a zip archive, by its first entry or its name: the magic is not PyTorch's own."""
    if not head.startswith(PYTORCH.magic):
        return None
    return _foreign_head(head) or foreign_named(name)


def _refuse_data(source: Source, name: str) -> None:
    """Raise CheckpointError if a file has no header since another file beside it describes its tensors."""
    folder = source.name.removesuffix(name)
    if source.sibling_size(f"{folder}{name.rpartition('.')[0]}.xml") is not None:
        raise CheckpointError(source.path, "holds the bytes of an OpenVINO model; name the .xml beside it")
    for other in MLC.names if _MLC_SHARD.fullmatch(name) else ():
        if source.sibling_size(folder + other) is not None:
            raise CheckpointError(source.path, f"holds the bytes of an MLC model; name the {other} beside it")


def _refuse(source: Source, foreign: Foreign) -> NoReturn:
    raise CheckpointError(
        source.path, f"is {foreign.format}, a format that quantlevels does not read; {foreign.advice}"
    )


def _by_suffix(head: bytes, suffix: str) -> Container | None:
    """The container that has both a suffix and these first bytes."""
    named = [container for container in CONTAINERS if suffix in container.suffixes]
    return _by_magic(named, head) or _by_looks(named, head)


def beginning_of_text(source: Source) -> str:
    """The beginning of a file that is text, such as an error message of a server; empty if it is not text."""
    head = source.read(0, min(source.size, _HEAD))
    try:
        # a character that is cut at the end of the head does not make it binary
        text = getincrementaldecoder("utf-8")().decode(head).strip()
    except UnicodeDecodeError:
        return ""
    return text[:_SHOWN_TEXT] if all(character.isprintable() or character.isspace() for character in text) else ""


def _by_magic(containers: Sequence[Container], head: bytes) -> Container | None:
    return next((each for each in containers if each.magic and head.startswith(each.magic)), None)


def _by_looks(containers: Sequence[Container], head: bytes) -> Container | None:
    return next((each for each in containers if each.looks and each.looks.match(head)), None)


def _of_plugin(registry: Registry, head: bytes, name: str) -> Container | None:
    containers = plugin_containers(registry)
    by_name = (container for container in containers if _is_named(container, name))
    return _by_magic(containers, head) or next(by_name, None) or _by_looks(containers, head)


def _is_named(container: Container, name: str) -> bool:
    """Whether a file has one of the names or suffixes of a container."""
    return name in container.names or suffix_of(name) in container.suffixes


def plugin_containers(registry: Registry) -> tuple[Container, ...]:
    """The containers of all plugins; the first call imports them."""
    from quantlevels.checkpoint.plugins import CONTAINER_PLUGINS  # here: most files need no plugin

    registry._installed.load(CONTAINER_PLUGINS.group)
    return registry._installed.loaded(CONTAINER_PLUGINS)


def is_model_file(path: str) -> bool:
    """Whether a file belongs to a model, by its name, by that of what it links to, or by its beginning."""
    target = os.path.realpath(path)
    if not os.path.isfile(target):  # noqa: PTH113  # as elsewhere in this package: no Path
        return False
    for name in map(os.path.basename, (path, target)):
        if container_named(name) or foreign_named(name) or config_files([name]) or name.endswith(INDEX_SUFFIX):
            return True
        if name in (PIPELINE, MODULES):
            return True
    with open(target, "rb") as file:  # noqa: PTH123
        head = file.read(_HEAD)
    return (_by_magic(CONTAINERS, head) or _by_looks(CONTAINERS, head)) is not None


def is_weights(name: str, plugins: Sequence[Container] = ()) -> bool:
    """Whether a file has a name that weights have.

    Args:
        name: of the file.
        plugins: containers of plugins to consider besides those of this package.
    """
    suffix = suffix_of(name)
    known = suffix in _SUFFIXES or any(_is_named(container, name) for container in plugins)
    # optimizer states, training arguments and the like share the suffixes of weights
    return known and not NOT_WEIGHTS.fullmatch(name)


def weights_in(names: Sequence[str]) -> list[str]:
    """The files of a folder that have names of weights; of an OpenVINO model the ``.xml``, not its ``.bin``.

    The list of an MLC model is one of them, and that of a distributed PyTorch checkpoint with its parts.
    """
    present = set(names)
    found = [name for name in MLC.names if name in present][:1]  # a model may have its list under both names
    parts = [name for name in names if suffix_of(name) == _PART_SUFFIX]
    for name in DISTRIBUTED.names:  # other programs have files of this name, too
        if name in present and parts:
            found += [name, *parts]
    for name in filter(is_weights, names):
        stem, suffix = name.removesuffix(suffix_of(name)), suffix_of(name)
        if suffix in OPENVINO.suffixes and f"{stem}.bin" not in present:
            continue
        if suffix in PYTORCH.suffixes and f"{stem}.xml" in present:
            continue
        found.append(name)
    return found


def container_named(name: str) -> Container | None:
    """The container of this package that a file name tells; None for any other name."""
    return _NAMES.get(name) or _SUFFIXES.get(suffix_of(name))
