"""The containers as bytes, all valid: what tests and the targets of fuzzing begin with."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from quantlevels import levels

_ALIGNMENT: Final = 32
#: of each part of a distributed checkpoint
_PART_BYTES: Final = 1 << 10
_ITEMSIZES: Final = {"FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "IntStorage": 4, "CharStorage": 1}

#: name → dtype and shape
Tensors = Mapping[str, tuple[str, Sequence[int]]]


def safetensors_header(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """The JSON of a header, and the bytes of data that it describes."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * levels.from_dialect("safetensors", dtype).block.bits // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return json.dumps(header).encode(), end


def framed(header: bytes) -> bytes:
    """A safetensors header with its length before it."""
    return struct.pack("<Q", len(header)) + header


def safetensors(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of zeros."""
    header, nbytes = safetensors_header(tensors, metadata)
    return framed(header) + bytes(nbytes)


def write_safetensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file whose data is a hole."""
    header, nbytes = safetensors_header(tensors, metadata)
    with path.open("wb") as file:
        file.write(framed(header))
        file.truncate(file.tell() + nbytes)
    return path


def gguf_text(text: str) -> bytes:
    """A string of GGUF: its length and its bytes."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(tensors: Mapping[str, tuple[int, Sequence[int]]], numbers: Mapping[str, int] | None = None) -> bytes:
    """A GGUF file of zeros: tensors by ggml type and shape (rows last), keys with unsigned numbers."""
    pairs = [gguf_text("general.architecture") + struct.pack("<I", 8) + gguf_text("llama")]
    pairs += [gguf_text(key) + struct.pack("<II", 4, number) for key, number in (numbers or {}).items()]
    infos, end = [], 0
    for name, (type, shape) in tensors.items():
        block = levels.from_dialect("ggml", type).block
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos.append(gguf_text(name) + dims + struct.pack("<IQ", type, end))
        end += math.prod(shape) // block.weights * block.bits // 8
        end += -end % _ALIGNMENT
    header = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join((*pairs, *infos))
    return header + bytes(-len(header) % _ALIGNMENT + end)


def torch_archive(pickled: bytes, storages: Mapping[str, int]) -> bytes:
    """A PyTorch file around a pickle, with zeros for its storages."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/byteorder", "little")
        for key, nbytes in storages.items():
            archive.writestr(f"model/data/{key}", bytes(nbytes))
        archive.writestr("model/version", "3\n")
    return out.getvalue()


def torch_pickle(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[bytes, dict[str, int]]:
    """The pickle of a state dict by storage class and shape, and the bytes of its storages."""
    storages: dict[str, int] = {}
    state = bytearray()
    for key, (name, (storage, shape)) in enumerate(tensors.items()):
        count = math.prod(shape)
        storages[str(key)] = count * _ITEMSIZES[storage]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        kept = (
            b"(" + _word("storage") + _global("torch", storage) + _word(str(key)) + _word("cpu") + _int(count) + b"tQ"
        )
        hooks = _global("collections", "OrderedDict") + b")R"
        arguments = kept + _int(0) + _ints(shape) + _ints(strides) + b"\x89" + hooks
        state += _word(name) + _global("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"
    return b"\x80\x02}(" + bytes(state) + b"u.", storages


def _word(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _ints(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_int, numbers)) + b"t"


class _DistributedList:
    """A pickle as torch writes the list of a distributed checkpoint: each value is kept, and texts are written once."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\x04")
        self.kept = 0
        self.places: dict[object, int] = {}

    def keep(self, *key: object) -> None:
        """Keep the value that was written last; it is fetched when the same key is written again."""
        self.out += b"\x94"
        self.places[key] = self.kept
        self.kept += 1

    def fetched(self, *key: object) -> bool:
        """Whether a value with this key was kept; if so, it is written."""
        if key in self.places:
            self.out += b"j" + struct.pack("<I", self.places[key])
        return key in self.places

    def text(self, value: str) -> None:
        if not self.fetched(value):
            self.out += _word(value)
            self.keep(value)

    def name(self, module: str, name: str) -> None:
        if not self.fetched(module, name):
            self.text(module)
            self.text(name)
            self.out += b"\x93"
            self.keep(module, name)

    def size(self, numbers: Sequence[int]) -> None:
        self.name("torch", "Size")
        self.out += _ints(numbers)
        self.keep(self.kept)
        self.out += b"\x85"
        self.keep(self.kept)
        self.out += b"R"
        self.keep(self.kept)

    def begin(self, module: str, name: str) -> None:
        """An object of a class, whose fields follow."""
        self.name(module, name)
        self.out += b")\x81"
        self.keep(self.kept)
        self.out += b"}"
        self.keep(self.kept)
        self.out += b"("


#: name → dtype, shape and the number of parts along the rows
DistributedTensors = Mapping[str, tuple[str, Sequence[int], int]]


def distributed_list(tensors: DistributedTensors, lost: int = 0) -> bytes:
    """The ``.metadata`` of a distributed checkpoint, whose parts have 1 KiB each.

    Args:
        tensors: what it lists.
        lost: how many parts at the end have no place in any file.
    """
    module, out = "torch.distributed.checkpoint.metadata", _DistributedList()
    parts = [(name, part) for name, (_, _, count) in tensors.items() for part in range(count)]
    nbytes: Counter[str] = Counter()
    out.begin(module, "Metadata")
    out.text("state_dict_metadata")
    out.out += b"}("
    for name, (dtype, shape, count) in tensors.items():
        out.text(name)
        out.begin(module, "TensorStorageMetadata")
        out.text("properties")
        out.name(module, "TensorProperties")
        out.out += b")\x81("
        out.name("torch", dtype)
        out.out += b"NtbX\4\0\0\0size"
        out.size(shape)
        out.text("chunks")
        out.out += b"]("
        for part in range(count):
            out.begin(module, "ChunkStorageMetadata")
            out.text("offsets")
            out.size([part * shape[0] // count, *([0] * (len(shape) - 1))])
            out.text("sizes")
            out.size([shape[0] // count, *shape[1:]])
            out.out += b"ub"
        out.out += b"eub"
    out.out += b"u"
    out.text("storage_data")
    out.out += b"}("
    for name, part in parts[: len(parts) - lost]:
        _, shape, count = tensors[name]
        file = f"__{part}_0.distcp"
        out.begin(module, "MetadataIndex")
        out.text("fqn")
        out.text(name)
        out.text("offset")
        out.size([part * shape[0] // count, *([0] * (len(shape) - 1))])
        out.out += b"ub"
        out.begin("torch.distributed.checkpoint.filesystem", "_StorageInfo")
        out.text("relative_path")
        out.text(file)
        out.text("offset")
        out.out += _int(nbytes[file])
        out.text("length")
        out.out += _int(_PART_BYTES) + b"ub"
        nbytes[file] += _PART_BYTES
    return bytes(out.out + b"uub.")


def onnx_field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def onnx_tensor(name: str, type: int, dims: Sequence[int], nbytes: int) -> bytes:
    """An initializer of zeros, by ONNX data type and shape."""
    shape = b"".join(onnx_field(1, length) for length in dims)
    return onnx_field(5, shape + onnx_field(2, type) + onnx_field(8, name) + onnx_field(9, bytes(nbytes)))


def onnx_model(*parts: bytes) -> bytes:
    """An ONNX model, whose graph has these parts. Field numbers: onnx/onnx.proto."""
    return (
        onnx_field(1, 10) + onnx_field(7, onnx_field(2, "graph") + b"".join(parts)) + onnx_field(8, onnx_field(2, 21))
    )
