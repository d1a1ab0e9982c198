"""Packing turned around: for any shape, width and group size, the tensors of a packing give the weight back."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quantlevels import levels
from quantlevels.checkpoint.catalogue import SAFETENSORS
from quantlevels.container import Checkpoint, Tensor
from quantlevels.inspection.report import inspected

WORDS = st.integers(1, 40).map(lambda count: 32 * count)  # what fills whole words at any width
ROWS = st.integers(1, 300)
GROUPS = st.sampled_from([32, 64, 128])
BITS = st.sampled_from([2, 3, 4, 5, 6, 7, 8])


def weight(config: dict[str, Any], module: str = "m", **tensors: tuple[str, list[int]]) -> tuple[str, int | None, int]:
    """Level, group size and parameters of what the tensors hold; nothing may be found wrong with it."""
    found = inspected(
        Checkpoint(
            path="model",
            container=SAFETENSORS,
            tensors=[
                Tensor(
                    f"{module}.{suffix}",
                    level := levels.from_dialect("safetensors", dtype),
                    tuple(shape),
                    math.prod(shape) * level.block.bits // 8,
                )
                for suffix, (dtype, shape) in tensors.items()
            ],
            configs={"config.json": config},
        )
    )
    assert found.findings == ()
    assert found.stored is not None
    (quantized,) = [each for each in found.stored.levels if each.quantized]
    assert found.stored.parameters == quantized.parameters
    assert quantized.nbytes == found.stored.tensor_bytes
    return quantized.level.name, quantized.group_size, quantized.parameters


def method(name: str, **keys: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": name, **keys}}


def across(row: int, group: int) -> int:
    return -(-row // group)


@given(rows=WORDS, columns=WORDS, bits=BITS, group=GROUPS, indexed=st.booleans())
def test_gptq(rows: int, columns: int, bits: int, group: int, indexed: bool) -> None:
    groups = across(columns, group)
    tensors = {
        "qweight": ("I32", [columns * bits // 32, rows]),
        "qzeros": ("I32", [groups, rows * bits // 32]),
        "scales": ("F16", [groups, rows]),
    }
    tensors |= {"g_idx": ("I32", [columns])} if indexed else {}
    found = weight(method("gptq", bits=bits, group_size=group), **tensors)
    assert found == (f"Int{bits}", group, rows * columns)


@given(rows=WORDS, columns=ROWS, group=GROUPS)
def test_awq(rows: int, columns: int, group: int) -> None:
    groups = across(columns, group)
    found = weight(
        method("awq", bits=4, group_size=group),
        qweight=("I32", [columns, rows // 8]),
        qzeros=("I32", [groups, rows // 8]),
        scales=("F16", [groups, rows]),
    )
    assert found == ("Int4", group, rows * columns)


@given(rows=ROWS, columns=ROWS, bits=BITS, group=GROUPS, stack=st.sampled_from([[], [3]]))
def test_compressed_tensors_in_full_groups(rows: int, columns: int, bits: int, group: int, stack: list[int]) -> None:
    columns *= group
    args = {"num_bits": bits, "strategy": "group", "group_size": group}
    found = weight(
        method("compressed-tensors", config_groups={"g": {"targets": ["Linear"], "weights": args}}),
        weight_packed=("I32", [*stack, rows, -(-columns * bits // 32)]),
        weight_scale=("BF16", [*stack, rows, columns // group]),
        weight_shape=("I64", [2]),
    )
    assert found == (f"Int{bits}", group, math.prod(stack) * rows * columns)


@given(rows=WORDS, columns=WORDS, bits=BITS, symmetric=st.booleans())
def test_compressed_tensors_in_rows(rows: int, columns: int, bits: int, symmetric: bool) -> None:
    args = {"num_bits": bits, "strategy": "channel", "symmetric": symmetric}
    tensors = {
        "weight_packed": ("I32", [rows, columns * bits // 32]),
        "weight_scale": ("BF16", [rows, 1]),
        "weight_shape": ("I64", [2]),
    }
    tensors |= {} if symmetric else {"weight_zero_point": ("I32", [rows * bits // 32, 1])}
    config = method("compressed-tensors", config_groups={"g": {"targets": ["Linear"], "weights": args}})
    assert weight(config, **tensors) == (f"Int{bits}", None, rows * columns)


@given(rows=ROWS, columns=st.integers(1, 60), level=st.sampled_from(["MXFP4", "MXFP8_E4M3", "NVFP4", "MXFP6_E2M3"]))
def test_microscaling(rows: int, columns: int, level: str) -> None:
    group, bits = levels[level].block.weights, levels[level].bits_per_param
    columns *= group
    scale = "F8_E4M3" if level == "NVFP4" else "U8"
    codes = ("F8_E4M3", [rows, columns]) if bits == 8 else ("U8", [rows, columns * bits // 8])
    name = "weight" if bits == 8 else "weight_packed"
    preset = {"MXFP4": "MXFP4", "MXFP8_E4M3": "MXFP8", "NVFP4": "NVFP4", "MXFP6_E2M3": "MXFP6A16"}[level]
    config = method("compressed-tensors", config_groups={preset: ["Linear"]})
    found = weight(config, **{name: codes, "weight_scale": (scale, [rows, columns // group])})
    assert found == (level, group, rows * columns)


@given(
    rows=ROWS,
    columns=ROWS,
    block=st.sampled_from([(128, 128), (64, 32), (1, 128)]),
    scale=st.sampled_from(["F32", "BF16"]),
)
def test_fp8_in_blocks(rows: int, columns: int, block: tuple[int, int], scale: str) -> None:
    level, _, parameters = weight(
        method("fp8", weight_block_size=list(block)),
        weight=("F8_E4M3", [rows, columns]),
        weight_scale_inv=(scale, [-(-rows // block[0]), -(-columns // block[1])]),
    )
    assert (level, parameters) == ("Float8E4M3FN", rows * columns)


@given(
    rows=ROWS,
    columns=st.integers(1, 30),
    bits=st.sampled_from([2, 3, 4, 5, 6, 8]),
    group=GROUPS,
    stack=st.sampled_from([[], [4]]),
)
def test_mlx(rows: int, columns: int, bits: int, group: int, stack: list[int]) -> None:
    columns *= group
    groups = ("BF16", [*stack, rows, columns // group])
    found = weight(
        {"quantization": {"bits": bits, "group_size": group}},
        weight=("U32", [*stack, rows, columns * bits // 32]),
        scales=groups,
        biases=groups,
    )
    assert found == (f"Int{bits}", group, math.prod(stack) * rows * columns)


@given(halves=st.integers(1, 50_000), block=st.sampled_from([64, 128, 256]), container=st.sampled_from(["U8", "BF16"]))
def test_bitsandbytes(halves: int, block: int, container: str) -> None:
    parameters = 8 * halves  # what fills whole elements of any container
    level, group, found = weight(
        method("bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        **{
            "weight": (container, [parameters // (2 if container == "U8" else 4), 1]),
            "weight.absmax": ("F32", [-(-parameters // block)]),
            "weight.quant_map": ("F32", [16]),
            "weight.quant_state.bitsandbytes__nf4": ("U8", [80]),
        },
    )
    assert (level, found) == ("NF4", parameters)
    assert group == block or parameters <= 2 * block


@given(groups=st.integers(1, 500), bits=st.sampled_from([8, 4, 3, 2, 1]), group=GROUPS)
def test_hqq(groups: int, bits: int, group: int) -> None:
    groups *= 8  # bytes are packed down the groups
    codes = ("I32", [-(-groups // 10), group]) if bits == 3 else ("U8", [groups * bits // 8, group])
    found = weight(
        method("hqq", quant_config={"weight_quant_params": {"nbits": bits, "group_size": group}}),
        W_q=codes,
        scale=("F16", [groups, 1]),
        zero=("F16", [groups, 1]),
    )
    assert found == (f"Int{bits}", group, groups * group)


@given(rows=ROWS, columns=st.integers(1, 40), bits=st.sampled_from([2, 4]), group=GROUPS)
def test_quanto(rows: int, columns: int, bits: int, group: int) -> None:
    groups = rows * columns  # the last byte of each column is padded
    found = weight(
        method("quanto", weights=f"int{bits}"),
        **{
            "weight._data._data": ("U8", [-(-groups * bits // 8), group]),
            "weight._scale": ("BF16", [groups, 1]),
            "weight._shift": ("BF16", [groups, 1]),
        },
    )
    assert found == (f"Int{bits}", group, groups * group)


@given(rows=ROWS, columns=ROWS, bits=st.sampled_from([2, 4]))
def test_gemma(rows: int, columns: int, bits: int) -> None:
    columns *= 4
    found = weight(
        method("gemma", num_bits=bits),
        weight=("U8", [rows, columns * bits // 8]),
        weight_scale=("F32", [rows, 1]),
    )
    assert found == (f"Int{bits}", None, rows * columns)


@given(rows=ROWS, columns=ROWS)
def test_bitnet(rows: int, columns: int) -> None:
    found = weight(method("bitnet"), weight=("U8", [rows, columns]), weight_scale=("BF16", [1]))
    assert found == ("Ternary", None, 4 * rows * columns)


@given(rows=ROWS, columns=ROWS, words=st.integers(16, 128))
def test_exl3(rows: int, columns: int, words: int) -> None:
    bits = Fraction(words, 16)
    level, _, parameters = weight(
        method("exl3", bits=float(bits)),
        trellis=("I16", [columns, rows, words]),
        suh=("F16", [16 * columns]),
        svh=("F16", [16 * rows]),
    )
    assert (levels.get(level) is None, parameters) == (True, 256 * rows * columns)


@given(
    rows=ROWS,
    columns=ROWS,
    books=st.sampled_from([(1, 16), (2, 8), (1, 12), (4, 8)]),
    group=st.sampled_from([(1, 8), (2, 8), (1, 16)]),
)
def test_aqlm(rows: int, columns: int, books: tuple[int, int], group: tuple[int, int]) -> None:
    (count, bits), (out, inner) = books, group
    _, size, parameters = weight(
        method("aqlm", num_codebooks=count, nbits_per_codebook=bits, in_group_size=inner, out_group_size=out),
        codes=("I16", [rows, columns, count]),
        codebooks=("F16", [count, 2**bits, out, inner]),
        scales=("F16", [rows, 1, 1, 1]),
    )
    assert (size, parameters) == (inner, rows * columns * out * inner)


@given(rows=ROWS, columns=WORDS, tiles=st.booleans(), group=GROUPS)
def test_torchao_in_pairs_and_tiles(rows: int, columns: int, tiles: bool, group: int) -> None:
    rows, columns = 8 * rows, columns * group
    groups = columns // group
    kind = {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": group}}
    config = method("torchao", quant_type={"default": kind})
    if tiles:
        tensors = {
            "_weight_qdata": ("I32", [rows // 8, columns // 128 or 1, 32, 4 if columns >= 128 else columns // 32]),
            "_weight_scale_and_zero": ("BF16", [groups, rows, 2]),
        }
    else:
        tensors = {
            "_weight_qdata": ("I8", [rows, columns // 2]),
            "_weight_scale": ("BF16", [groups, rows]),
            "_weight_zero_point": ("BF16", [groups, rows]),
        }
    assert weight(config, **tensors) == ("Int4", group, rows * columns)


@given(tiles=st.integers(1, 40), columns=st.integers(1, 40), grouped=st.booleans(), empty=st.booleans())
def test_qqq(tiles: int, columns: int, grouped: bool, empty: bool) -> None:
    inputs, outputs = 128 * tiles, 64 * columns
    side = {"s_group": ("F16", [tiles, outputs])} if grouped else {"s_group": ("F16", [0])} if empty else {}
    group = 128 if grouped else -1
    found = weight(
        {"quant_method": "qqq", "wbits": 4, "group_size": group},
        B=("I32", [inputs // 16, 2 * outputs]),
        s_channel=("F32", [1, outputs]),
        **side,
    )
    assert found == ("Int4", 128 if grouped else None, inputs * outputs)
