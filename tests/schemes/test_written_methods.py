"""Checkpoints of the methods of diffusion models, NPUs and engines: ``tests/data/methods/make.py`` wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from tests.fixtures import METHODS, write_method

from quantlevels import FP16, Inspection, inspect, levels
from quantlevels.inspection.sizing.storage import module_bytes, storage_for
from quantlevels.scheme import Matrix


def quantized(found: Inspection) -> list[list[Any]]:
    """Level, group size, symmetry, parameters and bytes of all that is quantized."""
    assert found.stored is not None
    return [
        [getattr(row.level, "name", str(row.level)), row.group_size, row.symmetric, row.parameters, row.nbytes]
        for row in found.stored.levels
        if row.quantized
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_written_checkpoint_is_read_exactly(name: str, tmp_path: Path) -> None:
    row = METHODS[name]
    found = inspect(write_method(row, tmp_path))
    assert found.stored is not None
    assert found.declared is not None
    assert found.declared.method == row["method"]
    assert [finding.code for finding in found.findings] == row["findings"]
    assert sorted(quantized(found), key=str) == sorted(row["levels"], key=str)
    assert found.stored.parameters == row["parameters"]


#: Checkpoints whose layers are stored as the method usually stores them, which is what `size` predicts.
PREDICTED: Final = (
    *("comfy_fp8", "comfy_nvfp4", "comfy_mxfp8", "comfy_int8", "comfy_convrot_w4a4"),
    *("modelslim_w8a8_dynamic", "modelslim_wfp8afp8", "modelslim_w8a8_mxfp8", "modelslim_w4a8_mxfp"),
    *("nunchaku_first_names", "w4afp8_experts", "w4afp8_linear", "minimax_m3_experts", "minimax_m3_linear"),
    *("humming_uint3", "humming_uint5_zero_points", "marlin_groups", "marlin_rows", "marlin_24_groups"),
    *("bitblas_2bit", "bitblas_4bit", "qoq_groups", "deepspeedfp_6bit", "deepspeedfp_8bit"),
    *("ktransformers_int4", "ktransformers_int8"),
    *("sdnq_int8", "sdnq_uint8", "sdnq_int7", "sdnq_uint6", "sdnq_int5", "sdnq_uint4", "sdnq_int4", "sdnq_uint3"),
    *("sdnq_int2", "sdnq_fp8", "bfl_fp8r", "bfl_nvfp4"),
)


@pytest.mark.parametrize("name", PREDICTED)
def test_a_size_is_predicted_as_it_is_write_method(name: str) -> None:
    row = METHODS[name]
    ((level, group, symmetric, _, nbytes),) = row["levels"]
    rule = storage_for(row["method"], levels[level])
    bits = levels[level].bits_per_param
    zero_bits = 0 if symmetric else bits
    found = 0
    for module, (rows, columns) in row["shapes"].items():
        matrix = Matrix(rows=rows, columns=columns, bits=bits, group_size=group, block=rule.block)
        bias = row["tensors"].get(f"{module}.bias")
        found += module_bytes(rule, matrix, FP16, zero_bits) + (2 * rows if bias else 0)
    assert found == nbytes


#: Of any shape: locks of a kernel, scales of activations and of whole tensors, of which stacked experts have one each.
SHAPELESS: Final = (
    *("workspace", "meta", "input_scale", "input_global_scale", "weight_scale_2", "weight_dual_scale"),
    *("scale_2", "scale_zero_point", "zero_point_2", "zero_point_scale"),
)
CODES: Final = ("weight", "qweight", "weight_packed", "compressed", "B", "B_24")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("autoawq_gemv_fast", "sparse_bitmask")])
def test_a_side_tensor_of_another_shape_is_refused(name: str, tmp_path: Path) -> None:
    row = METHODS[name]
    for tensor, (dtype, shape) in row["tensors"].items():
        module, _, suffix = tensor.rpartition(".")
        if module not in row["shapes"] or suffix in (*CODES, *SHAPELESS) or tensor in row["texts"]:
            continue
        longest = shape.index(max(shape)) if shape else 0
        longer = [length + 3 if axis == longest else length for axis, length in enumerate(shape or [1])]
        changed = {**row, "tensors": {**row["tensors"], tensor: [dtype, longer]}}
        found = inspect(write_method(changed, tmp_path))
        assert {"QL303", "QL304"} & {finding.code for finding in found.findings}, tensor


def test_descriptions_of_one_type_are_read_by_name(tmp_path: Path) -> None:
    row = METHODS["modelslim_w8a8_dynamic"]
    files = {"quant_model_description_w8a8_dynamic.json": row["files"]["quant_model_description.json"]}
    found = inspect(write_method({**row, "files": files}, tmp_path))
    assert found.declared is not None
    assert (found.declared.method, found.findings) == ("modelslim", ())


def test_what_is_applied_to_activations_is_a_buffer(tmp_path: Path) -> None:
    row = METHODS["modelslim_w8a8"]
    attention = "model.layers.0.self_attn"
    applied = {
        f"{attention}.k_proj.kv_cache_scale": ("F32", [64]),
        f"{attention}.k_proj.kv_cache_offset": ("F32", [64]),
        f"{attention}.fa_q.scale": ("F32", [8, 1]),
        f"{attention}.fa_q.offset": ("I8", [8, 1]),
        f"{attention}.o_proj.heads_rotation": ("F32", [8, 8]),
        "model.layers.0.mlp.down_proj.div.mul_scale": ("F32", [256]),
        "model.diffusion_model.comfy_attention.config": ("U8", [36]),
    }
    found = inspect(write_method({**row, "tensors": {**row["tensors"], **applied}}, tmp_path))
    assert found.stored is not None
    assert found.stored.parameters == row["parameters"]
    assert found.stored.buffers.tensors == len(applied)
    assert found.findings == ()


def test_second_scales_give_the_size_of_groups(tmp_path: Path) -> None:
    row = METHODS["modelslim_w4a8_dynamic"]
    (module,) = row["shapes"]
    second = {f"{module}.weight_{name}_second": ("F32", [128, 4]) for name in ("scale", "offset")}
    found = inspect(write_method({**row, "tensors": {**row["tensors"], **second}}, tmp_path))
    assert [level[:4] for level in quantized(found)] == [["Int4", 64, True, 128 * 256]]
    assert found.findings == ()
