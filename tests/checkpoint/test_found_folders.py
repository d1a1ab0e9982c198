"""Folders as they are found: caches, unfinished downloads, pipelines, ranks, other formats."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from quantlevels import CheckpointError, inspect
from quantlevels.checkpoint import read_checkpoint
from quantlevels.container import Checkpoint

WEIGHTS = np.ones((2, 4), np.float32)


def weights(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict.fromkeys(names, WEIGHTS), path)
    return path


def codes(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in checkpoint.findings]


def names(checkpoint: Checkpoint) -> list[str]:
    return [tensor.name for tensor in checkpoint.tensors]


def reason(path: Path) -> str:
    """Why nothing can be read in a folder."""
    report = inspect(path)
    assert report.stored is None
    (finding,) = (finding for finding in report.findings if finding.code == "QL207")
    return finding.message


# --- the cache of Hugging Face ---------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository folder with two snapshots, each with one tensor."""
    root = tmp_path / "models--acme--m"
    for commit in ("aaaa", "bbbb"):
        blob = weights(root / "blobs" / commit, f"of_{commit}")
        snapshot = root / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    return root


def test_a_repository_stands_for_its_main_branch(repository: Path) -> None:
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbbb")
    found = read_checkpoint(repository)
    assert (names(found), found.path) == (["of_bbbb"], str(repository))


def test_a_repository_of_several_snapshots_must_be_named_one(repository: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 2 snapshots, name one of them: 'snapshots/aaaa'"):
        read_checkpoint(repository)


@pytest.mark.parametrize("commit", ["../../../etc", "bbbb/../aaaa", "\0", "x" * 10_000])
def test_a_branch_names_a_snapshot_and_nothing_else(repository: Path, commit: str) -> None:
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    with pytest.raises(CheckpointError, match="holds 2 snapshots"):
        read_checkpoint(repository)


# --- nothing to read -------------------------------------------------------------------------------------------------


def test_a_link_to_a_missing_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("gone")
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    assert reason(tmp_path) == "'model.safetensors': a link to a missing file; download it again"


def test_a_dangling_link_beside_a_model_is_reported(tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors", "a")
    (tmp_path / "pytorch_model.bin").symlink_to("gone")
    assert codes(read_checkpoint(tmp_path)) == [("QL201", "pytorch_model.bin")]


@pytest.mark.parametrize("name", ["model.safetensors.incomplete", "model.gguf.part", "model.gguf.downloadInProgress"])
def test_an_unfinished_download_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(9))
    assert "has not finished" in reason(tmp_path)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("tf_model.h5", "HDF5"),
        ("flax_model.msgpack", "Flax"),
        ("saved_model.pb", "TensorFlow"),
        ("m.engine", "TensorRT"),
    ],
)
def test_a_format_that_is_not_read_is_named(tmp_path: Path, name: str, format: str) -> None:
    (tmp_path / name).write_bytes(bytes(9))
    assert format in reason(tmp_path)


def test_shards_of_mlc_are_not_taken_for_pytorch(tmp_path: Path) -> None:
    (tmp_path / "ndarray-cache.json").write_text("{}")
    (tmp_path / "params_shard_0.bin").write_bytes(bytes(64))
    with pytest.raises(CheckpointError, match="is not the list of an MLC model"):
        inspect(tmp_path)


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    assert reason(tmp_path) == "no weights or quantization config here"
    (tmp_path / "config.json").write_text("{}")
    assert reason(tmp_path) == "no weights here, only config files"
    weights(tmp_path / "original" / "model.safetensors", "a")
    assert reason(tmp_path) == "no weights here; name one of the folders in it that hold weights: 'original'"


@pytest.mark.parametrize("text", ["Entry not found", "Access to model x is restricted.", '{"error": "gated"}'])
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "model.onnx", "pytorch_model.bin"])
def test_an_error_page_saved_as_weights_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=f"is text, not weights, and begins with .{text[:9]}"):
        read_checkpoint(tmp_path)


# --- several files, one model ----------------------------------------------------------------------------------------


def test_ranks_of_a_pipeline_are_one_model(tmp_path: Path) -> None:
    for rank in range(11):
        weights(tmp_path / f"rank{rank}.safetensors", f"layers.{rank}.weight")
    found = read_checkpoint(tmp_path)
    assert names(found) == [f"layers.{rank}.weight" for rank in range(11)]
    assert (found.partial, codes(found)) == (False, [])


def test_slices_of_several_ranks_are_kept_apart(tmp_path: Path) -> None:
    for rank in range(2):
        weights(tmp_path / f"model-rank-{rank}-part-0.safetensors", "up.weight", f"only_{rank}")
    found = read_checkpoint(tmp_path)
    assert sorted(names(found)) == ["only_0", "only_1", "rank0.up.weight", "rank1.up.weight"]
    assert found.partial


def test_a_missing_rank_is_reported(tmp_path: Path) -> None:
    for rank in (0, 2):
        weights(tmp_path / f"rank{rank}.safetensors", f"layers.{rank}.weight")
    (finding,) = read_checkpoint(tmp_path).findings
    assert (finding.code, finding.message) == ("QL201", "the files of 1 rank are missing: 1")


def test_an_empty_shard_that_no_index_names_is_fine(tmp_path: Path) -> None:
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    weights(tmp_path / first, "a")
    weights(tmp_path / second)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": first}}))
    assert codes(read_checkpoint(tmp_path)) == []
    weights(tmp_path / second, "b")
    assert codes(read_checkpoint(tmp_path)) == [("QL205", second)]


def gguf(order: str, **texts: str) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack(order + "Q", len(value)) + value.encode()

    pairs = b"".join(text(key) + struct.pack(order + "I", 8) + text(value) for key, value in texts.items())
    return b"GGUF" + struct.pack(order + "IQQ", 3, 0, len(texts)) + pairs


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (gguf(">"), "its numbers are big-endian, but the first part is little-endian"),
        (gguf("<", **{"general.architecture": "qwen3"}), "its general.architecture is 'qwen3'"),
    ],
)
def test_parts_of_two_models_are_refused(tmp_path: Path, second: bytes, problem: str) -> None:
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(gguf("<", **{"general.architecture": "llama"}))
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(second)
    with pytest.raises(CheckpointError, match=problem):
        read_checkpoint(tmp_path)


def test_external_data_of_any_name_is_not_another_model(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [value], [tensor])
    onnx.save_model(
        helper.make_model(graph), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    found = read_checkpoint(tmp_path)
    assert (names(found), codes(found)) == (["w"], [])


def test_overlapping_external_ranges_of_onnx_are_reported(tmp_path: Path) -> None:
    tensors: list[TensorProto] = []
    for name, offset in {"a": 0, "b": 32, "c": 60}.items():
        tensor = TensorProto(name=name, data_type=1, dims=[8], data_location=TensorProto.EXTERNAL)
        for key, text in {"location": "w", "offset": str(offset), "length": "32"}.items():
            tensor.external_data.add(key=key, value=text)
        tensors.append(tensor)
    (tmp_path / "w").write_bytes(bytes(100))
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["y"])], "g", [], [value], tensors)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    (finding,) = read_checkpoint(tmp_path).findings
    assert (finding.code, finding.where) == ("QL303", "w")
    assert "tensor 'c'" in finding.message


# --- several models that belong together -----------------------------------------------------------------------------


def test_a_diffusers_folder_is_the_sum_of_its_components(tmp_path: Path) -> None:
    parts = {"vae": ["diffusers", "X"], "transformer": ["diffusers", "X"], "scheduler": ["diffusers", "X"]}
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "P", "safety_checker": [None, None], **parts})
    )
    (tmp_path / "scheduler").mkdir()
    weights(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", "a")
    weights(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors", "b", "c")
    report = inspect(tmp_path)
    assert [component.path for component in report.components] == [tmp_path / "vae", tmp_path / "transformer"]
    assert report.stored is not None
    assert report.stored.parameters == 24
    assert [(finding.code, finding.where) for finding in report.findings] == [("QL402", "")]


def test_weights_beside_a_pipeline_are_reported(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"vae": ["diffusers", "X"]}')
    weights(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", "a")
    weights(tmp_path / "flux.safetensors", "b")
    assert codes(read_checkpoint(tmp_path)) == [("QL402", "flux.safetensors")]


def test_a_component_without_its_weights_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"vae": ["diffusers", "X"], "unet": ["diffusers", "X"]}')
    weights(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", "a")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").symlink_to("gone")
    found = [(finding.code, finding.where) for finding in inspect(tmp_path).findings]
    assert ("QL207", "unet") in found


def test_dense_layers_of_sentence_transformers_count(tmp_path: Path) -> None:
    modules = [{"path": "", "type": "Transformer"}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "../up"}, 7]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    weights(tmp_path / "model.safetensors", "a")
    (tmp_path / "1_Pooling").mkdir()
    weights(tmp_path / "2_Dense" / "model.safetensors", "linear.weight")
    report = inspect(tmp_path)
    assert report.stored is not None
    assert report.stored.parameters == 16
    assert [component["path"] for component in report.to_record()["components"]] == [".", "2_Dense"]


def test_other_models_in_the_folder_are_reported(tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors", "a")
    weights(tmp_path / "onnx" / "model.safetensors", "a")
    (tmp_path / "mmproj-model.gguf").write_bytes(gguf("<"))
    (finding,) = read_checkpoint(tmp_path).findings
    assert (finding.code, finding.severity) == ("QL402", "info")
    assert "'mmproj-model.gguf', 'onnx'" in finding.message
