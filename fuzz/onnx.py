"""ONNX models."""

from __future__ import annotations

from tests.writers import onnx_field, onnx_model, onnx_tensor

from fuzz.invariants import check_file


def _node(domain: str, op: str, *inputs: str, **numbers: int) -> bytes:
    ends = b"".join(onnx_field(1, name) for name in inputs) + onnx_field(2, "y")
    attributes = b"".join(
        onnx_field(5, onnx_field(1, name) + onnx_field(20, 2) + onnx_field(3, n)) for name, n in numbers.items()
    )
    return onnx_field(1, ends + onnx_field(4, op) + attributes + onnx_field(7, domain))


_OUTSIDE = onnx_field(13, onnx_field(1, "location") + onnx_field(2, "../secret")) + onnx_field(14, 1)

SEEDS = (
    onnx_model(),
    onnx_model(onnx_tensor("w", 1, (2, 3), 24), onnx_tensor("h", 10, (4,), 8), onnx_tensor("i", 22, (3,), 2)),
    onnx_model(
        _node("com.microsoft", "MatMulNBits", "x", "B", "s", K=32, N=4, bits=4, block_size=32),
        onnx_tensor("B", 2, (4, 1, 16), 64),
        onnx_tensor("s", 1, (4,), 16),
    ),
    onnx_model(_node("", "DequantizeLinear", "q", "qs"), onnx_tensor("q", 3, (4, 4), 16), onnx_tensor("qs", 1, (), 4)),
    onnx_model(onnx_field(5, onnx_field(1, 4) + onnx_field(2, 1) + onnx_field(8, "out") + _OUTSIDE)),
)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.onnx", data)
