"""The containers as bytes, sound ones: what tests and targets begin with."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Final

from quantlevels import levels

_ALIGNMENT: Final = 32

#: name → dtype and shape
Tensors = Mapping[str, tuple[str, Sequence[int]]]


def safetensors_header(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """The JSON of a header, and the bytes of data it speaks of."""
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


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(tensors: Mapping[str, tuple[int, Sequence[int]]], numbers: Mapping[str, int] | None = None) -> bytes:
    """A GGUF file of zeros: tensors by ggml type and shape (rows last), keys with unsigned numbers."""
    pairs = [_text("general.architecture") + struct.pack("<I", 8) + _text("llama")]
    pairs += [_text(key) + struct.pack("<II", 4, number) for key, number in (numbers or {}).items()]
    infos, end = [], 0
    for name, (type, shape) in tensors.items():
        block = levels.from_dialect("ggml", type).block
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos.append(_text(name) + dims + struct.pack("<IQ", type, end))
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


class _Named:
    """Pickles as a name and its arguments."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.called = (module, name, arguments)


class _Pickler(pickle._Pickler):  # type: ignore[misc]  # the one in Python, whose output can be steered
    def save(self, value: object, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Named):
            module, name, arguments = value.called
            self.write(f"c{module}\n{name}\n".encode())
            if arguments:
                super().save(arguments)
                self.write(b"R")
        else:
            super().save(value, save_persistent_id)

    def persistent_id(self, value: object) -> object:
        return tuple(value) if isinstance(value, list) and value[:1] == ["storage"] else None


def torch_pickle(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[bytes, dict[str, int]]:
    """The pickle of a state dict by storage class and shape, and the bytes of its storages."""
    width = {"FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "IntStorage": 4, "CharStorage": 1}
    state: dict[str, object] = {}
    storages: dict[str, int] = {}
    for index, (name, (storage, shape)) in enumerate(tensors.items()):
        count = math.prod(shape)
        storages[str(index)] = count * width[storage]
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        kept = ["storage", _Named("torch", storage), str(index), "cpu", count]
        hooks = _Named("collections", "OrderedDict")
        state[name] = _Named("torch._utils", "_rebuild_tensor_v2", kept, 0, tuple(shape), strides, False, hooks)
    out = io.BytesIO()
    _Pickler(out, 2).dump(state)
    return out.getvalue(), storages
