"""Memory that grows with the header of a file, whatever its names are."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from tests.writers import onnx_field

from quantlevels import CheckpointError
from quantlevels.checkpoint import read_checkpoint

MIB = 1 << 20


def peak(path: Path) -> int:
    """Bytes that reading takes at most, whether the file is read or refused."""
    tracemalloc.start()
    try:
        with suppress(CheckpointError):
            read_checkpoint(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def allowed(path: Path) -> int:
    return 16 * path.stat().st_size + 8 * MIB


def test_names_in_a_subgraph_do_not_repeat_a_long_label(tmp_path: Path) -> None:
    nodes = b"".join(onnx_field(1, onnx_field(2, f"{number}".encode())) for number in range(3000))
    branch = onnx_field(3, b"L" * 150_000) + onnx_field(5, onnx_field(1, b"then") + onnx_field(6, nodes))
    graph = onnx_field(1, branch)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a" + onnx_field(7, graph))
    assert peak(path) < allowed(path)
    assert {node.outputs[0] for node in read_checkpoint(path).nodes if node.outputs} >= {"subgraph 1/0", "subgraph 1/9"}


def word(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


def pickled(path: Path, body: bytes) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + body + b".")
    path.write_bytes(buffer.getvalue())
    return path


def test_plain_values_under_long_keys_are_left_out_and_reported(tmp_path: Path) -> None:
    values = b"}(" + b"".join(word(b"%d" % number) + b"K\x01" for number in range(2000)) + b"u"
    path = pickled(tmp_path / "model.pt", b"}" + word(b"k" * 500_000) + values + b"s")
    assert peak(path) < allowed(path)
    (finding,) = read_checkpoint(path).findings
    assert (finding.code, finding.severity) == ("QL306", "info")


def test_tensors_under_a_key_that_is_too_long_are_refused(tmp_path: Path) -> None:
    lists = b"](" + b"](K\x01e" * 2000 + b"e"
    path = pickled(tmp_path / "model.pt", b"}" + word(b"k" * 500_000) + lists + b"s")
    assert peak(path) < allowed(path)
    with pytest.raises(CheckpointError, match="names of its tensors are longer than its pickle can need"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [b"}", b"]", b"}K\x01K\x02s"])
def test_a_list_of_millions_without_a_tensor_takes_no_more_than_its_values(tmp_path: Path, value: bytes) -> None:
    path = pickled(tmp_path / "model.pt", b"](" + value * (500_000 // len(value)) + b"e")
    assert peak(path) < allowed(path) + 40 * MIB


@pytest.mark.parametrize("brackets", ["[]", "{}"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model.safetensors.index.json"])
def test_empty_arrays_are_counted_before_they_are_made(tmp_path: Path, name: str, brackets: str) -> None:
    header = ('{"a":[' + f"{brackets}," * 1_200_000 + brackets + "]}").encode()
    path = tmp_path / name
    path.write_bytes(struct.pack("<Q", len(header)) + header if name.endswith(".safetensors") else header)
    assert peak(path) < allowed(path)
    with pytest.raises(CheckpointError, match="more arrays and objects than a file of a model can need"):
        read_checkpoint(path)


def test_brackets_in_names_do_not_count_as_arrays(tmp_path: Path) -> None:
    name = "[{" * 600_000
    header = f' {{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}'.encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0")
    assert [tensor.name for tensor in read_checkpoint(path).tensors] == [name]
