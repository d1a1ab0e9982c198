"""Files of containers whose own tools are not installed here, written after their specifications."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

#: ggml type → weights and bytes of its block, in the order of their numbers; of the files of 2023 and of today
OLD_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 20), 3: (32, 24), 6: (32, 22), 7: (32, 24), 8: (32, 36)}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 12: (256, 144)}


@frozen(kw_only=True)
class GgmlTensor:
    """A tensor of a ggml file: its type's number, its shape with rows last, and the block of that type."""

    name: str
    type: int
    shape: Sequence[int]
    block: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        elements = 1
        for size in self.shape:
            elements *= size
        return elements // self.block[0] * self.block[1]

    def packed(self, offset: int, alignment: int) -> bytes:
        """Its header and zeros for its data, which begins at a multiple of the alignment."""
        name = self.name.encode()
        head = struct.pack("<iii", len(self.shape), len(name), self.type)
        head += struct.pack(f"<{len(self.shape)}i", *reversed(self.shape)) + name
        return head + bytes(-(offset + len(head)) % alignment) + bytes(self.nbytes)


def ggml_file(head: bytes, tensors: Sequence[GgmlTensor], alignment: int = 1) -> bytes:
    """A ggml file of these tensors behind its settings."""
    for tensor in tensors:
        head += tensor.packed(len(head), alignment)
    return head


def words(count: int, *, scores: bool = False) -> bytes:
    """A vocabulary of so many words, with a score each if they have one."""
    return b"".join(struct.pack("<I", 3) + b"abc" + (struct.pack("<f", 0) if scores else b"") for _ in range(count))


def whisper_head(file_type: int) -> bytes:
    """The settings of a small whisper.cpp model: ``whisper_model_load``."""
    settings = (5, 8, 32, 1, 1, 8, 256, 1, 1, 4, file_type)
    mel = struct.pack("<ii", 4, 3) + bytes(4 * 4 * 3)
    return b"lmgg" + struct.pack("<11i", *settings) + mel + struct.pack("<i", 5) + words(5)


def llama_head(magic: bytes, version: int | None, file_type: int) -> bytes:
    """The settings of a small llama.cpp model before GGUF."""
    versions = b"" if version is None else struct.pack("<I", version)
    settings = struct.pack("<7i", 5, 256, 32, 1, 1, 64, file_type)
    return magic + versions + settings + words(5, scores=version is not None)


def gpt2_head(file_type: int) -> bytes:
    """The settings of ggml's GPT-2 example."""
    return b"lmgg" + struct.pack("<6i", 5, 8, 256, 1, 1, file_type) + struct.pack("<i", 5) + words(5)


def rwkv_head(version: int, file_type: int) -> bytes:
    """The settings of rwkv.cpp."""
    return b"fmgg" + struct.pack("<5i", version, 5, 256, 1, file_type)


def write_mlc(folder: Path, arrays: Mapping[str, tuple[str, Sequence[int], int, str]], *, name: str) -> Path:
    """An MLC model: name → dtype, shape, bytes of an element in the file, and how it is stored; a shard of zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    records, offset = [], 0
    for array, (dtype, shape, itemsize, format) in arrays.items():
        nbytes = itemsize
        for size in shape:
            nbytes *= size
        records.append(
            {"name": array, "shape": list(shape), "dtype": dtype, "format": format, "nbytes": nbytes,
             "byteOffset": offset}
        )  # fmt: skip
        offset += nbytes
    shard = {"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": offset, "records": records}
    metadata = {"ParamSize": len(records), "ParamBytes": offset}
    (folder / name).write_text(json.dumps({"metadata": metadata, "records": [shard]}))
    (folder / "params_shard_0.bin").write_bytes(bytes(offset))
    return folder


def nemo(weights: bytes, *, mode: str = "w") -> bytes:
    """A NeMo archive around a PyTorch file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in {"./model_config.yaml": b"target: a\n", "./model_weights.ckpt": weights}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
