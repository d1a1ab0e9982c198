"""Folders, indexes and config files: which files a path means, and what is wrong with them."""

from __future__ import annotations

import gc
import json
import os
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from quantlevels import CheckpointError, levels
from quantlevels.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INDEX = "model.safetensors.index.json"
FIRST = "model-00001-of-00002.safetensors"
SECOND = "model-00002-of-00002.safetensors"


def weights(path: Path, names: Iterable[str] = ("a",)) -> Path:
    """A safetensors file of one byte a tensor."""
    header = {
        name: {"dtype": "U8", "shape": [1], "data_offsets": [place, place + 1]} for place, name in enumerate(names)
    }
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(len(header)))
    return path


def index(folder: Path, places: object, **metadata: object) -> Path:
    path = folder / INDEX
    path.write_text(json.dumps({"metadata": metadata, "weight_map": places}))
    return path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    weights(tmp_path / FIRST, ["a", "b"])
    weights(tmp_path / SECOND, ["c"])
    index(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND}, total_size=3)
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    return tmp_path


def names(path: Path) -> list[str]:
    return [tensor.name for tensor in read_checkpoint(path).tensors]


def codes(path: Path) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in read_checkpoint(path).findings]


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_index_is_read_with_all_its_shards(sharded: Path) -> None:
    for path in (sharded, sharded / INDEX):
        found = read_checkpoint(path)
        assert found.path == str(path)
        assert found.format == "safetensors"
        assert [tensor.name for tensor in found.tensors] == ["a", "b", "c"]
        assert [entry.path for entry in found.files] == [FIRST, SECOND]
        assert found.configs == {"config.json": {"dtype": "bfloat16"}}
        assert not found.findings


def test_a_shard_given_by_name_is_read_alone(sharded: Path) -> None:
    found = read_checkpoint(sharded / SECOND)
    assert [tensor.name for tensor in found.tensors] == ["c"]
    assert found.configs
    assert not found.findings


def test_shards_without_an_index_are_one_model(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    assert names(sharded) == ["a", "b", "c"]
    (sharded / FIRST).unlink()
    assert names(sharded) == ["c"]
    assert codes(sharded) == [("QL201", FIRST)]


def test_shards_may_be_links_out_of_the_folder(sharded: Path) -> None:
    blobs = sharded / "blobs"
    blobs.mkdir()
    (sharded / FIRST).rename(blobs / "0123abcd")
    (sharded / FIRST).symlink_to(blobs / "0123abcd")
    assert names(sharded) == ["a", "b", "c"]
    (blobs / "0123abcd").unlink()
    assert codes(sharded) == [("QL201", FIRST)]


def test_a_blob_without_a_suffix_is_told_by_its_bytes(tmp_path: Path) -> None:
    assert names(weights(tmp_path / "0123abcd")) == ["a"]


@pytest.mark.parametrize("name", ["ggml-model.bin", "model.safetensors", "0123abcd"])
def test_a_gguf_is_told_by_its_bytes_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    assert read_checkpoint(tmp_path / name).format == "gguf"


def test_other_shards_are_read_beside_missing_and_truncated_ones(sharded: Path) -> None:
    (sharded / SECOND).unlink()
    assert names(sharded) == ["a", "b"]
    assert codes(sharded) == [("QL201", SECOND)]
    (sharded / FIRST).write_bytes((sharded / FIRST).read_bytes()[:-1])
    assert codes(sharded) == [("QL206", FIRST), ("QL201", SECOND)]
    assert "truncated" in refusal(sharded / FIRST)


def test_a_malformed_shard_is_an_error(sharded: Path) -> None:
    (sharded / SECOND).write_bytes(struct.pack("<Q", 2) + b"[]")
    assert SECOND in refusal(sharded)


def test_tensors_in_another_shard_than_indexed_are_reported(sharded: Path) -> None:
    index(sharded, {"a": FIRST, "b": SECOND, "c": SECOND, "d": SECOND})
    (finding,) = read_checkpoint(sharded).findings
    assert (finding.code, finding.where) == ("QL202", SECOND)
    assert finding.message == "the index lists 2 tensors that this file does not hold: 'b', 'd'"


def test_a_tensor_in_two_shards_counts_in_the_indexed_one(sharded: Path) -> None:
    weights(sharded / SECOND, ["b", "c"])
    assert codes(sharded) == [("QL203", "b")]
    assert names(sharded) == ["a", "b", "c"]


@pytest.mark.parametrize("claim", [2, -1, 10**30, 3.5, "3", None, [3]])
def test_a_wrong_total_size_is_a_finding_and_nothing_more(sharded: Path, claim: object) -> None:
    index(sharded, {"a": FIRST, "b": FIRST, "c": SECOND}, total_size=claim)
    assert codes(sharded) == ([] if claim is None else [("QL204", INDEX)])


def test_weights_missing_from_the_index_are_reported(sharded: Path) -> None:
    weights(sharded / "consolidated.safetensors")
    (sharded / "training_args.bin").write_bytes(b"\x80\x02")
    assert codes(sharded) == [("QL205", "consolidated.safetensors")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "~model.safetensors",
        "http://host/model.safetensors",
        "model.safetensors\0",
        INDEX,
        "config.json",
        "passwd",
        1,
        None,
        ["model.safetensors"],
    ],
)
def test_an_index_names_plain_files_in_its_folder(tmp_path: Path, name: object) -> None:
    index(tmp_path, {"a": name})
    assert "weight_map" in refusal(tmp_path)


def test_a_shard_with_a_name_too_long_is_missing(tmp_path: Path) -> None:
    index(tmp_path, {"a": "x" * 300 + ".safetensors"})
    assert [code for code, _ in codes(tmp_path)] == ["QL201"]


def spelled(separators: tuple[str, str] | None = None, indent: int | None = None, **others: object) -> bytes:
    """An index with a map of "a" to the first, "b" to the second shard and so on, turn by turn, in some spelling."""
    places = dict(zip("abcdefg", [FIRST, SECOND] * 4, strict=False))
    return json.dumps({**others, "weight_map": places}, separators=separators, indent=indent).encode()


SPELLINGS = {
    "json.dumps": spelled(),
    "indented": spelled(indent=2, metadata={"format": "pt"}),
    "compact": spelled((",", ":")),
    "spaces before colons": spelled((" ,", " : ")),
    "byte order mark": b"\xef\xbb\xbf" + spelled(),
    "space at the end": spelled() + b" \n",
    "map before others": spelled()[:-1] + b', "metadata": {"weight_map": {"x": "y"}}}',
    "map within others": spelled(metadata={"weight_map": {"x": "y", "z": "y"}}),
    "map within a text": spelled(metadata={"note": '"weight_map": {"x": "y"}'}),
    "escaped name": spelled().replace(b'"a"', rb'"\u0061"'),
    "other space": spelled().replace(b'", "c"', b'",\n"c"'),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_index_is_read_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    weights(tmp_path / FIRST, "aceg")
    weights(tmp_path / SECOND, "fdb")
    (tmp_path / INDEX).write_bytes(SPELLINGS[spelling])
    assert names(tmp_path) == list("acegfdb")
    assert not codes(tmp_path)
    weights(tmp_path / SECOND, "bd")
    (finding,) = read_checkpoint(tmp_path).findings
    assert (finding.where, finding.message) == (SECOND, "the index lists 1 tensor that this file does not hold: 'f'")


def test_a_map_within_an_object_is_not_the_weight_map(tmp_path: Path) -> None:
    weights(tmp_path / FIRST, "ab")
    inner = {"weight_map": {"a": FIRST, "b": FIRST}}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {}, "metadata": inner}))
    assert names(tmp_path) == []
    assert [code for code, _ in codes(tmp_path)] == ["QL205"]


@pytest.mark.parametrize("name", ["a}b", "a{b", "a: b", "a, b", "ä", "a\x7f", " ", "a\u2028b"])
def test_an_index_is_read_with_odd_names(tmp_path: Path, name: str) -> None:
    weights(tmp_path / FIRST, [name, "b", "c"])
    document = json.dumps({"weight_map": dict.fromkeys([name, "b", "c"], FIRST)}, ensure_ascii=False)
    (tmp_path / INDEX).write_text(document, encoding="utf-8")
    assert names(tmp_path) == [name, "b", "c"]
    assert not codes(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"c"', '"a"', "the key 'a' is repeated"),
        ('"c"', '"c\x01"', "Invalid control character"),
        ('"c"', '"c\n"', "Invalid control character"),
        ('"c"', '"c""', "Expecting ':' delimiter"),
        ('"c":', '"c",', "Expecting ':' delimiter"),
        ('", "c"', '": "c"', "Expecting ',' delimiter"),
        ('", "c"', '", "x", "c"', "Expecting ':' delimiter"),
        ('"}', '", "}', "Unterminated string"),
        ('"}', '", ""}', "Expecting ':' delimiter"),
        ('"}', '",}', "is not valid JSON: "),  # the words differ from one Python to the next
        ('"}', '"]', "Expecting ',' delimiter"),
        ('"}', '" "}', "Expecting ',' delimiter"),
        ('"}', '"', "Expecting ',' delimiter"),
        ("{", '{"weight_map": {}, ', "the key 'weight_map' is repeated"),
    ],
)
@pytest.mark.parametrize("entries", [3, 3000])
def test_what_is_not_json_in_an_index_is_an_error(
    tmp_path: Path, old: str, new: str, reason: str, entries: int
) -> None:
    listed = ["a", "b", "c", *map(str, range(entries - 3))]
    document = json.dumps({"weight_map": dict.fromkeys(listed, FIRST)}).replace(old, new, 1)
    (tmp_path / INDEX).write_text(document)
    assert reason in refusal(tmp_path)


@pytest.mark.parametrize("places", [["a"], "a", None, 1])
def test_a_weight_map_is_an_object(tmp_path: Path, places: object) -> None:
    index(tmp_path, places)
    assert "weight_map" in refusal(tmp_path)


def test_a_shard_that_is_not_a_file_is_refused(sharded: Path) -> None:
    (sharded / SECOND).unlink()
    (sharded / SECOND).mkdir()
    assert "not a regular file" in refusal(sharded)
    (sharded / SECOND).rmdir()
    os.mkfifo(sharded / SECOND)
    assert "not a regular file" in refusal(sharded)


JSON = {
    "empty": b"",
    "not JSON": b"{'a': 1}",
    "list": b"[]",
    "repeated key": b'{"a": {"b": 1, "b": 2}}',
    "repeated by an escape": b'{"a\\\\": 1, "\\u0061\\\\": "\\""}',
    "NaN": b'{"a": NaN}',
    "infinite": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e400}',
    "text after": b"{} {}",
    "zeros after": b"{}\0",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "not UTF-8": b'{"a": "\xff"}',
    "deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    "very deep": b"[" * 100_000,
    "digits": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("raw", JSON.values(), ids=JSON)
def test_malformed_config_files_are_refused_by_name(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    assert "config.json" in refusal(path)


@pytest.mark.parametrize("raw", JSON.values(), ids=JSON)
@pytest.mark.parametrize("named", [False, True])
def test_a_malformed_config_never_hides_the_weights(tmp_path: Path, raw: bytes, named: bool) -> None:
    (tmp_path / "config.json").write_bytes(raw)
    path = weights(tmp_path / "model.safetensors")
    found = read_checkpoint(path if named else tmp_path)
    assert [tensor.name for tensor in found.tensors] == ["a"]
    assert [(finding.code, finding.where) for finding in found.findings] == [("QL305", "config.json")]


def test_a_huge_json_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as opened:
        opened.truncate(1 << 40)
    assert "more than" in refusal(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["config.json", "quantize_config.json", "anything.json"])
def test_a_config_file_alone_keeps_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"bits": 4, "deep": [[[1.5]]], "\\"\\\\": "\\\\\\""}')
    found = read_checkpoint(tmp_path / name)
    assert found.format == "config"
    assert found.configs == {name: {"bits": 4, "deep": [[[1.5]]], '"\\': '\\"'}}
    assert not found.tensors


def test_a_folder_of_config_files_stands_for_them(tmp_path: Path) -> None:
    for name in ("config.json", "hf_quant_config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    found = read_checkpoint(tmp_path)
    assert (found.format, set(found.configs)) == ("config", {"config.json", "hf_quant_config.json"})


def test_an_adapter_is_read_with_its_config(tmp_path: Path) -> None:
    weights(tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    assert read_checkpoint(tmp_path).configs == {"adapter_config.json": {"r": 8}}


def test_the_name_that_loaders_look_for_wins(tmp_path: Path) -> None:
    weights(tmp_path / "consolidated.safetensors", ["other"])
    weights(tmp_path / "model.safetensors")
    assert names(tmp_path) == ["a"]
    assert codes(tmp_path) == [("QL205", "consolidated.safetensors")]


def test_another_copy_of_the_model_is_reported(tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors")
    copies = ["consolidated.00.pth", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin"]
    for name in (*copies, "vocabulary.bin", "training_args.bin"):
        (tmp_path / name).write_bytes(b"\x80\x02")
    assert codes(tmp_path) == [("QL205", name) for name in copies]


def test_of_several_models_one_must_be_named(tmp_path: Path) -> None:
    weights(tmp_path / "one.safetensors")
    weights(tmp_path / "two-00001-of-00002.safetensors")
    weights(tmp_path / "two-00002-of-00002.safetensors")
    message = refusal(tmp_path)
    assert "'one.safetensors', 'two-00001-of-00002.safetensors'" in message
    assert "00002-of" not in message
    assert names(tmp_path / "one.safetensors") == ["a"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"\n<html lang=en>", "HTML"),
        (b"\x93NUMPY\x01\0", "NumPy"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "model.bin", "config.json", "model"])
def test_what_only_looks_like_a_checkpoint_is_named(tmp_path: Path, name: str, raw: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(raw)
    assert reason in refusal(tmp_path / name)


def test_the_weights_of_openvino_are_named(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    (tmp_path / "openvino_model.bin").write_bytes(bytes(64))
    assert "name the .xml beside it" in refusal(tmp_path / "openvino_model.bin")


def test_pointers_in_place_of_shards_are_named(sharded: Path) -> None:
    (sharded / SECOND).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in refusal(sharded)


def test_paths_with_nothing_to_read_say_why(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "absent")
    (tmp_path / "link").symlink_to("absent")
    assert "is a link to a missing file" in refusal(tmp_path / "link")
    assert "is not a file or folder" in refusal(tmp_path.__class__(os.devnull))
    (tmp_path / "notes").write_text("hello")
    assert "is not a checkpoint" in refusal(tmp_path / "notes")
    (tmp_path / "empty.safetensors").touch()
    assert "truncated" in refusal(tmp_path / "empty.safetensors")


def test_a_sparse_checkpoint_costs_no_memory_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    size = 5_000_000_000
    raw = json.dumps({"a": {"dtype": "F4", "shape": [2, size], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as opened:
        opened.write(struct.pack("<Q", len(raw)) + raw)
        opened.truncate(8 + len(raw) + size)
    tracemalloc.start()
    try:
        found = read_checkpoint(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert list(found.tensors) == [("a", levels["Float4E2M1"], (2, size), size)]
    assert peak < 1 << 20


def test_garbage_collection_is_left_as_it_was(sharded: Path) -> None:
    read_checkpoint(sharded)
    assert gc.isenabled()
    gc.disable()
    try:
        read_checkpoint(sharded)
        assert not gc.isenabled()
    finally:
        gc.enable()
