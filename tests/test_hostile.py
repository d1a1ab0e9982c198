"""Hostile files, by the command line: refused in one line or read, and nothing else happens.

All of them are made here. One process with limits on its memory, watched by an audit hook, inspects and verifies each.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.writers import distributed_list, framed, onnx_field, onnx_model, onnx_tensor, torch_archive, torch_pickle

pytest.importorskip("resource")

#: bytes of a file, None for a folder, a link as its target, or what makes it
Content: TypeAlias = "bytes | str | Callable[[Path], object] | None"
#: files by name, the first of which is inspected; where there is one alone its name is the row's
Files: TypeAlias = "Mapping[str, Content] | Content"

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
CANARY = "canary"


# --- safetensors -----------------------------------------------------------------------------------------------------


def st(nbytes: int = 16, length: int | None = None, tail: bytes = b"", **tensors: object) -> bytes:
    """A file of these entries, or of one of 16 bytes with some of its fields replaced."""
    good = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    fields = {key: tensors.pop(key) for key in good if key in tensors}
    return st_of(nbytes, tensors or {"w": {**good, **fields}}, length, tail)


def st_of(nbytes: int, entries: Mapping[str, object], length: int | None = None, tail: bytes = b"") -> bytes:
    """A file of these entries, whose names may be any text."""
    raw = json.dumps(entries).encode() + tail
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(nbytes)


def entry(begin: int, end: int, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin], "data_offsets": [begin, end]}


def sparse(content: bytes, nbytes: int) -> Callable[[Path], object]:
    """A file that goes on with so many zeros, which take no place on the disk."""

    def make(path: Path) -> None:
        path.write_bytes(content)
        os.truncate(path, len(content) + nbytes)

    return make


def text_header(text: str | bytes, nbytes: int = 1) -> bytes:
    return framed(text.encode() if isinstance(text, str) else text) + bytes(nbytes)


def one(old: str = "", new: str = "") -> str:
    """A header of one byte, with a part replaced."""
    return '{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.replace(old or "\0", new)


GOOD = st()
ESCAPES = "a\x1b[2J\x1b]0;title\x07\x9b31m\u202e\u2028\r\nb"

SAFETENSORS: Mapping[str, bytes] = {
    "empty": b"",
    "seven bytes": bytes(7),
    **{f"header of {n}": st(length=n) for n in (0, 1, 100_000_001, 1 << 63, (1 << 63) - 8, U64 - 7, U64)},
    "header one short": st(length=len(GOOD) - 25),
    "header one long": st(length=len(GOOD) - 23),
    **{f"header {text}": text_header(text) for text in ("[]", "null", '"{}"', "1e400", "{", "{}x", "{}{}", "[{}]")},
    "trailing comma": text_header(one()[:-1] + ",}"),
    "byte order mark": text_header("\ufeff" + one()),
    "UTF-16": text_header(one().encode("utf-16")),
    "not UTF-8": text_header(one().encode().replace(b"w", b"\xff")),
    "lone surrogate": text_header(one("w", r"\ud800")),
    "NUL after it": text_header(one() + "\0"),
    "repeated name": text_header(one()[:-1] + "," + one()[1:]),
    "repeated key": text_header(one('"shape"', '"dtype":"I8","shape"')),
    "nested arrays": text_header("[" * 50_000),
    "nested objects": text_header('{"a":' * 50_000),
    "nested shape": text_header(one("[1]", "[" * 5000 + "]" * 5000)),
    "digits": text_header(one("[1]", f"[{'9' * 50_000}]")),
    **{
        f"shape {shape}": st(shape=shape)
        for shape in ([-2, -2], [2.0, 2], ["2", 2], [True, 4], [[2, 2]], {"0": 4}, None, [3, 2], [1 << 32, 1 << 32])
    },
    "shape that wraps to nothing": st(0, shape=[1 << 32, 1 << 32], data_offsets=[0, 0]),
    "shape beside a zero": st(0, shape=[0, 1 << 64], data_offsets=[0, 0]),
    "half a byte": st(2, dtype="F4", shape=[3], data_offsets=[0, 2]),
    **{f"dtype {dtype}": st(dtype=dtype) for dtype in ("F3", "f32", "", None, ["F32"], "torch.float32", "F32\0")},
    **{
        f"offsets {offsets}": st(data_offsets=offsets)
        for offsets in ([16, 0], [-16, 0], [8, 24], [0, 8], [16], [0, 8, 16], [0, 16.0], None, [0, U64 + 1], "0,16")
    },
    "offsets NaN": text_header(one("0,1", "0,NaN")),
    "overlap": st(3, a=entry(0, 2), b=entry(1, 3)),
    "the same bytes": st(2, a=entry(0, 2), b=entry(0, 2)),
    "hole": st(4, a=entry(0, 2), b=entry(3, 4)),
    "hole before": st(2, a=entry(1, 2)),
    "one byte less": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "metadata of numbers": st(a=entry(0, 16), __metadata__={"n": 1}),
    "metadata list": st(a=entry(0, 16), __metadata__=[]),
    "HTML": b"<!DOCTYPE html><html><title>503</title></html>",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "NumPy": b"\x93NUMPY\x01\0v\0{'descr':'O','fortran_order':False,'shape':(1,)}\n",
}
SAFETENSORS_READ: Mapping[str, bytes] = {
    "no tensors": text_header("{}", 0),
    "spaces after": st(tail=b" " * 7),
    "scalar": st(4, shape=[], data_offsets=[0, 4]),
    "no elements": st(0, shape=[0, 5], data_offsets=[0, 0]),
    "any order": st(3, b=entry(1, 3), a=entry(0, 1)),
    "names of paths": st_of(3, {"../../etc/passwd": entry(0, 1), "": entry(1, 2), "C:\\x\0y": entry(2, 3)}),
    "names of controls": st_of(2, {ESCAPES: entry(0, 1), ESCAPES + ".weight": entry(1, 2)}),
    "a long name": st_of(1, {"x" * 1_000_000: entry(0, 1)}),
    "a claim": st(a=entry(0, 16), __metadata__={"total_parameters": "9" * 5000, "format": ESCAPES}),
    "no tensors but many": st_of(0, {f"t{number}": entry(0, 0) for number in range(20_000)}),
    "rank": st(1, shape=[1] * 10_000, dtype="U8", data_offsets=[0, 1]),
}

# --- GGUF ------------------------------------------------------------------------------------------------------------


def word(text: bytes | str) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pair(key: bytes | str, type: int, raw: bytes) -> bytes:
    return word(key) + struct.pack("<I", type) + raw


def info(name: bytes | str = "w", dims: Sequence[int] = (8,), type: int = 0, offset: int = 0) -> bytes:
    return word(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type, offset)


def gg(
    *infos: bytes,
    pairs: Sequence[bytes] = (),
    nbytes: int = 32,
    version: bytes = struct.pack("<I", 3),
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    head = b"GGUF" + version + struct.pack("<QQ", *(counts or (len(infos), len(pairs)))) + b"".join((*pairs, *infos))
    return head + bytes(-len(head) % alignment) + bytes(nbytes)


def array(type: int, count: int, raw: bytes = b"") -> bytes:
    return pair("k", 9, struct.pack("<IQ", type, count) + raw)


def aligned(value: int, type: int = 4) -> bytes:
    return pair("general.alignment", type, value.to_bytes(8 if type == 10 else 4, "little"))


GGUF_GOOD = gg(info(), pairs=[pair("general.architecture", 8, word("llama"))])
GGUF: Mapping[str, bytes] = {
    "empty": b"",
    "magic alone": b"GGUF",
    "wrong magic": b"GGML" + GGUF_GOOD[4:],
    **{f"version {n}": gg(info(), version=struct.pack("<I", n)) for n in (0, 1, 4, 1000, 0x10000, (1 << 32) - 1)},
    "version 1 of the other order": gg(info(), version=struct.pack(">I", 1)),
    **{f"cut at {n}": GGUF_GOOD[:n] for n in (12, 20, 30, 45, 70, 90, 100, len(GGUF_GOOD) - 1)},
    **{f"tensors {n}": gg(info(), counts=(n, 0)) for n in (2, 1 << 31, 1 << 62, 1 << 63, U64)},
    **{f"pairs {n}": gg(info(), counts=(1, n)) for n in (2, 1 << 31, 1 << 62, 1 << 63, U64)},
    **{f"key of {n}": gg(pairs=[struct.pack("<Q", n) + b"k"]) for n in (1 << 31, 1 << 63, U64, U64 - 7)},
    "key empty": gg(info(), pairs=[pair("", 4, bytes(4))]),
    "key not UTF-8": gg(info(), pairs=[pair(b"\xff", 4, bytes(4))]),
    "key repeated": gg(info(), pairs=[pair("k", 4, bytes(4))] * 2),
    **{f"value of type {n}": gg(info(), pairs=[pair("k", n, bytes(64))]) for n in (13, 255, (1 << 32) - 1)},
    **{f"array of {n}": gg(info(), pairs=[array(0, n)]) for n in (1 << 31, 1 << 62, 1 << 63, U64)},
    **{f"strings {n}": gg(info(), pairs=[array(8, n)]) for n in (1 << 31, 1 << 61, U64)},
    "array of unknowns": gg(info(), pairs=[array(13, 1, bytes(64))]),
    "arrays nested": gg(info(), pairs=[array(9, 1, struct.pack("<IQ", 9, 1) * 20_000)]),
    "string past the end": gg(info(), pairs=[pair("k", 8, struct.pack("<Q", U64 - 3))]),
    **{f"alignment {n}": gg(info(), pairs=[aligned(n)]) for n in (0, 3, 12, (1 << 32) - 1)},
    "alignment of 64 bits": gg(info(), pairs=[aligned(32, 10)]),
    "alignment past the end": gg(info(), pairs=[aligned(1 << 31)]),
    **{f"rank {n}": gg(word("w") + struct.pack("<I", n) + bytes(64)) for n in (5, 1 << 31, (1 << 32) - 1)},
    **{
        f"dims {dims}": gg(info(dims=dims))
        for dims in ([1 << 63], [U64], [1 << 32, 1 << 32], [1 << 62, 1 << 62, 1 << 62, 1 << 62], [1 << 61], [1 << 40])
    },
    "row of 33": gg(info(dims=[33], type=8), nbytes=64),
    "offset unaligned": gg(info(offset=4), nbytes=64),
    "offset past the end": gg(info(offset=1 << 40)),
    "offset that wraps": gg(info(offset=U64 - 31)),
    "two on one range": gg(info("a"), info("b")),
    "hole": gg(info("a"), info("b", offset=64), nbytes=96),
    "out of order": gg(info("a", offset=32), info("b"), nbytes=64),
    "name repeated": gg(info(), info(offset=32), nbytes=64),
    "name not UTF-8": gg(info(b"\xff")),
    "name of 64 KiB": gg(info("x" * 65_536)),
    "HTML": b"\n<html><body>404</body></html>",
    "LFS pointer": SAFETENSORS["LFS pointer"],
}
#: not refused, as their sizes are told by the offsets; a finding says that they are of no known type
GGUF_FOUND: Mapping[str, bytes] = {
    **{f"type {n}": gg(info(type=n)) for n in (4, 4242, (1 << 32) - 1)},
    "one part of several": gg(info(), pairs=[pair("split.count", 2, b"\2\0")]),
}
GGUF_READ: Mapping[str, Files] = {
    "version 2": gg(info(), version=struct.pack("<I", 2)),
    "the other order": b"GGUF"
    + struct.pack(">IQQQ", 3, 1, 0, 1)
    + b"w"
    + struct.pack(">IQIQ", 1, 8, 0, 0).ljust(60, b"\0")
    + bytes(64),
    "nothing": gg(nbytes=0),
    "no dimension": gg(info(dims=[])),
    "a dimension of zero": gg(info(dims=[0, 1 << 40]), nbytes=0),
    "bytes after": gg(info(), nbytes=5000),
    **{
        f"alignment {n}": gg(
            info(), info("b", offset=max(n, 32)), pairs=[aligned(n)], alignment=n, nbytes=max(n, 32) + 32
        )
        for n in (1, 2, 4, 8, 64, 65_536)
    },
    "values of all types": gg(
        info(),
        pairs=[
            *(pair(f"k{type}", type, b"\x07" * size) for type, size in enumerate((1, 1, 2, 2, 4, 4, 4, 1))),
            pair("text", 8, word(b"\xff\xfe")),
            pair("nan", 6, struct.pack("<f", float("nan"))),
            pair("inf", 12, struct.pack("<d", float("-inf"))),
            array(9, 1, struct.pack("<IQ", 8, 2) + word("a") + word("")),
            pair("general.file_type", 8, word(ESCAPES)),
        ],
    ),
    "names of controls": gg(info(ESCAPES), info("../" * 20, offset=32), nbytes=64),
    "40 GB": sparse(gg(info(dims=[10_000_000_000])), 40_000_000_000),
    "vocabulary of zeros": sparse(gg(pairs=[array(8, 1 << 22)], nbytes=0), 40_000_000),
}


def parts(*numbers: tuple[int, str], named: int = 3) -> dict[str, Content]:
    """A split GGUF, in the order of their names: which part each says it is, and its tensor."""
    return {
        f"m-{place:05}-of-{named:05}.gguf": gg(
            info(name), pairs=[pair("split.no", 2, struct.pack("<H", number)), pair("split.count", 2, b"\3\0")]
        )
        for place, (number, name) in enumerate(numbers, 1)
    }


A, B, C = (0, "a"), (1, "b"), (2, "c")
SPLIT_FOUND: Mapping[str, Files] = {
    "missing": parts(A, B),
    "the first missing": dict(list(parts(A, B, C).items())[1:]),
    "repeated": parts(A, B, B),
    "swapped": parts(A, C, B),
    "of another count": parts(A, B, named=2),
    "cut": {**parts(A, B, C), "m-00003-of-00003.gguf": GGUF_GOOD[:-1]},
    "too many": {"m-00001-of-99999.gguf": GGUF_GOOD},
}
SPLIT: Mapping[str, Files] = {
    "foreign": {**parts(A, B, C), "m-00002-of-00003.gguf": b"<html>"},
    "folder": {**parts(A, B, C), "m-00002-of-00003.gguf": None},
    "of none": {"m-00001-of-00000.gguf": b"GGUF"},
    "beyond": {"m-00004-of-00003.gguf": b"GGUF"},
}

# --- PyTorch ---------------------------------------------------------------------------------------------------------

TENSOR, STORAGES = torch_pickle({"w": ("FloatStorage", [4])})
TOUCH = f"open('{CANARY}','w')"


def call(name: str, *arguments: str) -> bytes:
    """The opcodes of a call, by the name it has where it is loaded."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(map(text, arguments)) + b"tR"


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def state(value: bytes) -> bytes:
    """A state dict with a sound tensor, and this beside it."""
    return TENSOR[:-2] + text("x") + value + b"u."


#: each of these does something if it is loaded
CALLS: Mapping[str, bytes] = {
    "posix system": call("posix system", f"touch {CANARY}"),
    "os popen": call("os popen", f"touch {CANARY}"),
    "subprocess Popen": call("subprocess Popen", f"touch {CANARY}"),
    "builtins exec": call("builtins exec", TOUCH),
    "builtins eval": call("builtins eval", TOUCH),
    "__builtin__ eval": call("__builtin__ eval", TOUCH),
    "io open": call("io open", CANARY, "w"),
    "import_module": call("importlib import_module", "this"),
    "runpy": call("runpy _run_code", TOUCH),
    "getattr": call("builtins getattr", "x", "__class__"),
    "torch.hub": call("torch.hub load", "evil/repo", "model"),
    "torch.load": call("torch load", "other.pt"),
    "torch._utils": call("torch._utils _import_dotted_name", "os.system"),
    "numpy load": call("numpy load", "other.npy"),
    "dotted": b"ctorch\n_utils.os.system\n" + b"(" + text(f"touch {CANARY}") + b"tR",
    "INST": b"(" + text(f"touch {CANARY}") + b"iposix\nsystem\n",
    "OBJ": b"(cposix\nsystem\n" + text(f"touch {CANARY}") + b"o",
    "NEWOBJ": b"csubprocess\nPopen\n(" + text("true") + b"t\x81",
    "NEWOBJ_EX": b"csubprocess\nPopen\n(" + text("true") + b"t}\x92",
    "BUILD": b"c__main__\nX\n)\x81}(" + text("__setstate__") + b"cposix\nsystem\nub" + text("true") + b"b",
    "STACK_GLOBAL": text("posix") + text("system") + b"\x93(" + text(f"touch {CANARY}") + b"tR",
    "a name alone": b"cposix\nsystem\n",
    "EXT1": b"\x82\x01",
    "EXT4": b"\x84\x01\0\0\0",
    "PERSID": b"Pposix.system\n",
    "NEXT_BUFFER": b"\x97",
    "unknown opcode": b"\xff",
    "call of a text": text("posix.system") + b")R",
    "call by the memo": b"cposix\nsystem\nq\x070h\x07(" + text(f"touch {CANARY}") + b"tR",
    "LONG4 of 2 GB": b"\x8b\xff\xff\xff\x7f",
    "text of 4 GB": b"X\xff\xff\xff\xff",
    "bytes of 2^63": b"\x8e" + struct.pack("<Q", 1 << 63),
    "frame of 2^62": b"\x95" + struct.pack("<Q", 1 << 62),
    "protocol 255": b"\x80\xff",
    "marks": b"(" * 200_000,
    "tuples": b"N" + b"\x85" * 100_000,
    "lists": b"]" * 50_000 + b"a" * 49_999,
}


def legacy(pickled: bytes) -> bytes:
    """The layout before torch 1.6."""
    return b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})) + pickled


def zipped(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def script(data: bytes, constants: bytes) -> bytes:
    """A TorchScript archive."""
    return zipped({"m/data.pkl": b"\x80\x02" + data + b".", "m/constants.pkl": b"\x80\x02" + constants + b"."})


def patched(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """An archive with a few bytes of the last record of a kind replaced."""
    place = content.rindex(signature) + offset
    return content[:place] + value + content[place + len(value) :]


ARCHIVE = torch_archive(TENSOR, STORAGES)
SHORT = zipped({"m/data.pkl": TENSOR, "m/data/0": bytes(16)})
PYTORCH: Mapping[str, bytes] = {
    **{f"archive: {name}": torch_archive(state(raw), STORAGES) for name, raw in CALLS.items()},
    **{f"stream: {name}": legacy(state(raw)) for name, raw in CALLS.items()},
    **{f"pickle: {name}": b"\x80\x04" + raw + b"." for name, raw in CALLS.items()},
    "script: os.system": script(CALLS["posix system"], b")"),
    "script: constants": script(b"}", CALLS["builtins exec"]),
    "empty": b"",
    "one byte": b"\x80",
    "cut": b"\x80\x02}(X",
    "pickle of something else": pickle.dumps({"w": [1.0]}),
    "magic of numbers alone": legacy(b""),
    "LFS pointer": SAFETENSORS["LFS pointer"],
    "HTML": SAFETENSORS["HTML"],
    "nothing in it": zipped({}),
    "no data.pkl": zipped({"m/version": b"3"}),
    "two data.pkl": zipped({"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}),
    **{
        f"zip slip {name}": zipped({"m/data.pkl": TENSOR, name: b""})
        for name in ("../x", "/x", "m/../../x", "a\\..\\x")
    },
    "bomb": zipped({"m/data.pkl": b"\x80\x02" + b"N0" * 50_000_000 + b"}."}, zipfile.ZIP_DEFLATED),
    "bomb of storages": zipped({"m/data.pkl": TENSOR, "m/data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED),
    "no storage": torch_archive(TENSOR, {}),
    "short storage": torch_archive(TENSOR, {"0": 12}),
    "directory cut": ARCHIVE[:-40],
    "bytes after": ARCHIVE + b"tail",
    "bytes before": b"MZ" + ARCHIVE,
    "entry of 4 GB": patched(ARCHIVE, b"PK\x01\x02", 20, b"\xff\xff\xff\x7f" * 2),
    "entry at 4 GB": patched(SHORT, b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"),
    "encrypted": patched(zipped({"m/data.pkl": TENSOR}), b"PK\x01\x02", 8, b"\x01"),
    "directory of 4 GB": patched(ARCHIVE, b"PK\x05\x06", 12, b"\xfe\xff\xff\xff"),
}
PYTORCH_READ: Mapping[str, bytes] = {
    "sound": ARCHIVE,
    "any folder": zipped({"m/ä b/data.pkl": TENSOR, "m/ä b/data/0": bytes(16)}),
    "names of controls": torch_archive(*torch_pickle({ESCAPES: ("FloatStorage", [4])})),
    "nothing": torch_archive(b"\x80\x02}.", {}),
}

# --- ONNX ------------------------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    """Graphs in attributes of nodes of graphs."""
    graph = b""
    for _ in range(levels):
        graph = onnx_field(1, onnx_field(4, "If") + onnx_field(5, onnx_field(1, "then") + onnx_field(6, graph)))
    return onnx_model(graph)


def outside(location: str, **place: object) -> bytes:
    """A model whose only tensor is stored elsewhere."""
    entries = {"location": location, **place}
    data = b"".join(onnx_field(13, onnx_field(1, key) + onnx_field(2, str(value))) for key, value in entries.items())
    return onnx_model(
        onnx_field(5, onnx_field(1, 4) + onnx_field(2, 1) + onnx_field(8, "w") + data + onnx_field(14, 1))
    )


LOCATIONS = ("/etc/passwd", "/dev/zero", "../w", "a/../../w", "..\\w", "\\\\host\\w", "C:w", "", ".", "w\0x")
ONNX: Mapping[str, Files] = {
    "empty": b"",
    "zeros": bytes(64),
    "no version": onnx_model()[2:],
    "two graphs": onnx_model() + onnx_field(7, b""),
    "length of 2^63": onnx_model() + b"\x3a" + b"\xff" * 8 + b"\x7f",
    "length past the end": onnx_model() + b"\x12\x7f",
    "number of 11 bytes": onnx_model() + b"\x08" + b"\xff" * 10 + b"\x01",
    "number without an end": onnx_model() + b"\x08\xff",
    "field 0": onnx_model() + b"\x02\x00",
    "group": onnx_model() + b"\x0b\x0c",
    "name not UTF-8": onnx_model(onnx_field(5, onnx_field(8, b"\xff"))),
    "graphs nested": nested(60),
    "negative shape": onnx_model(onnx_tensor("w", 1, (U64, U64), 4)),
    "shape that wraps": onnx_model(onnx_tensor("w", 1, (1 << 32, 1 << 32), 0)),
    "rank": onnx_model(onnx_tensor("w", 1, (1,) * 1000, 4)),
    "too few bytes": onnx_model(onnx_tensor("w", 1, (2, 2), 15)),
    "too many bytes": onnx_model(onnx_tensor("w", 1, (2, 2), 17)),
    "name repeated": onnx_model(onnx_tensor("w", 1, (1,), 4), onnx_tensor("w", 1, (1,), 4)),
    "no name": onnx_model(onnx_tensor("", 1, (1,), 4)),
    **{f"stored at {location!r}": outside(location) for location in LOCATIONS},
    **{f"stored from {offset}": outside("w", offset=offset) for offset in ("-1", "1e3", "0x10", "9" * 5000)},
    **{f"stored in {length}": {"model.onnx": outside("w", length=length), "w": bytes(64)} for length in ("-4", "5")},
    "stored in a folder": {"model.onnx": outside("w"), "w": None},
    "stored in a pipe": {"model.onnx": outside("w"), "w": os.mkfifo},
    "stored behind a link": {"model.onnx": outside("w/passwd"), "w": "/etc"},
}
ONNX_FOUND: Mapping[str, Files] = {
    "stored nowhere": outside("w"),
    "stored under a long name": outside("w" * 5000),
    "stored past the end": {"model.onnx": outside("w", offset=U64), "w": bytes(64)},
    "unknown type": onnx_model(onnx_tensor("w", 99, (2,), 4)),
}
ONNX_READ: Mapping[str, Files] = {
    "sound": onnx_model(onnx_tensor("w", 1, (2, 2), 16)),
    "names of controls": onnx_model(onnx_tensor(ESCAPES, 1, (2, 2), 16)),
    "graphs nested a little": nested(20),
    "stored beside": {"model.onnx": outside("a/w"), "a": Path.mkdir, "a/w": bytes(16)},
    "nodes of nothing": onnx_model(onnx_field(1, b"") * 100_000),
}

# --- indexes, configs, places ----------------------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"


def index(places: object, **shards: Content) -> dict[str, Content]:
    return {INDEX: json.dumps({"weight_map": places}).encode(), **{f"{k}.safetensors": v for k, v in shards.items()}}


NAMES = (
    "../x.safetensors",
    "/etc/passwd",
    "/dev/zero",
    "//host/x.safetensors",
    "a/x.safetensors",
    "..\\x.safetensors",
    "C:x.safetensors",
    "~/x.safetensors",
    "http://127.0.0.1:9/x.safetensors",
    "file:///etc/passwd",
    "x\0.safetensors",
    "",
    ".",
    "..",
    INDEX,
    "config.json",
    "run.py",
)
FOLDERS: Mapping[str, Files] = {
    **{f"index names {name!r}": index({"w": name}) for name in (*NAMES, 1, None, ["x"], {})},
    **{f"weight_map {places!r}": index(places) for places in ([], "x", None, 3)},
    "index without a map": {INDEX: b"{}"},
    "index twice a key": {INDEX: b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}'},
    "index NaN": {INDEX: b'{"metadata": {"total_size": NaN}, "weight_map": {}}'},
    "index nested": {INDEX: b'{"weight_map": ' + b"[" * 100_000},
    "index of a pipe": index({"w": "x.safetensors"}, x=os.mkfifo),
    "index of a folder": index({"w": "x.safetensors"}, x=None),
    "index of a device": index({"w": "x.safetensors"}, x="/dev/zero"),
    "index of a page": index({"w": "x.safetensors"}, x=SAFETENSORS["HTML"]),
    "index of a pickle": index({"w": "x.safetensors"}, x=PYTORCH["archive: posix system"]),
}
FOLDERS_FOUND: Mapping[str, Files] = {
    "pipe": {"model.safetensors": os.mkfifo},
    "device": {"model.safetensors": "/dev/zero"},
    "folder of that name": {"model.safetensors": None},
    **{
        f"config {name}": {"model.safetensors": GOOD, "config.json": raw}
        for name, raw in {
            "empty": b"",
            "list": b"[]",
            "NaN": b'{"a": NaN}',
            "infinity": b'{"a": 1e400}',
            "twice a key": b'{"a": 1, "a": 2}',
            "nested lists": b"[" * 100_000,
            "nested objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
            "not UTF-8": b'{"a": "\xff"}',
            "UTF-16": '{"a": 1}'.encode("utf-16"),
            "NUL": b'{"a": 1}\0\0',
            "digits": b'{"a": ' + b"9" * 100_000 + b"}",
            "HTML": SAFETENSORS["HTML"],
        }.items()
    },
    "index of nothing there": index({"w": "x.safetensors"}),
    "index of a long name": index({"w": "x" * 5000 + ".safetensors"}),
    "index of a surrogate": {INDEX: rb'{"weight_map": {"w": "\ud800.safetensors"}}'},
    "index of a broken link": index({"w": "x.safetensors"}, x="nowhere"),
    "index of a circle": index({"w": "x.safetensors"}, x="x.safetensors"),
    "index that is wrong": index({"v": "x.safetensors"}, x=GOOD),
    "index of names of controls": index({ESCAPES: "x.safetensors", "w": "\x1b[2J.safetensors"}, x=GOOD),
    **{
        f"config bits {bits}": {
            "model.safetensors": GOOD,
            "config.json": b'{"quantization_config": {"quant_method": "gptq", "bits": %s}}' % bits.encode(),
        }
        for bits in ("0", "1e308")
    },
}
FOLDERS_READ: Mapping[str, Files] = {
    "index of another format": index({"w": "x.safetensors", "v": "y.safetensors"}, x=gg(info()), y=st(v=entry(0, 16))),
    "index of two dtypes": index({"w": "x.safetensors", "v": "y.safetensors"}, x=GOOD, y=st(v=entry(0, 16))),
    "5 GB": {"model.safetensors": sparse(st(0, w=entry(0, 5_000_000_000)), 5_000_000_000)},
    "config of a pipe": {"model.safetensors": GOOD, "config.json": os.mkfifo},
    "regular expressions": {
        "model.safetensors": GOOD,
        "config.json": json.dumps(
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {
                        "g": {"targets": ["re:(a+)+$", "re:["], "weights": {"num_bits": 4, "type": "int"}}
                    },
                    "ignore": ["re:(.*)*x", "re:" + "(" * 5000],
                }
            }
        ).encode(),
    },
}


# --- what is done with them ------------------------------------------------------------------------------------------


def ct2(*, spec: bytes = b"\x05\0Spec\0", counts: tuple[int, int] = (1, 0), variable: bytes | None = None) -> bytes:
    """A CTranslate2 model of one variable of two floats, one part of it made wrong."""
    good = b"\x02\0w\0" + b"\x01" + struct.pack("<I", 2) + b"\0" + struct.pack("<I", 8) + bytes(8)
    body = good if variable is None else variable
    return struct.pack("<I", 6) + spec + struct.pack("<II", 1, counts[0]) + body + struct.pack("<I", counts[1])


def openvino(layers: str, head: str = '<?xml version="1.0"?><net name="a" version="11">') -> bytes:
    """An OpenVINO model of these layers."""
    return f"{head}<layers>{layers}</layers><edges/></net>".encode()


def const(number: int = 0, name: str = "w", /, **data: object) -> str:
    """A constant of a model, one part of it made wrong."""
    values = {"element_type": "f32", "shape": "2", "offset": 8 * number, "size": 8} | data
    attributes = " ".join(f'{key}="{value}"' for key, value in values.items() if value is not None)
    return f'<layer id="{number}" name="{name}" type="Const"><data {attributes}/></layer>'


def multiplied(times: int) -> bytes:
    """A model that multiplies a scaled constant by itself again and again: each time it has twice as many scales."""
    layers = const(0, "codes", element_type="u8", size=2) + const(1, "scale", element_type="f16", shape="1", size=2)
    edges = ""
    for number in range(2, times):
        layers += f'<layer id="{number}" name="m{number}" type="Multiply"/>'
        for port, before in enumerate((0, 1) if number == 2 else (number - 1, number - 1)):
            edges += f'<edge from-layer="{before}" from-port="0" to-layer="{number}" to-port="{port}"/>'
    return openvino(layers).replace(b"<edges/>", f"<edges>{edges}</edges>".encode())


def long_ids(layers: int) -> bytes:
    """A layer with a long id around many layers, each of which has it in what it is known by."""
    inner = "".join(const(number, f"w{number}") for number in range(layers))
    return openvino(
        f'<layer id="{"x" * 30 * layers}" name="l" type="Loop"><body><layers>{inner}</layers></body></layer>'
    )


def npy(text: str, tail: bytes = bytes(8), length: int | None = None) -> bytes:
    """A NumPy array behind a text that describes it."""
    raw = text.encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(raw) if length is None else length) + raw + tail


def mlc(**record: object) -> bytes:
    """The list of an MLC model with one array, one part of it made wrong."""
    good = {"name": "w", "shape": [2], "dtype": "float32", "format": "raw", "nbytes": 8, "byteOffset": 0}
    shard = {"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": 8}
    array = {key: record.get(key, value) for key, value in good.items()}
    given = {key: record.get(f"shard_{key}", value) for key, value in shard.items()}
    return json.dumps({"records": [{**given, "records": [array]}]}).encode()


F32_TEXT = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
CTRANSLATE2: Mapping[str, bytes] = {
    "more variables than bytes": ct2(counts=(U32, 0)),
    "more aliases than bytes": ct2(counts=(1, U32)),
    "alias of nothing": ct2(counts=(1, 1)) + b"\x02\0a\0" + b"\x02\0b\0",
    "a name without its end": ct2(variable=b"\x02\0ww" + bytes(20)),
    "a type that is not known": ct2(variable=b"\x02\0w\0\x01" + struct.pack("<I", 2) + b"\x07" + struct.pack("<I", 8)),
    "a shape that wraps": ct2(variable=b"\x02\0w\0\x04" + struct.pack("<4I", *[U32] * 4) + b"\0" + bytes(12)),
    "bytes behind the end": ct2() + b"\0",
}
OPENVINO: Mapping[str, bytes] = {
    "a billion laughs": openvino("", '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaaaaaa">]><net>'),
    "an external entity": openvino("&e;", '<?xml version="1.0"?><!DOCTYPE net SYSTEM "file:///etc/passwd"><net>'),
    "nested deeply": b"<net >" + b"<a>" * 100_000,
    "a layer that does not end": openvino('<layer id="0" name="a" type="b">'),
    "two layers of one id": openvino(const() + const()),
    **{
        f"a constant with {key} {value}": openvino(const(**{key: value}))
        for key, value in (
            ("shape", "-2"), ("shape", "1,2,x"), ("offset", -1), ("size", 9), ("offset", None), ("size", U64),
        )
    },
}  # fmt: skip
OPENVINO_FOUND: Mapping[str, bytes] = {
    "scales that double": multiplied(80),
    "a long id around many layers": long_ids(20_000),
    "constants of one name": openvino(const(0) + const(1)),
}
MLC_FOUND: Mapping[str, Files] = {
    "many shards that are missing": {
        "tensor-cache.json": json.dumps(
            {
                "records": [
                    {"dataPath": f"{number}.bin", "format": "raw-shard", "nbytes": 0, "records": []}
                    for number in range(20_000)
                ]
            }
        ).encode()
    },
}
NUMPY_FILES: Mapping[str, bytes] = {
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
    "a call": npy("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (2,), }"),
    "a shape larger than the file": npy(F32_TEXT.replace("(2,)", f"({U64},)")),
    "more text than bytes": npy(F32_TEXT, b"", length=60_000),
    "fields": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"),
    "a size without a comma": npy(F32_TEXT.replace("(2,)", "(1 2)")),
    "a size of many digits": npy(F32_TEXT.replace("(2,)", f"({'9' * 5000},)")),
    "version 9": npy(F32_TEXT).replace(b"NUMPY\x01", b"NUMPY\x09"),
}
MLC_LISTS: Mapping[str, Files] = {
    name: {"tensor-cache.json": content, "params_shard_0.bin": bytes(8)}
    for name, content in {
        "a shard elsewhere": mlc(shard_dataPath="../../etc/passwd"),
        "an array outside of its shard": mlc(byteOffset=4),
        "a negative offset": mlc(byteOffset=-8),
        "a shape that does not fit": mlc(shape=[3]),
        "a shape of texts": mlc(shape=["2"]),
        "a format that is not known": mlc(format="zip"),
        "no records": b"{}",
    }.items()
}
DISTRIBUTED_LIST = distributed_list({"a.weight": ("bfloat16", (8, 4), 2)})
DISTRIBUTED: Mapping[str, Files] = {
    "a call": {".metadata": b"cposix\nsystem\n(S'touch canary'\ntR."},
    "nothing": {".metadata": b""},
    "a list": {".metadata": b"\x80\x02]q\x00."},
    "parts that are a dict": {".metadata": DISTRIBUTED_LIST.replace(b"](", b"}(")},
    "parts of a negative size": {".metadata": DISTRIBUTED_LIST.replace(b"J\4\0\0\0", b"J\xfc\xff\xff\xff")},
    "a file elsewhere": {".metadata": DISTRIBUTED_LIST.replace(b"__0_0.distcp", b"../../../etc")},
    "a dtype that is not one": {".metadata": DISTRIBUTED_LIST.replace(b"bfloat16", b"Tensor16")},
    "empty dicts": {".metadata": b"\x80\x02" + b"}" * 1_500_000 + b"."},
    "a memo out of order": {".metadata": b"\x80\x02}r\xff\xff\xff\x7f."},
}
LEGACY_GGML: Mapping[str, bytes] = {
    "settings alone": b"lmgg" + bytes(44),
    "a vocabulary larger than the file": b"fmgg" + struct.pack("<8i", 1, 2**23, 64, 1, 1, 1, 64, 2),
    "a scalar of a type in blocks": b"tjgg"
    + struct.pack("<8i", 3, 0, 32, 1, 1, 1, 32, 2)
    + struct.pack("<3i", 0, 1, 2)
    + b"a"
    + bytes(64),
    "negative sizes": b"tjgg" + struct.pack("<8i", 3, -1, -1, -1, -1, -1, -1, -1),
}
NEMO: Mapping[str, bytes] = {
    "no tar": b"anything" * 100,
    "zeros": bytes(2048),
    "a size that is not a number": b"a.ckpt".ljust(124, b"\0") + b"x" * 12 + bytes(121) + b"ustar" + bytes(250),
}
SUFFIXES = {
    "safetensors": ".safetensors",
    "gguf": ".gguf",
    "pytorch": ".bin",
    "onnx": ".onnx",
    "ctranslate2": ".bin",
    "openvino": ".xml",
    "numpy": ".npy",
    "ggml": ".bin",
    "nemo": ".nemo",
}
REFUSED: Mapping[str, Mapping[str, Files]] = {
    "safetensors": SAFETENSORS,
    "gguf": GGUF,
    "split": SPLIT,
    "pytorch": PYTORCH,
    "onnx": ONNX,
    "folder": FOLDERS,
    "ctranslate2": CTRANSLATE2,
    "openvino": OPENVINO,
    "numpy": NUMPY_FILES,
    "mlc": MLC_LISTS,
    "distributed": DISTRIBUTED,
    "ggml": LEGACY_GGML,
    "nemo": NEMO,
}
FOUND: Mapping[str, Mapping[str, Files]] = {
    "gguf": GGUF_FOUND,
    "split": SPLIT_FOUND,
    "onnx": ONNX_FOUND,
    "folder": FOLDERS_FOUND,
    "openvino": OPENVINO_FOUND,
    "mlc": MLC_FOUND,
}
READ: Mapping[str, Mapping[str, Files]] = {
    "safetensors": SAFETENSORS_READ,
    "gguf": GGUF_READ,
    "pytorch": PYTORCH_READ,
    "onnx": ONNX_READ,
    "folder": FOLDERS_READ,
}

#: rows that between them lead to everything that is imported late, or made of annotations when it is first needed
WARM = (
    ("folder", "regular expressions"),
    ("folder", "config bits 0"),
    ("folder", "index of a surrogate"),
    ("safetensors", "dtype F3"),
    ("pytorch", "sound"),
    ("gguf", "nothing"),
    ("onnx", "sound"),
    ("ctranslate2", "more variables than bytes"),
    ("openvino", "a layer that does not end"),
    ("openvino", "constants of one name"),
    ("numpy", "objects"),
    ("mlc", "no records"),
    ("distributed", "a list"),
    ("ggml", "settings alone"),
    ("nemo", "no tar"),
)
#: run on paths and their folders, one a line after those to warm up with; prints what is said of each, and every event
#: that it must not lead to
PROGRAM = """
import contextlib, io, json, os, resource, sys, time
from quantlevels.cli.program import run

inner = tuple({os.path.realpath(path) + os.sep for path in sys.path if path})
watched = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.symlink",
           "subprocess.Popen", "webbrowser.open", "ctypes.dlopen", "builtins.input"}
folder, events = None, []

def hook(event, args):
    if folder is None:
        return
    if event == "open":
        path = os.path.realpath(args[0]) if isinstance(args[0], (str, bytes)) else str(args[0])
        writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or not path.startswith((folder + os.sep, *inner)):
            events.append([event, path])
    elif event in watched or event.startswith(("socket.", "urllib.", "shutil.", "tempfile.", "pickle.")):
        events.append([event, repr(args)[:200]])
    elif event in ("import", "exec", "compile", "marshal.loads") and not importing():
        events.append([event, repr(args)[:200]])

def importing():
    frame = sys._getframe(2)
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None

def ask(*arguments):
    out, err = io.StringIO(), io.StringIO()
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    return {"status": status, "out": out.getvalue(), "err": err.getvalue(), "seconds": time.process_time() - start}

for path in json.loads(sys.stdin.readline()):
    ask("inspect", path), ask("verify", "--json", path)
sys.addaudithook(hook)
resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
report = sys.stdout
for line in sys.stdin:
    path, place = json.loads(line)
    folder, events = place, []
    answers = [ask("inspect", path), ask("verify", "--json", path)]
    folder = None
    print(json.dumps([answers, events, place]), file=report, flush=True)
"""


def lay(folder: Path, name: str, files: Files) -> Path:
    """The files of a row in a folder of their own, and what is to be inspected of them."""
    folder.mkdir()
    several = files if isinstance(files, Mapping) else {name: files}
    for inside, content in several.items():
        path = folder / inside
        if content is None:
            path.mkdir()
        elif isinstance(content, bytes):
            with suppress(OSError, ValueError):
                path.write_bytes(content)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            content(path)
    first = next(iter(several))
    return folder if first in (INDEX, "model.safetensors") else folder / first


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:  # Any: JSON
    """What the process says of each row, by its kind and name."""
    base = tmp_path_factory.mktemp("hostile").resolve()
    rows = {
        (kind, name): files
        for tables in (REFUSED, FOUND, READ)
        for kind, table in tables.items()
        for name, files in table.items()
    }
    asked = []
    for number, ((kind, _), files) in enumerate(rows.items()):
        path = lay(base / str(number), f"model{SUFFIXES.get(kind, '')}", files)
        asked.append((str(path), str(base / str(number))))
    first = [asked[list(rows).index(row)][0] for row in WARM]
    lines = "\n".join(map(json.dumps, [first, *asked]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=lines, capture_output=True, text=True, cwd=base, check=False
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(rows), (list(rows)[len(said)], done.stderr[-2000:])
    assert not list(base.rglob(CANARY))
    return dict(zip(rows, said, strict=True))


def rows(tables: Mapping[str, Mapping[str, object]]) -> list[Any]:  # Any: pytest's, of a private type
    return [pytest.param(kind, name, id=f"{kind}: {name}") for kind, table in tables.items() for name in table]


def held(said: Any) -> tuple[Any, Any]:  # Any: JSON
    """The answers to `inspect` and `verify --json`, if all went as it must whatever a file holds."""
    asked, events, _ = said
    assert events == []
    for answer in asked:
        assert answer["seconds"] < 5
        assert "Traceback" not in answer["err"]
        assert "defect" not in answer["err"]
        for text in (answer["out"], answer["err"]):
            assert not {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs")} - {"\n"}
    inspected, verified = asked
    return inspected, verified


@pytest.mark.parametrize(("kind", "name"), rows(REFUSED))
def test_refused_in_one_line_that_names_the_file(answers: Any, kind: str, name: str) -> None:
    place = answers[kind, name][-1]
    for answer in held(answers[kind, name]):
        assert (answer["status"], answer["out"]) == (2, "")
        (line,) = answer["err"].splitlines()
        assert line.startswith((f"quantlevels: {place}", "quantlevels: config.json: "))


@pytest.mark.parametrize(("kind", "name"), rows(FOUND))
def test_read_with_a_finding_that_fails_it(answers: Any, kind: str, name: str) -> None:
    inspected, verified = held(answers[kind, name])
    assert (inspected["status"], inspected["err"]) == (0, "")
    assert verified["status"] == 1
    assert any(one["severity"] == "error" for one in json.loads(verified["out"])["findings"])


@pytest.mark.parametrize(("kind", "name"), rows(READ))
def test_read(answers: Any, kind: str, name: str) -> None:
    inspected, verified = held(answers[kind, name])
    assert (inspected["status"], inspected["err"]) == (0, "")
    assert verified["status"] in (0, 1)
    assert all(one["code"] not in ("QL201", "QL206") for one in json.loads(verified["out"])["findings"])


@pytest.mark.parametrize(
    ("content", "status"),
    [(GOOD, 0), (GOOD[:-1], 2), (PYTORCH["stream: posix system"], 2)],
    ids=["sound", "cut", "pickle"],
)
def test_a_process_of_its_own_says_the_same(tmp_path: Path, content: bytes, status: int) -> None:
    path = tmp_path / ("model.bin" if content.startswith(b"\x80") else "model.safetensors")
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "quantlevels", "inspect", path], capture_output=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (status, int(status > 0))
    assert not (tmp_path / CANARY).exists()


def test_the_watch_sees_what_is_done(tmp_path: Path) -> None:
    acts = "run = lambda path: len([open(os.devnull), os.system('true'), eval('1'), __import__('this')])"
    program = PROGRAM.replace("from quantlevels.cli.program import run\n", f"{acts}\n")
    lines = f'[]\n["{tmp_path}/x", "{tmp_path}"]'
    done = subprocess.run([sys.executable, "-c", program], input=lines, capture_output=True, text=True, check=True)
    assert {event for event, _ in json.loads(done.stdout)[1]} == {"open", "os.system", "compile", "exec", "import"}
