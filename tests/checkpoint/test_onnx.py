"""ONNX models as the `onnx` package writes them, and as nobody should."""

from __future__ import annotations

import importlib.util
import math
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from quantlevels import CheckpointError, levels
from quantlevels.checkpoint import read_checkpoint
from quantlevels.container import Tensor, UnknownType

TYPES = [
    number for number in TensorProto.DataType.values() if number not in (TensorProto.UNDEFINED, TensorProto.STRING)
]
#: distribution → folder of its models, in the folder of the package
SHIPPED = {
    "silero_vad": "data",
    "magika": "models",
    "rapidocr_onnxruntime": "models",
    "traceforge_title_model": "data",
}


def bits(number: int) -> int:
    return levels.from_dialect("onnx", number).block.bits


def save(path: Path, *initializers: TensorProto, nodes: Iterable[NodeProto] = (), **parts: object) -> Path:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    path.write_bytes(helper.make_model(graph, **parts).SerializeToString())
    return path


def floats(name: str, *dims: int) -> TensorProto:
    return numpy_helper.from_array(np.zeros(dims, np.float32), name)


def names(path: Path) -> list[str]:
    return [tensor.name for tensor in read_checkpoint(path).tensors]


@pytest.mark.parametrize("number", TYPES, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
@pytest.mark.parametrize("dims", [(), (0, 3), (3,), (2, 5)])
def test_every_type_is_sized_as_onnx_packs_it(tmp_path: Path, number: int, raw: bool, dims: tuple[int, ...]) -> None:
    nbytes = -(-math.prod(dims) * bits(number) // 8)
    values = bytes(nbytes) if raw else np.zeros(math.prod(dims))
    checkpoint = read_checkpoint(save(tmp_path / "m.onnx", helper.make_tensor("w", number, dims, values, raw=raw)))
    assert tuple(checkpoint.tensors) == (Tensor("w", levels.from_dialect("onnx", number), dims, nbytes),)
    assert not checkpoint.findings


@pytest.mark.parametrize("number", TYPES, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
def test_sizes_that_do_not_match_the_shape_are_refused(tmp_path: Path, number: int, raw: bool) -> None:
    dims = (4, 8)
    tensor = helper.make_tensor("w", number, dims, bytes(4 * bits(number)) if raw else np.zeros(dims), raw=raw)
    tensor.dims[0] = 8
    with pytest.raises(CheckpointError, match="'w' of shape"):
        read_checkpoint(save(tmp_path / "m.onnx", tensor))


def test_a_tensor_without_data_or_with_it_twice_is_refused(tmp_path: Path) -> None:
    empty = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    with pytest.raises(CheckpointError, match="must hold 16 bytes"):
        read_checkpoint(save(tmp_path / "m.onnx", empty))
    twice = floats("w", 4)
    twice.float_data.extend([0] * 4)
    with pytest.raises(CheckpointError, match="must hold 16 bytes"):
        read_checkpoint(save(tmp_path / "m.onnx", twice))


def test_an_unknown_type_is_reported_with_the_size_it_has(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(
        save(tmp_path / "m.onnx", TensorProto(name="w", data_type=77, dims=[5], raw_data=b"1234567"))
    )
    assert tuple(checkpoint.tensors) == (Tensor("w", UnknownType("onnx", 77), (5,), 7),)
    assert [(finding.code, finding.where) for finding in checkpoint.findings] == [("QL301", "w")]


def test_texts_are_not_weights(tmp_path: Path) -> None:
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"])
    assert names(save(tmp_path / "m.onnx", words, floats("w", 1))) == ["w"]


def test_constants_of_every_kind(tmp_path: Path) -> None:
    values: dict[str, object] = {
        "value": floats("inner", 2, 2),
        "value_float": 1.5,
        "value_floats": [1.0, 2.0, 3.0],
        "value_int": 7,
        "value_ints": [1, 2, 3, 4, 5],
        "value_string": "text",
    }
    nodes = [helper.make_node("Constant", [], [kind], **{kind: value}) for kind, value in values.items()]
    path = save(tmp_path / "m.onnx", nodes=nodes)
    assert [(tensor.name, tensor.shape, tensor.nbytes) for tensor in read_checkpoint(path).tensors] == [
        ("value", (2, 2), 16),
        ("value_float", (), 4),
        ("value_floats", (3,), 12),
        ("value_int", (), 8),
        ("value_ints", (5,), 40),
    ]


def test_sparse_tensors_are_their_values_and_indices(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3]),
        helper.make_tensor("", TensorProto.INT64, [3], [1, 5, 9]),
        [4, 4],
    )
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert [(tensor.name, tensor.nbytes) for tensor in read_checkpoint(path).tensors] == [("w", 12), ("w.indices", 24)]


def branch(*, inner: Iterable[NodeProto] = ()) -> GraphProto:
    node = helper.make_node("Add", ["w", "outer"], ["sum"])
    return helper.make_graph([node, *inner], "branch", [], [], [floats("w", 3)])


def test_subgraphs_and_functions_have_names_of_their_own(tmp_path: Path) -> None:
    loop = helper.make_node("Loop", [], [], "", body=branch())
    nodes = [
        helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch(inner=[loop]), else_branch=branch()),
        helper.make_node("Scale", ["y"], ["z"], domain="mine"),
    ]
    constant = helper.make_node("Constant", [], ["k"], value_float=2.0)
    function = helper.make_function("mine", "Scale", ["x"], ["y"], [constant], [helper.make_opsetid("", 17)])
    checkpoint = read_checkpoint(
        save(tmp_path / "m.onnx", floats("w", 1), floats("outer", 1), nodes=nodes, functions=[function])
    )
    assert [tensor.name for tensor in checkpoint.tensors] == [
        "w",
        "outer",
        "choose/else_branch/w",
        "choose/then_branch/w",
        "choose/then_branch/Loop_1/body/w",
        "mine:Scale/k",
    ]
    add = next(node for node in checkpoint.nodes if node.op_type == "Add")
    assert add.inputs == ("choose/else_branch/w", "outer")
    assert add.outputs == ("choose/else_branch/sum",)


def test_graphs_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    def message(number: int, content: bytes) -> bytes:
        size = len(content)
        return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content

    graph = b""
    for _ in range(40):  # deeper than protobuf itself would write
        graph = message(1, message(5, message(6, graph)))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x09" + message(7, graph))
    with pytest.raises(CheckpointError, match="nest deeper than 32"):
        read_checkpoint(path)


def test_operators_carry_what_scales_and_widths_are_told_by(tmp_path: Path) -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", K=64, N=32, bits=4, block_size=32
    )
    other = helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0], note="a", alpha=0.5, long=list(range(1000)))
    one, two = read_checkpoint(save(tmp_path / "m.onnx", nodes=[node, other])).nodes
    assert (one.op_type, one.domain, one.inputs, one.outputs) == (
        "MatMulNBits",
        "com.microsoft",
        ("x", "q", "s"),
        ("y",),
    )
    assert one.attributes == {"K": 64, "N": 32, "bits": 4, "block_size": 32}
    assert two.attributes == {"perm": (1, 0), "note": "a", "alpha": 0.5}


def test_metadata(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        producer_name="pytorch",
        producer_version="2.13",
        ir_version=9,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
    assert read_checkpoint(path).metadata == {
        "ir_version": 9,
        "producer_name": "pytorch",
        "producer_version": "2.13",
        "opset.ai.onnx": 17,
        "opset.com.microsoft": 1,
    }


def external(location: str, **place: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize("place", [{}, {"offset": 0, "length": 16}, {"offset": 16}])
def test_external_data(tmp_path: Path, place: dict[str, object]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(32))
    checkpoint = read_checkpoint(save(tmp_path / "m.onnx", external("data/w.bin", **place)))
    assert checkpoint.tensors[0].nbytes == 16
    assert [file.path for file in checkpoint.files] == ["m.onnx", "data/w.bin"]
    assert checkpoint.files[1].nbytes == 32
    assert not checkpoint.findings


@pytest.mark.parametrize(("nbytes", "code"), [(None, "QL201"), (20, "QL206")])
def test_external_data_that_is_missing_or_short_is_found(tmp_path: Path, nbytes: int | None, code: str) -> None:
    if nbytes is not None:
        (tmp_path / "w.bin").write_bytes(bytes(nbytes))
    checkpoint = read_checkpoint(save(tmp_path / "m.onnx", external("w.bin", offset=16, length=16)))
    assert checkpoint.tensors[0].nbytes == 16
    assert [(finding.code, finding.where) for finding in checkpoint.findings] == [(code, "w.bin")]


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/etc/passwd", {}),
        ("../w.bin", {}),
        ("a/../../w.bin", {}),
        ("..\\w.bin", {}),
        ("C:w.bin", {}),
        ("", {}),
        (".", {}),
        ("w.bin", {"offset": -5}),
        ("w.bin", {"length": "1e3"}),
        ("w.bin", {"length": 12}),
        ("w.bin", {"offset": "9" * 5000}),
    ],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str, place: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        read_checkpoint(save(tmp_path / "m.onnx", external(location, **place)))


def test_external_data_may_be_a_link_but_not_its_folder(tmp_path: Path) -> None:
    for folder in ("blobs", "model", "model/data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "blobs" / "w.bin").write_bytes(bytes(16))
    (tmp_path / "model" / "data" / "w.bin").symlink_to("../../blobs/w.bin")
    assert not read_checkpoint(save(tmp_path / "model" / "m.onnx", external("data/w.bin"))).findings
    (tmp_path / "model" / "linked").symlink_to("../blobs")
    with pytest.raises(CheckpointError, match=r"linked/w\.bin: is outside the folder"):
        read_checkpoint(save(tmp_path / "model" / "m.onnx", external("linked/w.bin")))


def test_external_data_of_no_elements_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    tensor = external("w.bin", length=16)
    tensor.dims[:] = [0, 4]
    with pytest.raises(CheckpointError, match="needs 0 bytes, but claims 16"):
        read_checkpoint(save(tmp_path / "m.onnx", tensor))


def test_external_data_with_a_name_too_long_is_missing(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "m.onnx", external("w" * 300)))
    assert [finding.code for finding in checkpoint.findings] == ["QL201"]


def test_a_name_stored_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="two stored tensors named 'w'"):
        read_checkpoint(save(tmp_path / "m.onnx", floats("w", 1), floats("w", 2)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\x09", b"version https://git-lfs.github.com/spec/v1\n", b"\x3a" + b"\x80" * 9 + b"\x01x", b"\x80" * 30],
)
def test_files_that_are_not_models_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.onnx: is (not )?a"):
        read_checkpoint(path)


@pytest.mark.parametrize("dims", [[-2, -2], [2] * 65, [1 << 62] * 60])
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, dims: list[int]) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(16))
    with pytest.raises(CheckpointError):
        read_checkpoint(save(tmp_path / "m.onnx", tensor))


def test_payloads_are_not_read(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", *(floats(f"w{number}", 1 << 20) for number in range(8)))
    read_checkpoint(path)
    tracemalloc.start()
    try:
        read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()


def sample() -> bytes:
    loop = helper.make_node("Loop", [], [], body=branch())
    constant = helper.make_node("Constant", [], ["k"], value=helper.make_tensor("", TensorProto.INT64, [2], [1, 300]))
    graph = helper.make_graph(
        [loop, constant],
        "g",
        [],
        [],
        [floats("a", 2, 3), helper.make_tensor("b", TensorProto.UINT4, [3], [1, 2, 3]), external("w.bin", offset=0)],
    )
    return bytes(helper.make_model(graph, producer_name="x").SerializeToString())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4), cut=st.integers()
)
def test_damaged_models_are_read_or_refused(tmp_path: Path, edits: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(sample())
    for place, byte in edits:
        content[place % len(content)] = byte
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: cut % len(content)] if cut % 2 else content)
    with suppress(CheckpointError):
        read_checkpoint(path)


def stored(graph: GraphProto | onnx.FunctionProto) -> Iterator[TensorProto]:
    """Every tensor of a model as the `onnx` package sees it."""
    if isinstance(graph, GraphProto):
        yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant":
                yield (
                    numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute)))
                    if (attribute.type != onnx.AttributeProto.TENSOR)
                    else attribute.t
                )
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from stored(inner)


@pytest.mark.parametrize("distribution", SHIPPED)
def test_models_that_packages_ship_are_read_as_onnx_reads_them(distribution: str) -> None:
    spec = importlib.util.find_spec(distribution)
    if spec is None or spec.origin is None:
        pytest.skip(f"{distribution} is not installed")
    models = sorted((Path(spec.origin).parent / SHIPPED[distribution]).rglob("*.onnx"))
    assert models
    for path in models:
        model = onnx.load(path, load_external_data=False)
        theirs = [tensor for part in (model.graph, *model.functions) for tensor in stored(part)]
        checkpoint = read_checkpoint(path)
        assert Counter((tensor.dtype, tensor.shape) for tensor in checkpoint.tensors) == Counter(
            (levels.from_dialect("onnx", tensor.data_type), tuple(tensor.dims)) for tensor in theirs
        )
        assert sum(tensor.nbytes for tensor in checkpoint.tensors) == sum(
            -(-math.prod(tensor.dims) * bits(tensor.data_type) // 8) for tensor in theirs
        )
        assert not checkpoint.findings
