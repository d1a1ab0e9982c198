"""Tensors by the names of a layout, in shapes it cannot have: a finding each, found by fuzzing."""

from __future__ import annotations

import math
from random import Random

import pytest

from quantlevels import levels
from quantlevels.checkpoint.catalogue import SAFETENSORS
from quantlevels.container import JSON, Checkpoint, Tensor
from quantlevels.inspection.report import inspected
from quantlevels.scheme import AmbiguousLayoutError, Hint, LayoutError, TensorInfo
from quantlevels.schemes.catalogue import CATALOGUE, SchemeModule

#: suffix → dtype and shape
MISFITS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "a trellis without tiles": {"trellis": ("Int16", (4, 16))},
    "EXL2 without inputs": {"q_weight": ("Int32", (4, 8)), "q_invperm": ("Int16", (0,)), "q_scale": ("Int32", (1, 1))},
    "QuIP without outputs": {"Qidxs": ("Int64", (4, 8)), "SU": ("Float16", (8,)), "SV": ("Float16", (0,))},
    "packed without groups": {"weight_packed": ("Int32", (4, 8)), "weight_scale": ("Float16", (4, 0))},
    "AWQ without columns": {"qweight": ("Int32", (8, 0)), "qzeros": ("Int32", (1, 0)), "scales": ("Float16", (1, 0))},
    "torchao without rows": {"_weight_qdata": ("Int8", (0, 8)), "_weight_scale": ("Float32", (1,))},
    "torchao, a scalar": {"_weight_qdata": ("Int8", ()), "_weight_scale": ("Float32", (1,))},
    "quanto, a scalar": {"weight._data._data": ("UInt8", ()), "weight._scale": ("Float16", (1,))},
    "quanto with rows to spare": {"weight._data._data": ("UInt8", (9, 32)), "weight._scale": ("Float16", (4, 1))},
    "words of codes with one scale": {"weight": ("Int32", (4, 8)), "weight_scale": ("Float32", ())},
    "LLM.int8, a scalar": {"weight": ("Int8", ()), "SCB": ("Float32", ())},
    "MLX, a scalar": {"weight": ("UInt32", ()), "scales": ("Float16", ()), "biases": ("Float16", ())},
    "MLX with a scalar for scales": {"weight": ("UInt32", (8,)), "scales": ("UInt8", ())},
    "FP-Quant, a scalar": {"qweight": ("UInt8", ()), "scales": ("UInt8", ())},
    "SqueezeLLM with codes of no bits": {"qweight": ("Int32", (4, 8)), "lookup_table": ("Float16", (8, 1))},
}

VECTORS = {"indices": ("Int32", (1, 4, 8)), "centroids.weight": ("Float16", (1, 8))}
#: the same under a config that gives one scale a row
MISFITS_OF_ROWS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "VPTQ with vectors of no length": {**VECTORS, "perm": ("Int32", (8,))},
    "VPTQ without columns": {**VECTORS, "perm": ("Int32", (0,))},
    "words of codes without rows": {"weight": ("Int32", (7,)), "weight_scale": ("Float16", (7,))},
    "HQQ with a scalar for scales": {"W_q": ("UInt8", (4, 8)), "scale": ("Float16", ())},
    "HQQ with a bias of no rows": {
        "W_q": ("UInt8", (4, 8)),
        "scale": ("Float16", (1, 8)),
        "bias": ("Float16", (0,)),
    },
}
#: the same under a config of 7 bits
MISFITS_OF_7_BITS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "HQQ of a width it has not": {"W_q": ("UInt8", (4, 8)), "scale": ("Float16", (1, 8))},
}
#: the same under a config of groups of 128
MISFITS_OF_GROUPS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "packed with zero points wider than words": {
        "weight_packed": ("Int32", (64, 16)),
        "weight_scale": ("Float16", (64, 1)),
        "weight_zero_point": ("Int32", (128, 1)),
    },
}
CONFIG: dict[str, JSON] = {"quant_method": "auto-round", "bits": 3, "group_size": -1}


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        *((tensors, {}) for tensors in MISFITS.values()),
        *((tensors, CONFIG) for tensors in MISFITS_OF_ROWS.values()),
        *((tensors, {**CONFIG, "bits": 7}) for tensors in MISFITS_OF_7_BITS.values()),
        *((tensors, {**CONFIG, "group_size": 128}) for tensors in MISFITS_OF_GROUPS.values()),
    ],
    ids=[*MISFITS, *MISFITS_OF_ROWS, *MISFITS_OF_7_BITS, *MISFITS_OF_GROUPS],
)
def test_shapes_that_do_not_fit_are_a_finding(
    tensors: dict[str, tuple[str, tuple[int, ...]]], config: dict[str, JSON]
) -> None:
    configs: dict[str, dict[str, JSON]] = {"config.json": {"quantization_config": config}} if config else {}
    found = [
        Tensor(f"up.{suffix}", levels[dtype], shape, math.prod(shape) * levels[dtype].block.bits // 8)
        for suffix, (dtype, shape) in tensors.items()
    ]
    report = inspected(Checkpoint(path="model", container=SAFETENSORS, tensors=found, configs=configs))
    assert [(finding.code, finding.where) for finding in report.findings] == [("QL303", "up")]
    assert report.stored
    assert sum(level.nbytes for level in report.stored.levels) == report.stored.tensor_bytes


SIZES = (0, 1, 1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 256)
TYPES = ("Int8", "UInt8", "Int32", "Int16", "Float8E4M3FN", "Float16", "None", "Float8E8M0FNU", "Bool", "Int64")
DECLARED = ("Int4", "Int8", "UInt4", "UInt1", "NVFP4", "MXFP4", "MXFP8_E4M3", "Float8E4M3FN", "Float6E3M2")


def random_tensor(random: Random) -> TensorInfo:
    dtype = levels[random.choice(TYPES)]
    shape = tuple(random.choice(SIZES) for _ in range(random.choice((0, 1, 1, 2, 2, 2, 3, 4, 5))))
    return TensorInfo(dtype, shape, math.prod(shape) * dtype.block.bits // 8)


def random_hint(random: Random) -> Hint:
    declared = random.choice((*DECLARED, None))
    return Hint(
        level=levels[declared] if declared else None,
        group_size=random.choice((None, -1, 16, 32, 64, 128)),
        symmetric=random.choice((None, True, False)),
        block=random.choice((None, (128, 128))),
    )


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_any_shape_gives_a_weight_or_a_misfit(row: SchemeModule) -> None:
    random = Random(row.name)
    for packing in dict.fromkeys(row.packings()):
        for _ in range(300):
            sides = [rule.name for rule in packing.sides if random.random() < 0.3]
            module = {name: random_tensor(random) for name in (packing.codes, *packing.needs, *sides)}
            try:
                weight = packing.weight(module, random_hint(random))
            except (LayoutError, AmbiguousLayoutError):
                continue
            if weight:
                assert weight.parameters > 0
                assert weight.code_bits > 0
                assert not weight.shape or math.prod(weight.shape) == weight.parameters
