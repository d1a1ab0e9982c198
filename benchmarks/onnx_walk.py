"""Reading an ONNX model of 60 MB without its tensors' bytes, against ``onnx.load``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.measurement import Measurement, best, peak
from quantlevels.checkpoint import read_checkpoint

LAYERS = 12
WIDTH = 320
#: matrices of a layer, as multiples of the width
MATRICES = {"query": (1, 1), "key": (1, 1), "value": (1, 1), "output": (1, 1), "up": (1, 4), "down": (4, 1)}
#: what an exporter puts around the matrices of a layer: reshaping, attention, norms and activations
GLUE = 40
ROUNDS = 10
BUDGET_PERCENT = 20
BUDGET_MIB = 10


def write(path: Path) -> int:
    """A transformer such as torch exports: a matrix and a bias a projection, and a few hundred small operators.

    Returns:
        how many tensors it has.
    """
    weights: list[TensorProto] = []
    nodes: list[NodeProto] = []
    for layer in range(LAYERS):
        for name, (rows, columns) in MATRICES.items():
            module = f"encoder.layer.{layer}.{name}"
            shapes = {"weight": (rows * WIDTH, columns * WIDTH), "bias": (columns * WIDTH,)}
            for kind, shape in shapes.items():
                weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"{module}.{kind}"))
            label = f"/encoder/layer.{layer}/{name}"
            nodes.append(helper.make_node("MatMul", ["x", f"{module}.weight"], [f"{label}/MatMul_output_0"], label))
            nodes.append(helper.make_node("Add", [f"{label}/MatMul_output_0", f"{module}.bias"], [f"{label}_output_0"]))
        for number in range(GLUE):
            label = f"/encoder/layer.{layer}/attention/Transpose_{number}"
            nodes.append(helper.make_node("Transpose", ["x"], [f"{label}_output_0"], label, perm=[0, 2, 1, 3]))
    graph = helper.make_graph(nodes, "encoder", [], [], weights)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return len(weights)


def measure() -> Iterator[Measurement]:
    """As a share of what the onnx package takes, and in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        tensors = write(path)
        assert len(read_checkpoint(path).tensors) == tensors
        ours, theirs = best(
            lambda: read_checkpoint(path), lambda: onnx.load(path, load_external_data=False), rounds=ROUNDS
        )
        added = peak(lambda: read_checkpoint(path))
        megabytes = path.stat().st_size / 1_000_000
    yield Measurement(f"ONNX of {megabytes:.0f} MB / onnx.load", 100 * ours / theirs, BUDGET_PERCENT, "%")
    yield Measurement("ONNX, memory added", added, BUDGET_MIB, "MiB")
