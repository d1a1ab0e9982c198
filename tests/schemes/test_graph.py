"""ONNX models, inspected: the operators of a graph say what is quantized, how wide, and what is no weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from quantlevels.inspection.report import Inspection, inspect
from quantlevels.inspection.totals import Tally

FLOAT, FLOAT16, INT8, UINT8, INT32, INT64 = (
    getattr(TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT8", "UINT8", "INT32", "INT64")
)
MICROSOFT = "com.microsoft"


class Row(NamedTuple):
    """What is stored alike."""

    level: str
    group_size: int | None
    symmetric: bool | None
    parameters: int
    nbytes: int


def tensor(name: str, kind: int, *dims: int) -> TensorProto:
    return helper.make_tensor(name, kind, dims, np.ones(math.prod(dims)))


def node(op_type: str, inputs: str, output: str, *, domain: str = "", **attributes: object) -> NodeProto:
    """An operator; its inputs are separated by blanks, `-` stands for one left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, output.split(), domain=domain, **attributes)


def inspected(folder: Path, initializers: Sequence[TensorProto], *nodes: NodeProto) -> Inspection:
    graph = helper.make_graph(nodes, "g", [], [], initializers)
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    return inspect(folder / "model.onnx")


def rows(inspection: Inspection, *, quantized: bool = True) -> list[Row]:
    assert inspection.stored
    return [
        Row(str(stored.level), stored.group_size, stored.symmetric, stored.parameters, stored.nbytes)
        for stored in inspection.stored.levels
        if stored.quantized is quantized and stored.parameters
    ]


def test_weights_are_floats_and_nothing_else_is(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [
            tensor("conv.weight", FLOAT, 8, 4, 3, 3),
            tensor("conv.bias", FLOAT, 8),
            tensor("shape", INT64, 2),
            tensor("epsilon", FLOAT),
            tensor("scales", FLOAT, 4),
            tensor("mask", TensorProto.BOOL, 4, 4),
        ],
        node("Constant", "", "two", value=tensor("", FLOAT, 1)),
        node("Constant", "", "table", value=tensor("", FLOAT, 5)),
        node("Conv", "x conv.weight conv.bias", "y"),
        node("Resize", "y - scales", "z"),
        node("Reshape", "z shape", "r"),
    )
    assert found.stored
    assert found.stored.parameters == 288 + 8 + 5
    assert not found.stored.quantized_parameters
    assert found.stored.tensor_bytes == 4 * (288 + 8 + 1 + 4 + 1 + 5) + 16 + 16
    assert not found.findings


@pytest.mark.parametrize(
    ("kind", "level", "nbytes"),
    [
        (TensorProto.INT8, "INT8", 2048),
        (TensorProto.UINT8, "UINT8", 2048),
        (TensorProto.INT4, "INT4", 1024),
        (TensorProto.UINT4, "UINT4", 1024),
        (TensorProto.UINT2, "UINT2", 512),
        (TensorProto.FLOAT8E4M3FN, "FP8_E4M3FN", 2048),
    ],
)
@pytest.mark.parametrize("zero_point", [False, True])
def test_dequantized_weights_have_the_level_of_their_codes(
    tmp_path: Path, kind: int, level: str, nbytes: int, zero_point: bool
) -> None:
    initializers = [tensor("w", kind, 64, 32), tensor("s", FLOAT, 32)]
    if zero_point:
        initializers.append(tensor("z", kind, 32))
    found = inspected(
        tmp_path,
        initializers,
        node("DequantizeLinear", "w s z" if zero_point else "w s", "f", axis=1),
        node("MatMul", "x f", "y"),
    )
    zeros = nbytes // 64 if zero_point else 0
    assert rows(found) == [
        Row(level, group_size=None, symmetric=not zero_point, parameters=2048, nbytes=nbytes + 128 + zeros)
    ]
    assert not rows(found, quantized=False)
    assert not found.findings


@pytest.mark.parametrize(
    ("kind", "scale", "group", "level"),
    [
        (TensorProto.INT4, FLOAT16, 32, "INT4"),
        (TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E8M0, 32, "MXFP4"),
        (TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E4M3FN, 16, "NVFP4"),
        (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E8M0, 32, "MXFP8_E4M3"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_blocks_along_an_axis(tmp_path: Path, kind: int, scale: int, group: int, level: str, axis: int) -> None:
    dims = [64, 64]
    dims[axis] //= group
    found = inspected(
        tmp_path,
        [tensor("w", kind, 64, 64), tensor("s", scale, *dims)],
        node("DequantizeLinear", "w s", "f", axis=axis, block_size=group),
    )
    (row,) = rows(found)
    assert (row.level, row.group_size, row.symmetric, row.parameters) == (level, group, True, 4096)


def test_scales_that_are_quantized_themselves_are_no_weights(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [tensor("w", TensorProto.FLOAT4E2M1, 8, 64), tensor("s", TensorProto.FLOAT8E4M3FN, 8, 4), tensor("g", FLOAT)],
        node("DequantizeLinear", "s g", "scales"),
        node("DequantizeLinear", "w scales", "f", axis=1, block_size=16),
    )
    assert rows(found) == [Row("NVFP4", group_size=16, symmetric=True, parameters=512, nbytes=256 + 32)]


def test_quantized_biases_count_as_what_they_become(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [
            tensor("fc.weight_quantized", INT8, 16, 8),
            tensor("fc.weight_scale", FLOAT),
            tensor("fc.bias_quantized", INT32, 8),
            tensor("fc.bias_scale", FLOAT),
            tensor("x_scale", FLOAT),
            tensor("x_zero_point", UINT8),
        ],
        node("QuantizeLinear", "x x_scale x_zero_point", "xq"),
        node("DequantizeLinear", "xq x_scale x_zero_point", "xf"),
        node("DequantizeLinear", "fc.weight_quantized fc.weight_scale", "w"),
        node("DequantizeLinear", "fc.bias_quantized fc.bias_scale", "b"),
        node("Gemm", "xf w b", "y"),
    )
    assert found.stored
    assert found.stored.parameters == 128 + 8
    assert rows(found) == [Row("INT8", group_size=None, symmetric=True, parameters=128, nbytes=128 + 4 + 32 + 4)]


def test_operators_on_codes(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [
            tensor("w", INT8, 8, 4, 3, 3),
            tensor("ws", FLOAT, 8),
            tensor("wz", INT8, 8),
            tensor("b", INT32, 8),
            *(tensor(name, FLOAT) for name in ("xs", "ys")),
            *(tensor(name, UINT8) for name in ("xz", "yz")),
        ],
        node("QLinearConv", "x xs xz w ws wz ys yz b", "y"),
    )
    assert rows(found) == [Row("INT8", group_size=None, symmetric=False, parameters=288, nbytes=288 + 32 + 8)]
    assert rows(found, quantized=False) == [Row("FP32", group_size=None, symmetric=None, parameters=8, nbytes=32)]
    assert found.stored
    assert found.stored.buffers == Tally(tensors=4, nbytes=10)  # scales and zero points of x and y


@pytest.mark.parametrize("names", [("fc.weight_quantized", "fc.weight_scale"), ("codes", "anything")])
def test_integer_products_are_scaled_afterwards(tmp_path: Path, names: tuple[str, str]) -> None:
    codes, scale = names
    found = inspected(
        tmp_path,
        [tensor(codes, INT8, 16, 8), tensor(scale, FLOAT, 8), tensor("zero", INT8, 8)],
        node("DynamicQuantizeLinear", "x", "xq xs xz"),
        node("Mul", f"xs {scale}", "scales"),
        node("MatMulInteger", f"xq {codes} xz zero", "sums"),
        node("Cast", "sums", "floats", to=FLOAT),
        node("Mul", "floats scales", "y"),
    )
    assert rows(found) == [Row("INT8", group_size=None, symmetric=False, parameters=128, nbytes=128 + 32 + 8)]
    assert not rows(found, quantized=False)


def test_an_embedding_quantized_where_it_is_gathered(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [tensor("emb", UINT8, 32, 16), tensor("es", FLOAT), tensor("ez", UINT8), tensor("ids", INT64, 4)],
        node("Gather", "emb ids", "rows"),
        node("DequantizeLinear", "rows es ez", "y"),
    )
    assert rows(found) == [Row("UINT8", group_size=None, symmetric=False, parameters=512, nbytes=512 + 4 + 1)]


@pytest.mark.parametrize(("bits", "zero_points"), [(2, False), (4, False), (4, True), (8, True)])
def test_matmul_nbits(tmp_path: Path, bits: int, zero_points: bool) -> None:
    rows_, row, block = 16, 80, 32  # the last block of a row is padded
    blocks = -(-row // block)
    initializers = [
        tensor("q", UINT8, rows_, blocks, block * bits // 8),
        tensor("s", FLOAT16, rows_, blocks),
        tensor("order", INT32, row),
    ]
    size = rows_ * blocks * (block * bits // 8 + 2) + 4 * row
    if zero_points:
        initializers.append(tensor("z", UINT8, rows_ * -(-blocks * bits // 8)))
        size += rows_ * -(-blocks * bits // 8)
    found = inspected(
        tmp_path,
        initializers,
        node(
            "MatMulNBits",
            f"x q s {'z' if zero_points else '-'} order",
            "y",
            domain=MICROSOFT,
            K=row,
            N=rows_,
            bits=bits,
            block_size=block,
        ),
    )
    assert rows(found) == [
        Row(f"INT{bits}", group_size=block, symmetric=not zero_points, parameters=rows_ * row, nbytes=size)
    ]
    (part,) = (part for _, part in found.weights() if part.parameters)
    assert part.code_bits == Fraction(8 * rows_ * blocks * (block * bits // 8), rows_ * row)


def test_rows_much_shorter_than_their_block_are_quantized(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [tensor("q", UINT8, 16, 1, 256), tensor("s", FLOAT, 16, 1)],
        node("MatMulNBits", "x q s", "y", domain=MICROSOFT, K=96, N=16, bits=8, block_size=256),
    )
    assert found.stored
    assert found.stored.quantized_parameters == 16 * 96


@pytest.mark.parametrize(("inputs", "block"), [(128, 32), (64, 0)])
def test_matmul_nbits_of_other_sizes_is_unclear(tmp_path: Path, inputs: int, block: int) -> None:
    found = inspected(
        tmp_path,
        [tensor("q", UINT8, 16, 2, 16), tensor("s", FLOAT, 16, 2)],
        node("MatMulNBits", "x q s", "y", domain=MICROSOFT, K=inputs, N=16, bits=4, block_size=block),
    )
    assert [(finding.code, finding.where) for finding in found.findings] == [("QL303", "q")]
    assert found.stored
    assert found.stored.tensor_bytes == 512 + 128


def test_other_contrib_operators(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [
            tensor("emb", UINT8, 100, 32),
            tensor("es", FLOAT16, 100, 2),
            tensor("emb4", TensorProto.UINT4, 100, 32),
            tensor("e4s", FLOAT16, 100, 1),
            tensor("bnb", UINT8, 1024),
            tensor("absmax", FLOAT, 32),
            tensor("experts", UINT8, 4, 16, 8),
            tensor("xs", FLOAT, 4, 16),
        ],
        node("GatherBlockQuantized", "emb ids es", "a", domain=MICROSOFT, bits=4, block_size=32),
        node("GatherBlockQuantized", "emb4 ids e4s", "b", domain=MICROSOFT, block_size=32),
        node("MatMulBnb4", "x bnb absmax", "c", domain=MICROSOFT, K=64, N=32, block_size=64, quant_type=1),
        node("QMoE", "x router experts xs", "d", domain=MICROSOFT, expert_weight_bits=4),
    )
    assert sorted(rows(found), key=lambda row: (row.level, row.parameters)) == [
        Row("INT4", group_size=None, symmetric=True, parameters=1024, nbytes=512 + 256),
        Row("INT4", group_size=32, symmetric=True, parameters=6400, nbytes=3200 + 400),
        Row("NF4", group_size=64, symmetric=True, parameters=2048, nbytes=1024 + 128),
        Row("UINT4", group_size=32, symmetric=True, parameters=3200, nbytes=1600 + 200),
    ]


def test_codes_read_by_unknown_operators_are_unclear(tmp_path: Path) -> None:
    found = inspected(tmp_path, [tensor("w", UINT8, 16, 16)], node("Magic", "x w", "y", domain="acme"))
    assert [(finding.code, finding.where) for finding in found.findings] == [("QL303", "w")]
    assert "acme.Magic" in found.findings[0].message


def test_simulated_quantization_is_none(tmp_path: Path) -> None:
    found = inspected(
        tmp_path,
        [tensor("w", FLOAT, 16, 16), tensor("s", FLOAT, 16), tensor("z", INT8, 16)],
        node("QuantizeLinear", "w s z", "q"),
        node("DequantizeLinear", "q s z", "f"),
    )
    assert not rows(found)
    assert rows(found, quantized=False) == [Row("FP32", group_size=None, symmetric=None, parameters=256, nbytes=1024)]
    assert found.stored
    assert found.stored.buffers == Tally(tensors=2, nbytes=64 + 16)


@pytest.mark.parametrize(
    ("file", "content", "level"),
    [
        ("ort_config.json", '{"quantization": {"is_static": false, "weights_dtype": "QInt8"}}', "INT8"),
        ("quantize_config.json", '{"per_model_config": {"model": {"op_types": [], "weight_type": "QUInt8"}}}', "UINT8"),
    ],
)
def test_configs_of_exporters(tmp_path: Path, file: str, content: str, level: str) -> None:
    (tmp_path / file).write_text(content)
    found = inspected(tmp_path, [tensor("w", FLOAT, 16, 16)])
    assert found.declared
    assert (found.declared.method, [str(row.level) for row in found.declared.levels]) == ("onnxruntime", [level])
    assert [finding.code for finding in found.findings] == ["QL103"]
