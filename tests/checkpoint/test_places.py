"""Where the bytes of each tensor are: read back from the files that real writers made."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from quantlevels.checkpoint import read_checkpoint
from quantlevels.checkpoint.source import LocalFolder
from quantlevels.container import Place, Places

ARRAYS = {
    "b.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.weight": np.arange(7, dtype=np.int8),
    "empty": np.zeros((0, 4), dtype=np.float16),
}


def bytes_of(path: Path) -> dict[str, bytes | None]:
    """Name of each tensor → its bytes at its place; None without a place."""
    checkpoint = read_checkpoint(path)
    assert len(checkpoint.places) == len(checkpoint.tensors)
    found: dict[str, bytes | None] = {}
    for tensor, place in zip(checkpoint.tensors, checkpoint.places, strict=True):
        found[tensor.name] = None
        if place is not None:
            assert checkpoint.folder is not None
            with checkpoint.folder.open(place.file) as source:
                found[tensor.name] = source.read(place.offset, tensor.nbytes)
    return found


def expected(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def test_tensors_of_safetensors_are_at_their_places(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "model.safetensors")
    assert bytes_of(tmp_path) == expected(ARRAYS)


def test_safetensors_in_any_order_are_at_their_places(tmp_path: Path) -> None:
    header = {
        "second": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]},
        "first": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    raw = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + b"abcde")
    assert bytes_of(tmp_path) == {"second": b"de", "first": b"abc"}


def test_each_shard_keeps_its_own_places(tmp_path: Path) -> None:
    shards = {f"model-0000{number}-of-00003.safetensors": name for number, name in enumerate(ARRAYS, 1)}
    for file, name in shards.items():
        save_file({name: ARRAYS[name], "repeated": np.full(3, 7, np.int8)}, tmp_path / file)
    found = bytes_of(tmp_path)
    assert found == {**expected(ARRAYS), "repeated": b"\7\7\7"}
    assert set(read_checkpoint(tmp_path).places.files) == set(shards)


@pytest.mark.parametrize("order", ["little", "big"])
def test_tensors_of_gguf_are_at_their_places(tmp_path: Path, order: str) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian[order.upper()])
    arrays = {name: array for name, array in ARRAYS.items() if array.size}
    for name, array in arrays.items():
        writer.add_tensor(name, array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_checkpoint(path).byte_order == order
    swapped = {name: array.byteswap() if order == "big" else array for name, array in arrays.items()}
    assert bytes_of(path) == expected(swapped)


PYTORCH = Path(__file__).parents[1] / "data" / "pytorch"


@pytest.mark.parametrize("file", ["zip.pt", "legacy.pt"])
def test_tensors_of_pytorch_are_at_their_places(file: str) -> None:
    found = bytes_of(PYTORCH / file)
    assert found["scalar"] == np.int64(1).tobytes()
    assert found["flag"] == bytes(3)
    assert found["base"] == np.arange(64, dtype=np.float32).tobytes()
    assert found["parameter"] == np.ones(4, dtype=np.float32).tobytes()
    assert (found["expanded"], found["strided"]) == (None, None)


def model(path: Path, *initializers: TensorProto) -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [value], list(initializers))
    onnx.save(helper.make_model(graph), path)


def test_tensors_of_onnx_are_at_their_places(tmp_path: Path) -> None:
    initializers = [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]
    floats = helper.make_tensor("floats", TensorProto.FLOAT, [2], [1.5, 2.5])
    integers = helper.make_tensor("integers", TensorProto.INT64, [2], [1, 300])
    model(tmp_path / "model.onnx", *initializers, floats, integers)
    assert bytes_of(tmp_path) == {
        **expected(ARRAYS),
        "floats": np.array([1.5, 2.5], np.float32).tobytes(),
        "integers": None,  # variable-length numbers
    }


def test_external_data_of_onnx_is_at_its_places(tmp_path: Path) -> None:
    initializers = [numpy_helper.from_array(array, name) for name, array in ARRAYS.items() if array.size]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [value], initializers)
    onnx.save_model(
        helper.make_model(graph),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    assert bytes_of(tmp_path) == {name: array.tobytes() for name, array in ARRAYS.items() if array.size}
    assert read_checkpoint(tmp_path).places[0] == Place("weights.data", 0)


def test_a_million_places_take_twelve_bytes_each() -> None:
    tracemalloc.start()
    try:
        places = Places.in_file("model.safetensors", range(1_000_000))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 14_000_000
    assert all(after.offset - before.offset == 1 for before, after in pairwise(places) if before and after)


def test_places_of_several_parts_follow_each_other() -> None:
    first = Places.in_file("one", [1, None])
    second = Places.of([Place("two", 5), None, Place("one", 3)])
    joined = Places.joined([first, second])
    assert list(joined) == [Place("one", 1), None, Place("two", 5), None, Place("one", 3)]
    assert list(joined.chosen([4, 1])) == [Place("one", 3), None]


def test_a_file_may_not_be_read_past_its_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with LocalFolder(tmp_path).open("a") as source:
        assert source.read(1, 2) == b"bc"
        with pytest.raises(Exception, match="truncated: 3 bytes are needed, 2 remain"):
            source.read(1, 3)
