"""ONNX models."""

from __future__ import annotations

from fuzz.invariants import check_file


def _field(number: int, value: bytes | str | int) -> bytes:
    """A field of a message: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _tensor(name: str, type: int, dims: tuple[int, ...], nbytes: int) -> bytes:
    shape = b"".join(_field(1, length) for length in dims)
    return _field(5, shape + _field(2, type) + _field(8, name) + _field(9, bytes(nbytes)))


def _model(*parts: bytes) -> bytes:
    """A ModelProto with a graph of these parts. Field numbers: onnx/onnx.proto."""
    return _field(1, 10) + _field(7, _field(2, "graph") + b"".join(parts)) + _field(8, _field(2, 21))


def _node(domain: str, op: str, *inputs: str, **numbers: int) -> bytes:
    ends = b"".join(_field(1, name) for name in inputs) + _field(2, "y")
    attributes = b"".join(_field(5, _field(1, name) + _field(20, 2) + _field(3, n)) for name, n in numbers.items())
    return _field(1, ends + _field(4, op) + attributes + _field(7, domain))


_OUTSIDE = _field(13, _field(1, "location") + _field(2, "../secret")) + _field(14, 1)

SEEDS = (
    _model(),
    _model(_tensor("w", 1, (2, 3), 24), _tensor("h", 10, (4,), 8), _tensor("i", 22, (3,), 2)),
    _model(
        _node("com.microsoft", "MatMulNBits", "x", "B", "s", K=32, N=4, bits=4, block_size=32),
        _tensor("B", 2, (4, 1, 16), 64),
        _tensor("s", 1, (4,), 16),
    ),
    _model(_node("", "DequantizeLinear", "q", "qs"), _tensor("q", 3, (4, 4), 16), _tensor("qs", 1, (), 4)),
    _model(_field(5, _field(1, 4) + _field(2, 1) + _field(8, "out") + _OUTSIDE)),
)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.onnx", data)
