"""One safetensors file: what is read, and what the format's rules refuse."""

from __future__ import annotations

import json
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlevels import CheckpointError, levels
from quantlevels.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def write(path: Path, header: object, data: bytes | int = 16, *, length: int | None = None) -> Path:
    """A file of this header (bytes as they are) and so much data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = data if isinstance(data, int) else len(data)
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(size))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_tensors_keep_the_order_of_the_header(file: Path) -> None:
    header = {
        "__metadata__": {"format": "pt", "note": 'with "quotes" and \\'},
        "norm.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "up.weight": {"dtype": "F4", "shape": [3, 2], "data_offsets": [8, 11]},
        "scalar": {"dtype": "BF16", "shape": [], "data_offsets": [11, 13]},
        "none": {"dtype": "I64", "shape": [0, 7], "data_offsets": [13, 13]},
    }
    found = read_checkpoint(write(file, header, 13))
    assert found.format == "safetensors"
    assert list(found.tensors) == [
        ("norm.weight", levels["FP32"], (2,), 8),
        ("up.weight", levels["Float4E2M1"], (3, 2), 3),
        ("scalar", levels["BF16"], (), 2),
        ("none", levels["Int64"], (0, 7), 0),
    ]
    assert found.metadata == header["__metadata__"]
    assert [(entry.path, entry.nbytes) for entry in found.files] == [(file.name, file.stat().st_size)]
    assert not found.findings


A = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
B = b'"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}'
SPELLINGS = {
    "compact": b"{" + A + b"," + B + b"}",
    "padded": b"{" + A + b"," + B + b"}  ",
    "spaced": b'{ "a" : { "dtype" : "U8" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 1 ] } ,\n'
    b'"b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]} }\n',
    "other key order": b'{"a":{"data_offsets":[0,1],"dtype":"U8","shape":[1]},'
    b'"b":{"data_offsets":[1,3],"dtype":"U8","shape":[2]}}',
    "escaped name": b'{"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    "a key more": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":null},'
    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    "json.dumps": b"{" + b", ".join(part.replace(b":", b": ").replace(b",", b", ") for part in (A, B)) + b"}",
    "json.dumps, other key order": b'{"a": {"data_offsets": [0, 1], "dtype": "U8", "shape": [1]}, '
    b'"b": {"data_offsets": [1, 3], "dtype": "U8", "shape": [2]}}',
    "two spellings": b"{" + A + b', "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}',
    "a space in offsets": b"{" + A + b"," + B.replace(b"1,3", b"1, 3") + b"}",
    "no metadata": b'{"__metadata__":null,' + A + b"," + B + b"}",
    "metadata last": b"{" + A + b"," + B + b',"__metadata__":{}}',
}


@pytest.mark.parametrize("header", SPELLINGS.values(), ids=SPELLINGS)
def test_a_header_is_read_however_it_is_spelled(file: Path, header: bytes) -> None:
    found = read_checkpoint(write(file, header, 3))
    assert list(found.tensors) == [("a", levels["UInt8"], (1,), 1), ("b", levels["UInt8"], (2,), 2)]
    safetensors.deserialize(file.read_bytes())  # so does the reference


def test_offsets_need_not_follow_the_order_of_the_header(file: Path) -> None:
    header = {
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
    }
    assert [tensor.name for tensor in read_checkpoint(write(file, header, 3)).tensors] == ["b", "a"]


@pytest.mark.parametrize("header", [b"{}", b"{ }  ", b'{"__metadata__":{"format":"pt"}}'])
def test_a_file_may_hold_no_tensor(file: Path, header: bytes) -> None:
    assert list(read_checkpoint(write(file, header, 0)).tensors) == []


def bad(**changes: Any) -> dict[str, Any]:  # Any: whatever JSON can say
    return {"layer.weight": {**GOOD, **changes}}


@pytest.mark.parametrize(
    "shape", [[-2, -2], [2.0, 2], ["2", 2], [True, 4], [[2, 2]], {"0": 4}, None, 4, [1 << 62, 4, 0]]
)
def test_shapes_must_be_integers_whose_product_fits_64_bits(file: Path, shape: object) -> None:
    assert "model.safetensors" in refusal(write(file, bad(shape=shape)))


@pytest.mark.parametrize("shape", [[1 << 62, 4, 0], [0, 1 << 64]])
def test_a_dimension_of_zero_excuses_none_of_the_others(file: Path, shape: list[int]) -> None:
    assert "more elements than 64 bits can count" in refusal(write(file, bad(shape=shape, data_offsets=[0, 0]), 0))


@pytest.mark.parametrize("dtype", ["F3", "f32", "", "torch.float32", "F8_E4M3FN", None, ["F32"], 0])
def test_an_unknown_dtype_is_named_with_its_tensor(file: Path, dtype: object) -> None:
    message = refusal(write(file, bad(dtype=dtype)))
    assert "'layer.weight'" in message
    assert repr(dtype) in message


@pytest.mark.parametrize(
    "offsets", [[16, 0], [-16, 0], [8, 24], [0, 8], [0, 8, 16], [16], [0, 16.0], [True, 16], "0,16", None, [0, 10**30]]
)
def test_offsets_must_be_the_span_of_the_tensor(file: Path, offsets: object) -> None:
    assert "model.safetensors" in refusal(write(file, bad(data_offsets=offsets), 24))


SPANS = {
    "overlap": ([0, 16], [8, 24]),
    "same": ([0, 16], [0, 16]),
    "hole": ([0, 16], [20, 36]),
    "not from 0": ([4, 20], [20, 36]),
}


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
def test_tensors_must_fill_the_data_without_holes_or_overlaps(file: Path, spans: tuple[list[int], list[int]]) -> None:
    header = {name: {**GOOD, "data_offsets": span} for name, span in zip("ab", spans, strict=True)}
    assert "begins at byte" in refusal(write(file, header, 36))


RAW = {
    "repeated tensor": b"{" + A + b"," + A.replace(b"[0,1]", b"[1,2]") + b"}",
    "repeated by an escape": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    b'"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "repeated key": b'{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "repeated metadata": b'{"__metadata__":{},"__metadata__":{},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "metadata as a tensor": b'{"__metadata__":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "metadata of numbers": b'{"__metadata__":{"n":1},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "metadata list": b'{"__metadata__":[],"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "no comma": b"{" + A + B.replace(b"[2]", b"[1]").replace(b"3", b"2") + b"}",
    "comma after metadata": b'{"__metadata__":{},}',
    "trailing comma": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},}',
    "trailing comma after a long header": b'{"' + b"a" * 70_000 + b'":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    b'"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},}',
    "trailing comma after a long entry": b'{"' + b"a" * 70_000 + b'":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},}',
    "leading comma": b'{,"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "comma in a shape": b'{"a":{"dtype":"U8","shape":[2,],"data_offsets":[0,2]}}',
    "no brace": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}',
    "a brace more": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}',
    "text after": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}} x',
    "zeros after": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}\0\0',
    "leading zero in a shape": b'{"a":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}}',
    "leading zero in an offset": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[00,2]}}',
    **{
        f"offsets {offsets}": b"{" + B + b',"a":{"dtype":"U8","shape":[1],"data_offsets":[' + offsets.encode() + b"]}}"
        for offsets in (
            "00,1",
            "0,01",
            "-0,1",
            "+0,1",
            "0,1.0",
            "0,1,1",
            "0,",
            ",1",
            "0",
            '"0","1"',
            "0,\u0661",
            "0,0_1",
        )
    },
    "minus zero": b'{"a":{"dtype":"U8","shape":[2,-0],"data_offsets":[0,0]}}',
    "exponent": b'{"a":{"dtype":"U8","shape":[2e0],"data_offsets":[0,2]}}',
    "no offsets": b'{"a":{"dtype":"U8","shape":[2]}}',
    "no object": b'{"a":[]}',
    "infinity": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,Infinity]}}',
    "control character": b'{"a\n":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "lone surrogate": b'{"\\ud800":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "not UTF-8": b'{"\xff":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "byte order mark": b'\xef\xbb\xbf{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "other digits": '{"a":{"dtype":"U8","shape":[٢],"data_offsets":[0,2]}}'.encode(),
    "another bracket": b'["a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    "lone surrogate in metadata": b'{"__metadata__":{"a":"\\ud800"},"a":{"dtype":"U8","shape":[1],'
    b'"data_offsets":[0,1]}}',
    "list": b"[]",
    "null": b"null",
    "nothing": b"",
    "deep": b'{"a":' + b"[" * 50_000,
    "a number of 5000 digits": b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,2]}}',
}


@pytest.mark.parametrize("header", RAW.values(), ids=RAW)
def test_malformed_headers_are_refused_in_one_line(file: Path, header: bytes) -> None:
    message = refusal(write(file, header, 3 if header.startswith(b"{" + B) else 2))
    assert "malformed header" in message
    assert "\n" not in message


@pytest.mark.parametrize("length", [100_000_001, 2**63, 2**63 - 8, 2**64 - 1, 10_000])
def test_the_header_length_is_checked_before_it_is_believed(file: Path, length: int) -> None:
    assert "header of" in (message := refusal(write(file, {}, 0, length=length))) or "truncated" in message


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_its_header_is_truncated(file: Path, size: int) -> None:
    file.write_bytes(b"\x02\0\0\0\0\0\0\0"[:size])
    assert "truncated" in refusal(file)


def test_missing_and_surplus_data_are_counted(file: Path) -> None:
    assert "take 16 bytes, but the file holds only 10 of them" in refusal(write(file, {"a": GOOD}, 10))
    assert "4 bytes after the last tensor" in refusal(write(file, {"a": GOOD}, 20))


def test_sub_byte_tensors_end_on_a_byte(file: Path) -> None:
    assert "3 elements of F4" in refusal(write(file, bad(dtype="F4", shape=[3], data_offsets=[0, 2]), 2))


@pytest.mark.parametrize(
    "piece",
    [
        b',"a":{"dtype"',
        b',"a":{"dtype":"U8","shape":[',
        b',"a',
        b',"a":{"dtype":"U8","shape":[],',
        b", ",
        b',"a":{"dtype"],"data_offsets":[',
        b',"a":{"dtype"],"data_offsets":[0,',
        b',"a":{"data_offsets":[0,1',
        b',"":{"data_offsets":[0,',
    ],
)
@pytest.mark.parametrize("first", [b"{", b"{" + A, b'{"b":{"data_offsets":[0,1],"dtype":"U8","shape":[1]}'])
def test_no_header_takes_longer_than_its_length_allows(file: Path, first: bytes, piece: bytes) -> None:
    started = time.process_time()
    assert "malformed header" in refusal(write(file, first + piece * 50_000 + b"}", 0))
    assert time.process_time() - started < 5


def test_messages_escape_and_cut_names_from_files(file: Path) -> None:
    message = refusal(write(file, {"\x1b[31m" + "x" * 10_000: {**GOOD, "dtype": "no"}}))
    assert "\x1b" not in message
    assert len(message) < 1000


DTYPES = [np.dtype(name) for name in ("bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8", "c8")]
ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    st.builds(np.zeros, st.lists(st.integers(0, 5), max_size=4), st.sampled_from(DTYPES)),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ARRAYS, st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_what_the_reference_writes_is_read(
    file: Path, arrays: dict[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None
) -> None:
    safetensors.numpy.save_file(arrays, file, metadata or None)  # it writes no JSON for no tensors and {}
    found = read_checkpoint(file)
    assert {tensor.name: (tensor.dtype, tensor.shape, tensor.nbytes) for tensor in found.tensors} == {
        name: (levels.of_dtype(array.dtype), array.shape, array.nbytes) for name, array in arrays.items()
    }
    assert found.metadata == (metadata or {})


NOISE = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"a"',
            b'"b"',
            b'"dtype"',
            b'"shape"',
            b'"data_offsets"',
            b'"U8"',
            b"0",
            b"1",
            b" ",
        ]
    )
    | st.sampled_from([b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}', b'"__metadata__":{}']),
    max_size=12,
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(NOISE.map(lambda noise: b"{" + noise + b"}") | NOISE, st.integers(0, 2))
def test_the_reference_reader_decides_what_is_refused(file: Path, header: bytes, size: int) -> None:
    write(file, header, size)
    try:
        theirs = {
            name: (entry["shape"], len(entry["data"])) for name, entry in safetensors.deserialize(file.read_bytes())
        }
    except safetensors.SafetensorError:
        refusal(file)
    else:
        ours = read_checkpoint(file).tensors
        assert {tensor.name: (list(tensor.shape), tensor.nbytes) for tensor in ours} == theirs
