"""An ONNX model of 60 MB, read without its tensors' bytes, against ``onnx.load``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.measurement import Measurement, added_memory, medians
from quantlevels.checkpoint import read_checkpoint

LAYERS: Final = 12
WIDTH: Final = 320
#: matrices of a layer, as multiples of the width
MATRICES: Final = {"query": (1, 1), "key": (1, 1), "value": (1, 1), "output": (1, 1), "up": (1, 4), "down": (4, 1)}
#: what an exporter puts around the matrices of a layer: reshaping, attention, norms and activations
GLUE: Final = 40
ROUNDS: Final = 9
BUDGET: Final = 0.20


def write(path: Path, layers: int) -> int:
    """A transformer as torch exports it: a matrix and a bias per projection, and a few hundred small operators.

    Returns:
        how many tensors it has.
    """
    weights: list[TensorProto] = []
    nodes: list[NodeProto] = []
    for layer in range(layers):
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


def read_by_quantlevels(path: Path) -> object:
    """All tensors, without their bytes."""
    return read_checkpoint(path)


def read_by_onnx(path: Path) -> object:
    """The model by the onnx package, with its tensors' bytes, since it has no way to leave them out."""
    return onnx.load(path, load_external_data=False)


def measure() -> Iterator[Measurement]:
    """Time and memory, of both."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder, "model.onnx"), Path(folder, "small.onnx")
        tensors = write(path, LAYERS)
        write(small, 0)
        assert len(read_checkpoint(path).tensors) == tensors
        ours, theirs = medians([partial(read_by_quantlevels, path), partial(read_by_onnx, path)], ROUNDS)
        megabytes = path.stat().st_size / 1_000_000
        yield Measurement(
            what=f"ONNX of {megabytes:.0f} MB",
            value=ours,
            memory=added_memory(read_by_quantlevels, path, small),
            yardstick="onnx.load",
            yardstick_value=theirs,
            yardstick_memory=added_memory(read_by_onnx, path, small),
            budget=BUDGET,
        )
