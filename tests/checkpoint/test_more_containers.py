"""CTranslate2, OpenVINO, NumPy, MLC, older ggml files, distributed PyTorch checkpoints, NeMo: exact, or one clear line.

Files in ``tests/data/containers`` were written by the tools themselves, the others by writers after their sources.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.checkpoint.writers import (
    BLOCKS,
    OLD_BLOCKS,
    GgmlTensor,
    ggml_file,
    gpt2_head,
    llama_head,
    nemo,
    rwkv_head,
    whisper_head,
    write_mlc,
)
from tests.writers import DistributedTensors, distributed_list, safetensors

from quantlevels import CheckpointError, Inspection, inspect

DATA = Path(__file__).parents[1] / "data"
CONTAINERS = DATA / "containers"


def expected(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONTAINERS / container / "expected.json").read_text())
    return found


def levels_of(report: Inspection) -> dict[str, tuple[int | None, bool | None]]:
    """Name of a stored level → its group size and symmetry, the five by their labels."""
    assert report.stored is not None
    return {level.level.name: (level.group_size, level.symmetric) for level in report.stored.levels if level.parameters}


def check_books(report: Inspection) -> None:
    """Every byte is in one place, and nothing disagrees."""
    stored = report.stored
    assert stored is not None
    accounted = sum(level.nbytes for level in stored.levels) + stored.buffers.nbytes + stored.unexplained.nbytes
    assert accounted == stored.tensor_bytes
    assert not report.findings


# CTranslate2

CTRANSLATE2_LEVELS = {
    "float32": {"None"},
    "int8": {"Int8", "None"},
    "int8_float32": {"Int8", "None"},
    "int8_float16": {"Int8", "Float16"},
    "int8_bfloat16": {"Int8", "BFloat16"},
    "int16": {"Int16", "None"},
    "float16": {"Float16"},
    "bfloat16": {"BFloat16"},
    "awq_gemm": {"Int4", "Float16"},
    "awq_gemv": {"Int4", "Float16"},
}


@pytest.mark.parametrize("quantization", CTRANSLATE2_LEVELS)
def test_ctranslate2_is_exact(quantization: str) -> None:
    wanted = expected("ctranslate2")[quantization]
    report = inspect(CONTAINERS / "ctranslate2" / quantization)
    check_books(report)
    assert report.format == "ctranslate2"
    assert report.stored is not None
    assert report.stored.parameters == wanted["parameters"]
    assert report.stored.tensor_bytes == wanted["bytes"]
    assert report.stored.tensors == wanted["variables"]
    assert levels_of(report).keys() == CTRANSLATE2_LEVELS[quantization]


@pytest.mark.parametrize("layout", ["awq_gemm", "awq_gemv"])
def test_ctranslate2_keeps_the_groups_of_awq(layout: str) -> None:
    assert levels_of(inspect(CONTAINERS / "ctranslate2" / layout))["Int4"] == (32, False)


def awq_of_ctranslate2(folder: Path, **settings: object) -> Path:
    """The model of the gemm layout, with other settings in its config."""
    shutil.copytree(CONTAINERS / "ctranslate2/awq_gemm", folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder


@pytest.mark.parametrize("layout", ["awq_gemm", "awq_gemv"])
def test_ctranslate2_declares_awq_in_its_config(layout: str) -> None:
    declared = inspect(CONTAINERS / "ctranslate2" / layout).declared
    assert declared is not None
    ((level, group_size),) = ((level.level.name, level.group_size) for level in declared.levels)
    assert (declared.method, declared.source) == ("ctranslate2", "config.json")
    assert (level, group_size) == ("Int4", 32)


def test_another_group_size_in_the_config_of_ctranslate2_is_a_finding(tmp_path: Path) -> None:
    report = inspect(awq_of_ctranslate2(tmp_path, quantization_group_size=64))
    assert [finding.code for finding in report.findings] == ["QL112"]


@pytest.mark.parametrize("settings", [{"quantization_type": 7}, {"quantization_bits": "four"}])
def test_settings_that_ctranslate2_does_not_write_are_unusable(tmp_path: Path, settings: dict[str, object]) -> None:
    report = inspect(awq_of_ctranslate2(tmp_path, **settings))
    assert [finding.code for finding in report.findings] == ["QL305"]
    assert "Int4" in levels_of(report)


def test_settings_of_awq_over_plain_variables_are_stale(tmp_path: Path) -> None:
    folder = awq_of_ctranslate2(tmp_path)
    shutil.copy(CONTAINERS / "ctranslate2/float16/model.bin", folder)
    assert "QL103" in {finding.code for finding in inspect(folder).findings}


# OpenVINO

OPENVINO_LEVELS = {
    "fp32": {"None": (None, None)},
    "fp16": {"Float16": (None, None)},
    "int8_sym": {"Int8": (None, True)},
    "int8_asym": {"UInt8": (None, False)},
    "int4_sym": {"Int4": (16, True)},
    "int4_asym": {"UInt4": (16, False)},
    "int4_asym_rows": {"UInt4": (None, False)},
    "int4_mixed": {"UInt8": (None, False), "Int4": (16, True)},
    "int3_sym": {"UInt3": (16, True)},
    "int2_sym": {"UInt2": (16, True)},
    "nf4": {"NF4": (16, True)},
    "cb4": {"CB_4": (16, True)},
    "fp4": {"Float4E2M1": (16, True)},
    "mxfp4": {"MXFP4": (32, True)},
    "nvfp4": {"NVFP4": (16, True)},
    "fp8_e4m3": {"Float8E4M3FN": (16, True)},
    "mxfp8_e4m3": {"MXFP8_E4M3": (32, True)},
}


@pytest.mark.parametrize("compression", OPENVINO_LEVELS)
def test_openvino_is_exact(compression: str) -> None:
    folder = CONTAINERS / "openvino" / compression
    report = inspect(folder)
    check_books(report)
    assert report.format == "openvino"
    assert report.stored is not None
    assert report.stored.parameters == expected("openvino")["parameters"]
    assert report.stored.tensor_bytes == (folder / "openvino_model.bin").stat().st_size
    assert levels_of(report).items() >= OPENVINO_LEVELS[compression].items()


def test_openvino_without_its_bytes_is_a_finding(tmp_path: Path) -> None:
    shutil.copy(CONTAINERS / "openvino/int4_sym/openvino_model.xml", tmp_path)
    assert [finding.code for finding in inspect(tmp_path / "openvino_model.xml").findings] == ["QL201"]


def test_constants_of_one_name_are_counted_apart(tmp_path: Path) -> None:
    folder = CONTAINERS / "openvino/fp32"
    xml = (folder / "openvino_model.xml").read_text()
    first, second, *_ = re.findall(r'name="([^"]+)" type="Const"', xml)
    (tmp_path / "openvino_model.xml").write_text(xml.replace(f'name="{second}"', f'name="{first}"'))
    shutil.copy(folder / "openvino_model.bin", tmp_path)
    report = inspect(tmp_path)
    check_books(report)
    assert report.stored == inspect(folder).stored


def test_openvino_constants_of_other_types_may_share_bytes(tmp_path: Path) -> None:
    """OpenVINO stores equal bytes once, whatever they mean: here a shape of two before a matrix of weights."""
    folder = CONTAINERS / "openvino/fp32"
    xml = (folder / "openvino_model.xml").read_text()
    matrix = next(re.finditer(r'<layer id="(\d+)" name="[^"]+" type="Const"[^>]*>\s*<data [^>]*"64, 64"[^>]*>', xml))
    shape = matrix[0].replace(f'id="{matrix[1]}"', 'id="9999"').replace('"64, 64"', '"2048"')
    shape = re.sub(r'name="[^"]+"', 'name="shape"', shape).replace('"f32"', '"i64"')
    (tmp_path / "openvino_model.xml").write_text(xml.replace(matrix[0], f"{shape}</layer>{matrix[0]}"))
    shutil.copy(folder / "openvino_model.bin", tmp_path)
    report = inspect(tmp_path)
    check_books(report)
    assert report.stored == inspect(folder).stored


def test_rotary_frequencies_of_openvino_are_a_buffer(tmp_path: Path) -> None:
    folder = CONTAINERS / "openvino/fp32"
    xml = (folder / "openvino_model.xml").read_text()
    name = re.search(r'name="([^"]+)" type="Const"[^>]*>\s*<data [^>]*"1, 64"', xml)
    assert name
    rotary = xml.replace(f'name="{name[1]}"', 'name="__module.model.rotary_emb/aten::to/Convert"')
    (tmp_path / "openvino_model.xml").write_text(rotary)
    shutil.copy(folder / "openvino_model.bin", tmp_path)
    before, after = inspect(folder).stored, inspect(tmp_path).stored
    assert before is not None
    assert after is not None
    assert after.parameters == before.parameters - 64
    assert after.buffers.nbytes == before.buffers.nbytes + 4 * 64


def test_an_entity_in_openvino_xml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text('<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "b">]><net name="&a;"></net>')
    with pytest.raises(CheckpointError, match="declares a document type"):
        inspect(path)


# NumPy

NPZ_LEVELS = {
    "float32": {"None": (None, None)},
    "float16": {"Float16": (None, None)},
    "q2_g64": {"Int2": (64, False)},
    "q4_g32": {"Int4": (32, False)},
    "q4_g64": {"Int4": (64, False)},
    "q4_g128": {"Int4": (128, False)},
    "q8_g64": {"Int8": (64, False)},
    "numpy": {"None": (None, None), "Float64": (None, None), "Float16": (None, None)},
    "compressed": {"None": (None, None), "Float64": (None, None), "Float16": (None, None)},
}


@pytest.mark.parametrize("archive", NPZ_LEVELS)
def test_numpy_archives_are_exact(archive: str) -> None:
    wanted = expected("npz")[archive]
    report = inspect(CONTAINERS / "npz" / archive)
    check_books(report)
    assert report.stored is not None
    assert report.stored.tensor_bytes == wanted["bytes"]
    assert report.stored.tensors == wanted["arrays"]
    assert levels_of(report).items() >= NPZ_LEVELS[archive].items()


def test_a_numpy_array_is_named_after_its_file() -> None:
    ((name, weight),) = inspect(CONTAINERS / "npz/array.npy").weights()
    assert (name, weight.parameters) == ("array", 12)


# distributed PyTorch checkpoints and NeMo


DISTRIBUTED = ("bfloat16", "float32", "float8", "integers", "nested", "scalar_and_empty", "sharded", "views")


@pytest.mark.parametrize("checkpoint", DISTRIBUTED)
def test_distributed_checkpoints_are_exact(checkpoint: str) -> None:
    wanted = expected("dcp")[checkpoint]
    report = inspect(CONTAINERS / "dcp" / checkpoint)
    assert report.stored is not None
    assert report.stored.tensor_bytes == wanted["bytes"]
    assert report.stored.tensors == wanted["tensors"]


def test_the_state_of_an_optimizer_is_left_out() -> None:
    report = inspect(CONTAINERS / "dcp/with_optimizer")
    assert report.stored is not None
    assert report.stored.parameters == expected("dcp")["float32"]["elements"]


def write_distributed(folder: Path, tensors: DistributedTensors, lost: int = 0) -> Path:
    (folder / ".metadata").write_bytes(distributed_list(tensors, lost))
    for part in range(max(parts for _, _, parts in tensors.values())):
        with (folder / f"__{part}_0.distcp").open("wb") as file:
            file.truncate(len(tensors) << 10)  # not more: not every file system leaves out what was never written
    return folder


def test_a_tensor_in_many_parts_is_counted_once(tmp_path: Path) -> None:
    report = inspect(write_distributed(tmp_path, {"a.weight": ("bfloat16", (64, 8), 16)}))
    check_books(report)
    assert report.stored is not None
    assert (report.stored.parameters, report.stored.tensor_bytes) == (512, 1024)


def test_forty_thousand_parts_are_read(tmp_path: Path) -> None:
    tensors = {f"layers.{number}.weight": ("bfloat16", (64, 8), 64) for number in range(640)}
    report = inspect(write_distributed(tmp_path, tensors))
    check_books(report)
    assert report.stored is not None
    assert report.stored.parameters == 640 * 512


def test_parts_that_no_file_holds_are_reported(tmp_path: Path) -> None:
    tensors = dict.fromkeys(("a.weight", "b.weight"), ("bfloat16", (64, 8), 16))
    (finding,) = inspect(write_distributed(tmp_path, tensors, lost=3)).findings
    assert finding.code == "QL202"
    assert (finding.where, finding.message) == ("b.weight", "the list has the place of 13 of its 16 parts")


def test_an_entry_that_is_not_a_tensor_is_refused(tmp_path: Path) -> None:
    content = distributed_list({"a.weight": ("bfloat16", (64, 8), 16)})
    start = content.index(b"}(") + 2  # where the first tensor is listed
    (tmp_path / ".metadata").write_bytes(content[:start] + b"X\1\0\0\0b}" + content[start:])
    with pytest.raises(CheckpointError, match="it holds 'b', which is not described as a tensor"):
        inspect(tmp_path / ".metadata")


def test_parts_that_do_not_fill_a_tensor_are_reported(tmp_path: Path) -> None:
    (finding,) = inspect(write_distributed(tmp_path, {"a.weight": ("bfloat16", (65, 8), 16)})).findings
    assert finding.code == "QL202"
    assert finding.message == "its parts hold 512 of 520 elements"


def test_parts_with_too_few_bytes_are_reported(tmp_path: Path) -> None:
    (finding,) = inspect(write_distributed(tmp_path, {"a.weight": ("bfloat16", (1 << 10, 1 << 8), 2)})).findings
    assert finding.code == "QL206"
    assert finding.message == "its parts take 2,048 bytes in the files; its shape needs 524,288"


def test_a_part_of_another_checkpoint_is_reported(tmp_path: Path) -> None:
    shutil.copytree(CONTAINERS / "dcp/sharded", tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "__1_0.distcp", tmp_path / "__7_0.distcp")
    (finding,) = (finding for finding in inspect(tmp_path).findings if finding.code == "QL205")
    assert finding.where == "__7_0.distcp"


def test_a_lost_process_of_a_distributed_checkpoint_is_reported(tmp_path: Path) -> None:
    shutil.copytree(CONTAINERS / "dcp/sharded", tmp_path, dirs_exist_ok=True)
    (tmp_path / "__1_0.distcp").unlink()
    report = inspect(tmp_path)
    (finding,) = (finding for finding in report.findings if finding.code == "QL201")
    assert finding.where == "__1_0.distcp"
    assert report.stored is not None
    assert report.stored.parameters == expected("dcp")["sharded"]["elements"]


def test_a_missing_part_of_a_distributed_checkpoint_is_reported(tmp_path: Path) -> None:
    shutil.copy(CONTAINERS / "dcp/float32/.metadata", tmp_path)
    assert "QL201" in {finding.code for finding in inspect(tmp_path).findings}


TORCH_FILE = next(path for path in sorted((DATA / "pytorch").rglob("*.pt")))


def test_nemo_is_read_like_the_file_in_it(tmp_path: Path) -> None:
    path = tmp_path / "model.nemo"
    path.write_bytes(nemo(TORCH_FILE.read_bytes()))
    alone, packed = inspect(TORCH_FILE).stored, inspect(path).stored
    assert alone is not None
    assert packed == alone


def test_a_compressed_nemo_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.nemo"
    path.write_bytes(nemo(TORCH_FILE.read_bytes(), mode="w:gz"))
    with pytest.raises(CheckpointError, match="is compressed; unpack it"):
        inspect(path)


# MLC

Arrays = Mapping[str, tuple[str, tuple[int, ...], int, str]]
NORM: Arrays = {"model.norm.weight": ("float16", (128,), 2, "raw")}


def mlc_layer(words: int, groups: int, *, exchanged: bool = False) -> Arrays:
    codes, scales = ((words, 64), (groups, 64)) if exchanged else ((64, words), (64, groups))
    return {
        "model.layers.0.mlp.up_proj.q_weight": ("uint32", codes, 4, "raw"),
        "model.layers.0.mlp.up_proj.q_scale": ("float16", scales, 2, "raw"),
        **NORM,
    }


UP = "model.layers.0.mlp.up_proj"
#: of a matrix of 64 rows and 128 columns
FLOAT8: Arrays = {
    f"{UP}.q_weight": ("float8_e4m3fn", (64, 128), 1, "raw"),
    f"{UP}.q_scale": ("float32", (1,), 4, "raw"),
    f"{UP}.q_calibration_scale": ("float32", (1,), 4, "raw"),
    **NORM,
}
WITHOUT_SCALE: Arrays = {f"{UP}.q_weight": ("float8_e5m2", (64, 128), 1, "raw"), **NORM}
BLOCKS_OF_FLOAT8: Arrays = {
    f"{UP}.weight": ("float8_e4m3fn", (256, 128), 1, "raw"),
    f"{UP}.weight_scale_inv": ("float32", (2, 1), 4, "raw"),
    **NORM,
}
FASTER_TRANSFORMER: Arrays = {
    f"{UP}.q_weight": ("int8", (128, 32), 1, "raw"),
    f"{UP}.q_scale": ("float16", (1, 64), 2, "raw"),
    **NORM,
}
AWQ: Arrays = {
    f"{UP}.qweight": ("uint32", (256, 8), 4, "raw"),
    f"{UP}.qzeros": ("uint32", (2, 8), 4, "raw"),
    f"{UP}.scales": ("float16", (2, 64), 2, "raw"),
    **NORM,
}
MLC_MODELS: dict[str, tuple[Arrays, str, tuple[int | None, bool | None], int]] = {
    "q4f16_1": (mlc_layer(16, 4), "Int4", (32, True), 64 * 128),
    "q4f16_0": (mlc_layer(16, 4, exchanged=True), "Int4", (32, True), 64 * 128),
    "q3f16_1": (mlc_layer(16, 4), "Int3", (40, True), 64 * 160),
    "q8f16_1": (mlc_layer(32, 4), "Int8", (32, True), 64 * 128),
    "e4m3_e4m3_f16": (FLOAT8, "Float8E4M3FN", (None, True), 64 * 128),
    "e5m2_e5m2_f16": (WITHOUT_SCALE, "Float8E5M2", (None, True), 64 * 128),
    "fp8_e4m3fn_bf16_block_scale": (BLOCKS_OF_FLOAT8, "Float8E4M3FN", (None, True), 256 * 128),
    "q4f16_ft": (FASTER_TRANSFORMER, "Int4", (None, True), 64 * 128),
    "q4f16_autoawq": (AWQ, "Int4", (128, False), 64 * 256),
    "q0f16": ({"w": ("float16", (64, 128), 2, "raw"), **NORM}, "Float16", (None, None), 64 * 128),
    "q0f32": ({"w": ("float32", (64, 128), 2, "f32-to-bf16"), **NORM}, "BFloat16", (None, None), 64 * 128),
}


@pytest.mark.parametrize("name", ["tensor-cache.json", "ndarray-cache.json"])
@pytest.mark.parametrize("quantization", MLC_MODELS)
def test_mlc_is_exact(tmp_path: Path, quantization: str, name: str) -> None:
    arrays, level, layout, parameters = MLC_MODELS[quantization]
    folder = write_mlc(tmp_path, arrays, name=name)
    (folder / "mlc-chat-config.json").write_text(json.dumps({"quantization": quantization, "model_type": "llama"}))
    report = inspect(folder)
    check_books(report)
    assert report.stored is not None
    assert report.stored.parameters == parameters + 128
    assert levels_of(report)[level] == layout


def test_embeddings_of_faster_transformer_keep_their_groups(tmp_path: Path) -> None:
    embedding: Arrays = {
        "model.embed_tokens.q_weight": ("uint32", (64, 16), 4, "raw"),
        "model.embed_tokens.q_scale": ("float16", (64, 4), 2, "raw"),
    }
    folder = write_mlc(tmp_path, {**FASTER_TRANSFORMER, **embedding}, name="tensor-cache.json")
    (folder / "mlc-chat-config.json").write_text('{"quantization": "q4f16_ft"}')
    report = inspect(folder)
    check_books(report)
    assert report.stored is not None
    assert {level.group_size for level in report.stored.levels if level.level.name == "Int4"} == {None, 32}


def test_bytes_that_are_not_codes_of_faster_transformer_are_found(tmp_path: Path) -> None:
    arrays = {**FASTER_TRANSFORMER, f"{UP}.q_scale": ("float16", (1, 48), 2, "raw")}
    report = inspect(write_mlc(tmp_path, arrays, name="tensor-cache.json"))
    assert "QL303" in {finding.code for finding in report.findings}


@pytest.mark.parametrize("word", ["q5f16_1", "q2f16_0", "q4f16_9", "q4f8_1", "q\u0664f16_1", "int4"])
def test_words_that_mlc_does_not_have_are_unusable(tmp_path: Path, word: str) -> None:
    folder = write_mlc(tmp_path, mlc_layer(16, 4, exchanged=True), name="tensor-cache.json")
    (folder / "mlc-chat-config.json").write_text(json.dumps({"quantization": word}))
    assert "QL305" in {finding.code for finding in inspect(folder).findings}


def test_mlc_without_its_config_is_ambiguous(tmp_path: Path) -> None:
    report = inspect(write_mlc(tmp_path, mlc_layer(16, 4), name="tensor-cache.json"))
    (finding,) = (finding for finding in report.findings if finding.code == "QL303")
    assert "INT3 in groups of 40 or INT4 in groups of 32" in finding.message


def test_a_missing_shard_of_mlc_is_reported(tmp_path: Path) -> None:
    folder = write_mlc(tmp_path, dict(NORM), name="tensor-cache.json")
    (folder / "params_shard_0.bin").unlink()
    assert "QL201" in {finding.code for finding in inspect(folder).findings}


# ggml before GGUF

BEFORE_MAY_2023 = {0: "None", 1: "Float16", 2: "Q4_0_V1", 3: "Q4_1_V1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0_V1"}
SINCE_MAY_2023 = {0: "None", 1: "Float16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 12: "Q4_K"}
#: name → the settings, whether blocks are of today, alignment of the data, and the program that is told
GGML_FILES: dict[str, tuple[bytes, bool, int, str]] = {
    "whisper": (whisper_head(2007), True, 1, "whisper.cpp"),
    "whisper of early 2023": (whisper_head(2), False, 1, "whisper.cpp"),
    "llama.cpp, ggml": (llama_head(b"lmgg", None, 2), False, 1, "llama.cpp"),
    "llama.cpp, ggmf": (llama_head(b"fmgg", 1, 2), False, 1, "llama.cpp"),
    "llama.cpp, ggjt 1": (llama_head(b"tjgg", 1, 2), False, 32, "llama.cpp"),
    "llama.cpp, ggjt 2": (llama_head(b"tjgg", 2, 2), False, 32, "llama.cpp"),
    "llama.cpp, ggjt 3": (llama_head(b"tjgg", 3, 2), True, 32, "llama.cpp"),
    "gpt-2": (gpt2_head(1), False, 1, "gpt-2"),
}


@pytest.mark.parametrize("file", GGML_FILES)
def test_older_ggml_files_are_exact(tmp_path: Path, file: str) -> None:
    head, current, alignment, _ = GGML_FILES[file]
    blocks = BLOCKS if current else OLD_BLOCKS
    names = SINCE_MAY_2023 if current else BEFORE_MAY_2023
    tensors = [
        GgmlTensor(name=f"tensor.{number}", type=number, shape=(4, 256), block=block)
        for number, block in blocks.items()
    ]
    embedding = GgmlTensor(name="embedding", type=1, shape=(5, 256), block=blocks[1])
    path = tmp_path / "model.bin"
    path.write_bytes(ggml_file(head, [embedding, *tensors], alignment))
    report = inspect(path)
    check_books(report)
    assert report.format == "ggml"
    assert report.stored is not None
    assert report.stored.tensor_bytes == sum(tensor.nbytes for tensor in (embedding, *tensors))
    assert report.stored.parameters == 5 * 256 + len(tensors) * 4 * 256
    assert levels_of(report).keys() == {names[number] for number in blocks}


@pytest.mark.parametrize("version", [100, 101])
def test_rwkv_has_numbers_of_its_own(tmp_path: Path, version: int) -> None:
    block = OLD_BLOCKS[2] if version == 100 else BLOCKS[2]
    tensors = [
        GgmlTensor(name="emb.weight", type=1, shape=(5, 256), block=(1, 2)),
        GgmlTensor(name="blocks.0.att.key.weight", type=2, shape=(4, 256), block=block),
        GgmlTensor(name="blocks.0.att.value.weight", type=7, shape=(4, 256), block=BLOCKS[6]),
    ]
    path = tmp_path / "model.bin"
    path.write_bytes(ggml_file(rwkv_head(version, 2), tensors))
    report = inspect(path)
    check_books(report)
    assert levels_of(report).keys() == {"Float16", "Q4_0_V1" if version == 100 else "Q4_0", "Q5_0"}


def test_two_ggml_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    embedding = GgmlTensor(name="embedding", type=1, shape=(5, 256), block=BLOCKS[1])
    path = tmp_path / "model.bin"
    path.write_bytes(ggml_file(whisper_head(2007), [embedding, embedding]))
    with pytest.raises(CheckpointError, match="two tensors with the same name"):
        inspect(path)


def test_an_unknown_ggml_form_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"lmgg" + bytes(range(256)) * 4)
    with pytest.raises(CheckpointError, match="is a ggml model of a form that is not known, or it is damaged"):
        inspect(path)


# all of them

FILES = {
    "ctranslate2": CONTAINERS / "ctranslate2/int8/model.bin",
    "openvino": CONTAINERS / "openvino/nvfp4/openvino_model.xml",
    "npz": CONTAINERS / "npz/q4_g64/weights.npz",
    "npz, compressed": CONTAINERS / "npz/compressed/weights.npz",
    "npy": CONTAINERS / "npz/array.npy",
    "distributed": CONTAINERS / "dcp/nested/.metadata",
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, file: str, share: float) -> None:
    content = FILES[file].read_bytes()
    path = tmp_path / FILES[file].name
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError) as caught:
        inspect(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("suffix", [".safetensors", ".gguf", ".onnx", ".pt", ".xyz", ""])
def test_another_suffix_ends_in_the_right_answer_or_one_line(tmp_path: Path, file: str, suffix: str) -> None:
    path = tmp_path / f"renamed{suffix}"
    shutil.copy(FILES[file], path)
    with contextlib.suppress(CheckpointError):
        report = inspect(path)
        assert report.stored is not None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("file", FILES)
def test_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, file: str, data: st.DataObject) -> None:
    content = bytearray(FILES[file].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / FILES[file].name
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        inspect(path)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(64), "a LiteRT (TensorFlow Lite) model"),
    "model.task": (b"anything", "a LiteRT (TensorFlow Lite) model"),
    "model.litertlm": (b"LITERTLM" + bytes(64), "a LiteRT (TensorFlow Lite) model"),
    "model.pte": (b"\x30\0\0\0ET12" + bytes(64), "an ExecuTorch program"),
    "model.mlmodel": (bytes(64), "a Core ML model"),
    "model.engine": (b"ftrt" + bytes(64), "a TensorRT engine"),
    "flax_model.msgpack": (b"\x81\xa6params" + bytes(64), "Flax weights in msgpack"),
    "saved_model.pb": (bytes(64), "a TensorFlow model"),
    "model.ncnn.param": (b"7767517\n", "an ncnn model"),
    "model.mnn": (bytes(64), "an MNN model"),
    "model.llamafile": (b"MZqFpD='\n" + bytes(64), "a llamafile"),
    "model.keras": (b"anything", "a Keras archive"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "__0_0.distcp": (b"anything", "a part of a distributed PyTorch checkpoint"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_format_that_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    content, format = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        inspect(tmp_path / name)
    assert f"is {format}, a format that quantlevels does not read; " in str(caught.value)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_in_an_unread_format_says_so(tmp_path: Path, name: str) -> None:
    content, format = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    report = inspect(tmp_path)
    assert report.stored is None
    (finding,) = (finding for finding in report.findings if finding.code == "QL207")
    assert f"this folder holds {format}, a format that quantlevels does not read" in finding.message


def test_arrays_beside_a_model_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "voice.safetensors").write_bytes(safetensors({"weight": ("BF16", (4, 4))}))
    shutil.copy(CONTAINERS / "npz/array.npy", tmp_path / "mean.npy")
    assert inspect(tmp_path).format == "safetensors"
