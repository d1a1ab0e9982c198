"""PyTorch files: as torch wrote them, and built byte by byte as it never would."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlevels import CheckpointError
from quantlevels.checkpoint import read_checkpoint
from quantlevels.inspection.report import inspect

DATA = Path(__file__).parents[1] / "data" / "pytorch"


class Call(NamedTuple):
    """A global, or what a call of it returns."""

    name: str
    arguments: tuple[object, ...] | None = None


class Built(NamedTuple):
    """An instance of a class with a state."""

    name: str
    state: object


class Storage(NamedTuple):
    """A reference to the bytes behind a tensor."""

    key: str
    count: int
    kind: str = "torch FloatStorage"


def opcodes(value: object) -> bytes:
    """A value as a pickler of protocol 2 writes it, whatever can be imported here."""
    match value:
        case None | bool() | int() | float() | str():
            return pickle.dumps(value, 2)[2:-1]
        case Storage():
            return opcodes(("storage", Call(value.kind), value.key, "cpu", value.count)) + b"Q"
        case Call(name, None):
            return b"c" + name.replace(" ", "\n").encode() + b"\n"
        case Call(name, arguments):
            return opcodes(Call(name)) + opcodes(arguments) + b"R"
        case Built(name, state):
            return opcodes(Call(name)) + b")\x81" + opcodes(state) + b"b"
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(key) + opcodes(part) for key, part in value.items()) + b"u"
        case _:
            raise TypeError(value)


def tensor(storage: object, *size: int, stride: tuple[int, ...] | None = None, offset: int = 0) -> Call:
    if stride is None:
        steps = [1]
        for length in size[:0:-1]:
            steps.append(steps[-1] * length)
        stride = tuple(reversed(steps))[-len(size) :] if size else ()
    hooks = Call("collections OrderedDict", ())
    return Call("torch._utils _rebuild_tensor_v2", (storage, offset, size, stride, False, hooks))


def archive(path: Path, value: object, data: Mapping[str, int], folder: str = "archive") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{folder}/data.pkl", b"\x80\x02" + opcodes(value) + b".")
        for key, nbytes in data.items():
            file.writestr(f"{folder}/data/{key}", bytes(nbytes))
    return path


def stored(path: Path) -> dict[str, tuple[str, tuple[int, ...], int]]:
    return {one.name: (str(one.dtype), one.shape, one.nbytes) for one in read_checkpoint(path).tensors}


TENSORS = {
    "base": ("FP32", (8, 8), 256),  # and tied, transposed and rows, which show the same elements
    "bf16": ("BF16", (3,), 6),
    "scalar": ("INT64", (), 8),
    "flag": ("BOOL", (3,), 3),
    "parameter": ("FP32", (2, 2), 16),
    "expanded": ("FP32", (5, 5), 4),
    "empty": ("FP32", (0, 3), 0),
    "strided": ("FP32", (4, 3), 48),
    "per_tensor": ("UINT8", (4, 6), 24),
    "per_channel": ("INT8", (4, 6), 24),
    "per_channel_scale": ("FP64", (4,), 32),
    "per_channel_zero_point": ("INT64", (4,), 32),
    "sparse.indices": ("INT64", (2, 4), 64),
    "sparse": ("FP32", (4,), 16),
}
NEWER = {
    "fp8": ("FP8_E4M3FN", (4,), 4),
    "u16": ("UINT16", (4,), 8),
    "fp4": ("FP4_E2M1", (4, 8), 16),
    "bits": ("torch type bits8", (4,), 4),
}


def test_both_layouts_as_torch_writes_them() -> None:
    assert stored(DATA / "zip.pt") == TENSORS | NEWER
    assert stored(DATA / "legacy.pt") == TENSORS
    checkpoint = read_checkpoint(DATA / "zip.pt")
    assert checkpoint.tied == ("tied", "transposed", "rows")
    assert [(finding.code, finding.where) for finding in checkpoint.findings] == [("QL301", "bits")]


def test_states_of_optimizers_are_left_out() -> None:
    checkpoint = read_checkpoint(DATA / "trained.ckpt")
    assert [one.name for one in checkpoint.tensors] == ["state_dict.weight", "state_dict.bias", "layers.0.w"]
    assert checkpoint.metadata == {"epoch": 3}


@pytest.mark.parametrize(
    ("file", "level", "nbytes"),
    [
        ("torch_ao.pt", "INT8", 2048 + 4 + 128),
        ("torchao_int8.pt", "INT8", 2048 + 128 + 32 + 64),
        ("torchao_float8.pt", "FP8_E4M3FN", 2048 + 128 + 64),
    ],
)
def test_quantized_modules_fold_as_those_of_safetensors(file: str, level: str, nbytes: int) -> None:
    inspection = inspect(DATA / file)
    assert inspection.stored
    assert inspection.stored.parameters == 2048 + 32
    (one,) = (one for one in inspection.stored.levels if one.quantized)
    assert (str(one.level), one.parameters, one.nbytes) == (level, 2048, nbytes)


def test_hqq_keeps_scales_in_a_dict_of_their_own(tmp_path: Path) -> None:
    meta = {"scale": tensor(Storage("1", 8), 8, 1), "nbits": 4, "shape": Call("torch Size", ((8, 64),))}
    layer = {"W_q": tensor(Storage("0", 256, "torch ByteStorage"), 4, 64), "meta": meta}
    path = archive(tmp_path / "q.pt", {"fc": layer}, {"0": 256, "1": 32})
    checkpoint = read_checkpoint(path)
    assert [one.name for one in checkpoint.tensors] == ["fc.W_q", "fc.scale"]
    assert checkpoint.metadata == {"fc.nbits": 4}


def test_torchscript_weights_are_read_from_states_of_classes(tmp_path: Path) -> None:
    linear = {"weight": tensor(Storage("0", 16), 4, 4), "training": False}
    kept = Call("torch.jit._pickle build_tensorlist", ([tensor(Storage("1", 2), 2)],))
    packed = Built("__torch__.torch.classes.quantized LinearPackedParamsBase", (tensor(Storage("2", 3), 3), None))
    root = Built("__torch__ Net", {"fc": Built("__torch__.torch.nn Linear", linear), "kept": kept, "packed": packed})
    path = archive(tmp_path / "a.pt", root, {"0": 64, "1": 8, "2": 12})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/constants.pkl", b"\x80\x02" + opcodes((tensor(Storage("0", 5), 5),)) + b".")
        file.writestr("archive/constants/0", bytes(20))
    assert stored(path) == {
        "fc.weight": ("FP32", (4, 4), 64),
        "kept.0": ("FP32", (2,), 8),
        "packed.0": ("FP32", (3,), 12),
        "constants.0": ("FP32", (5,), 20),
    }


def test_classes_of_a_script_are_its_own_alone(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", {"net": Built("__torch__ Net", {})}, {})
    with pytest.raises(CheckpointError, match=r"wants the global '__torch__\.Net'"):
        read_checkpoint(path)
    with zipfile.ZipFile(archive(path, {"w": Call("os system", ("true",))}, {}), "a") as file:
        file.writestr("archive/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match=r"wants the global 'os\.system'"):
        read_checkpoint(path)


def test_an_exported_program_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(zipped(("a/models/model.json", b"{}"), ("a/data/weights/weight_0", b"")))
    with pytest.raises(CheckpointError, match=r"an exported program \(\.pt2\); save its state_dict"):
        read_checkpoint(tmp_path / "a.pt2")


def test_dicts_with_a_factory_hold_what_others_do(tmp_path: Path) -> None:
    pairs = opcodes("w") + opcodes(tensor(Storage("0", 4), 4))
    pickled = opcodes(Call("collections defaultdict", (Call("__builtin__ list"),))) + b"(" + pairs + b"u"
    path = tmp_path / "a.pt"
    path.write_bytes(zipped(("a/data.pkl", b"\x80\x02" + pickled + b"."), ("a/data/0", bytes(16))))
    assert stored(path) == {"w": ("FP32", (4,), 16)}


@pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "bsc"])
def test_compressed_sparse_tensors(tmp_path: Path, layout: str) -> None:
    long = "torch LongStorage"
    parts = (tensor(Storage("0", 5, long), 5), tensor(Storage("1", 3, long), 3), tensor(Storage("2", 3), 3), (4, 4))
    made = Call("torch.serialization _get_layout", (f"torch.sparse_{layout}",))
    value = {"w": Call("torch._utils _rebuild_sparse_tensor", (made, parts))}
    assert stored(archive(tmp_path / "a.pt", value, {"0": 40, "1": 24, "2": 12})) == {
        "w.compressed_indices": ("INT64", (5,), 40),
        "w.plain_indices": ("INT64", (3,), 24),
        "w": ("FP32", (3,), 12),
    }


def test_nested_tensors_are_their_buffer(tmp_path: Path) -> None:
    sizes = [tensor(Storage(str(key), 4, "torch LongStorage"), 4) for key in (1, 2, 3)]
    value = {"w": Call("torch._utils _rebuild_nested_tensor", (tensor(Storage("0", 9), 9), *sizes))}
    found = stored(archive(tmp_path / "a.pt", value, {"0": 36, "1": 32, "2": 32, "3": 32}))
    assert found["w"] == ("FP32", (9,), 36)
    assert list(found) == ["w", "w.sizes", "w.strides", "w.offsets"]


def test_python_2_fills_dicts_from_pairs(tmp_path: Path) -> None:
    pairs = [["w", tensor(Storage("0", 4), 4)], ("b", tensor(Storage("1", 2), 2))]
    path = archive(tmp_path / "a.pt", Call("collections OrderedDict", (pairs,)), {"0": 16, "1": 8})
    assert list(stored(path)) == ["w", "b"]


def view(offset: int, *size: int, stride: tuple[int, ...] | None = None) -> Call:
    return tensor(Storage("0", 120), *size, stride=stride, offset=offset)


@pytest.mark.parametrize(
    ("views", "nbytes"),
    [
        ({"whole": view(0, 120), "again": view(0, 12, 10)}, {"whole": 480}),
        ({"part": view(10, 20), "whole": view(0, 120)}, {"whole": 480}),
        ({"left": view(0, 60), "right": view(60, 60)}, {"left": 240, "right": 240}),
        ({"left": view(0, 80), "right": view(40, 80)}, {"left": 320, "right": 160}),
        (
            {name: view(at, 4, 10, stride=(30, 1)) for name, at in [("q", 0), ("k", 10), ("v", 20)]},
            dict.fromkeys("qkv", 160),
        ),
        ({"even": view(0, 60, stride=(2,)), "same": view(0, 60, stride=(2,))}, {"even": 240}),
        ({"turned": view(0, 10, 12, stride=(1, 10)), "straight": view(0, 12, 10)}, {"turned": 480}),
        ({"one": view(7), "expanded": view(8, 9, 9, stride=(0, 0))}, {"one": 4, "expanded": 4}),
        ({"sliding": view(0, 100, 20, stride=(1, 1))}, {"sliding": 119 * 4}),
    ],
    ids=lambda value: "-".join(value),
)
def test_every_byte_of_a_storage_is_counted_once(
    tmp_path: Path, views: dict[str, Call], nbytes: dict[str, int]
) -> None:
    found = stored(archive(tmp_path / "a.pt", views, {"0": 480}))
    assert {name: size for name, (_, _, size) in found.items()} == nbytes


def test_containers_count_once_and_may_hold_themselves(tmp_path: Path) -> None:
    pickled = b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00b]q\x01(h\x01h\x01h\x00eu."
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("a/data.pkl", pickled)
    assert not read_checkpoint(tmp_path / "a.pt").tensors


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"w": tensor(Storage("0", 4), 5)}, "reaches to byte 20 of 16"),
        ({"w": tensor(Storage("0", 4), 2, offset=3)}, "reaches to byte 20 of 16"),
        ({"w": tensor(Storage("0", 4), 2, 2, stride=(1 << 62, 1))}, "reaches to byte"),
        ({"w": tensor(Storage("0", 4), 4, offset=-1)}, "has no shape"),
        ({"w": tensor(Storage("0", 4), -2, -2)}, "has no shape"),
        ({"w": tensor(Storage("0", 4), 1 << 63)}, "has no shape"),
        ({"w": tensor(Storage("0", 4), *[1] * 65)}, "has no shape"),
        ({"w": tensor(Storage("0", 4), 2, stride=())}, "has no shape"),
        ({"w": tensor(Storage("0", 8), 4)}, "storage '0' is missing or does not have 32 bytes"),
        ({"w": tensor(Storage("9", 4), 4)}, "storage '9' is missing"),
        ({"w": tensor(Storage("0", 4), 4), "v": tensor(Storage("0", 2), 2)}, "storage '0' has two different sizes"),
        ({"w": tensor("0", 4)}, "not a storage"),
        ({"w": Call("torch._utils _rebuild_tensor_v2", (1,))}, "in a way that torch does not use"),
        ({"w": {"x": tensor(Storage("0", 4), 4)}, "w.x": tensor(Storage("0", 4), 4)}, "two tensors named"),
        ({"w": Call("os system", ("true",))}, "wants the global 'os.system'"),
        ({"w": Call("torch.hub load", ())}, "wants the global 'torch.hub.load'"),
        ({"w": Call("torch._utils _import_dotted_name", ())}, "wants the global"),
        (3, "holds no tensors"),
    ],
)
def test_what_torch_never_writes_is_refused(tmp_path: Path, value: object, reason: str) -> None:
    path = archive(tmp_path / "a.pt", value, {"0": 16})
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_lists_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02N" + b"\x85" * 100_000 + b".")
    with pytest.raises(CheckpointError, match="nests deeper than 64"):
        read_checkpoint(path)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


GOOD = zipped(("archive/data.pkl", b"\x80\x02}."), ("archive/data/0", bytes(100)))


def patched(content: bytes, signature: bytes, offset: int, code: str, value: int) -> bytes:
    """An archive with one number of the record behind a signature replaced."""
    place = content.index(signature) + offset
    new = struct.pack(code, value)
    return content[:place] + new + content[place + len(new) :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither"),
        (b"MZ" + GOOD, "neither"),
        (GOOD[: len(GOOD) - 30], "truncated"),
        (GOOD[:60], "truncated"),
        (GOOD + b"tail", "follow the end of the archive"),
        (b"PK\x03\x04" + bytes(40) + GOOD, "not at the offset"),
        (zipped(("archive/version", b"3")), "0 data.pkl"),
        (zipped(("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", b"\x80\x02}.")), "2 data.pkl"),
        (zipped(("a/data.pkl", b"\x80\x02}."), ("../b", b"")), "leads outside"),
        (zipped(("a/data.pkl", b"\x80\x02}."), ("a\\..\\b", b"")), "leads outside"),
        (zipped(("a/data.pkl", b"\x80\x02}."), ("/b", b"")), "leads outside"),
        (zipped(("a/data.pkl", b"\x80\x02" + b"N0" * 500_000 + b"}."), method=zipfile.ZIP_DEFLATED), "compressed"),
        (patched(GOOD, b"PK\x01\x02", 20, "<I", 4_000_000), "overlaps"),
        (patched(GOOD, b"PK\x01\x02", 42, "<I", 90), "overlaps|missing"),
        (patched(GOOD, b"PK\x01\x02", 28, "<H", 60_000), "ends within an entry"),
        (patched(GOOD, b"PK\x01\x02", 0, "<I", 0), "no entry at a place that must hold one"),
        (patched(GOOD, b"PK\x05\x06", 16, "<I", 1), "not at the offset"),
    ],
)
def test_archives_that_are_not_sound_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(zipped(("a/data.pkl", b"\x80\x02}."), ("a/datA.pkl", b"\x80\x02}.")).replace(b"datA", b"data"))
    with pytest.raises(CheckpointError, match="two entries named"):
        read_checkpoint(path)


def test_entries_beyond_32_bits(tmp_path: Path) -> None:
    """A sparse file, as no storage of 5 GB should be written for a test."""
    nbytes = 5 << 30
    pickled = b"\x80\x02" + opcodes({"w": tensor(Storage("0", nbytes // 4), nbytes // 4)}) + b"."
    path = tmp_path / "big.pt"
    names = ("a/data.pkl", "a/data/0")
    with path.open("wb") as file:

        def local(name: str, size: int) -> int:
            place = file.tell()
            file.write(
                struct.pack("<4s5H3L2H", b"PK\x03\x04", 0, 0, 0, 0, 0, 0, size, size, len(name), 0) + name.encode()
            )
            return place

        offsets = [local(names[0], len(pickled))]
        file.write(pickled)
        offsets.append(local(names[1], 0xFFFFFFFF))
        file.seek(nbytes, os.SEEK_CUR)
        directory = file.tell()
        for name, size, offset in zip(names, (len(pickled), nbytes), offsets, strict=True):
            extra = struct.pack("<HHQQ", 1, 16, size, size) if size > 0xFFFFFFFF else b""
            narrow = min(size, 0xFFFFFFFF)
            header = (b"PK\x01\x02", *(0,) * 6, 0, narrow, narrow, len(name), len(extra), 0, 0, 0, 0, offset)
            file.write(struct.pack("<4s6H3L5H2L", *header) + name.encode() + extra)
        end = file.tell()
        file.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 0, 0, 0, 0, 2, 2, end - directory, directory))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, 2, 2, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert stored(path) == {"w": ("FP32", (nbytes // 4,), nbytes)}


def test_a_stream_that_ends_early_is_refused(tmp_path: Path) -> None:
    content = (DATA / "legacy.pt").read_bytes()
    for end in range(0, len(content), 37):
        (tmp_path / "a.pt").write_bytes(content[:end])
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / "a.pt")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps({"w": [1.0]}))
    with pytest.raises(CheckpointError, match="a pickle of something other than tensors"):
        read_checkpoint(tmp_path / "a.bin")


def test_shards_with_a_tied_tensor(tmp_path: Path) -> None:
    name = "pytorch_model-00001-of-00001.bin"
    weight = tensor(Storage("0", 64), 8, 8)
    archive(tmp_path / name, {"embed.weight": weight, "head.weight": weight}, {"0": 256})
    index = {"metadata": {"total_size": 256}, "weight_map": {"embed.weight": name, "head.weight": name}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    checkpoint = read_checkpoint(tmp_path)
    assert [one.name for one in checkpoint.tensors] == ["embed.weight"]
    assert not checkpoint.findings


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "trained.ckpt", "torchao_int8.pt"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 13), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_is_read_or_refused(tmp_path: Path, name: str, edits: list[tuple[int, int]]) -> None:
    content = bytearray((DATA / name).read_bytes())
    for place, byte in edits:
        content[place % len(content)] = byte
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with suppress(CheckpointError):
        read_checkpoint(path)
