"""How values are read: bounded, in any container, without numpy for those who do not ask, and stopped cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.values.examples import CHECKPOINTS, not_finite
from tests.values.models import bf16, codes, f32, gauss, layers, write

from quantlevels import CheckpointError, inspect
from quantlevels.inspection.schema import record_schema

LARGE = {f"model.layers.{layer}.mlp.up_proj.weight": bf16(gauss(1024, 1024, seed=layer)) for layer in range(6)}


def test_another_word_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match="'sample' or 'all'"):
        inspect("nowhere", values="some")  # type: ignore[arg-type]


def test_headers_alone_give_no_values(tmp_path: Path) -> None:
    report = inspect(write(tmp_path, layers(bf16)))

    assert report.values is None
    assert "values" not in report.to_record()


def test_a_sample_is_small_and_always_the_same(tmp_path: Path) -> None:
    write(tmp_path, LARGE)

    first, second = (inspect(tmp_path, values="sample").values for _ in range(2))

    assert first == second
    assert first is not None
    assert not first.complete
    assert first.bytes_read == 6 * 128 * 1024


def test_all_reads_every_byte_once(tmp_path: Path) -> None:
    write(tmp_path, LARGE)

    values = inspect(tmp_path, values="all").values

    assert values is not None
    assert values.complete
    assert values.bytes_read == (tmp_path / "model.safetensors").stat().st_size


@pytest.mark.parametrize("code", CHECKPOINTS)
@pytest.mark.parametrize("mode", ["sample", "all"])
def test_records_keep_to_their_schema(tmp_path: Path, code: str, mode: Any) -> None:
    CHECKPOINTS[code](tmp_path)

    record = json.loads(inspect(tmp_path, values=mode).to_json())

    jsonschema.validate(record, json.loads(json.dumps(record_schema("inspection"))))
    assert record["values"]["mode"] == mode


def test_shards_are_read_side_by_side(tmp_path: Path) -> None:
    places = {}
    for number, (name, stored) in enumerate(LARGE.items(), start=1):
        shard = f"model-{number:05}-of-00006.safetensors"
        write(tmp_path, {name: stored}, shard)
        places[name] = shard
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    done = []

    def started(total: int) -> Any:
        done.append(-total)
        return done.append

    report = inspect(tmp_path, values="all", reading=started)

    assert sum(done) == 0
    assert report.findings == ()
    assert report.values is not None
    assert report.values.complete


@pytest.mark.parametrize("external", [False, True])
def test_values_of_onnx_are_read(tmp_path: Path, external: bool) -> None:
    weight = gauss(256, 64)
    weight[7, 9] = np.inf
    node = helper.make_node("MatMul", ["x", "fc.weight"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [onnx.numpy_helper.from_array(weight, "fc.weight")],
    )
    model = helper.make_model(graph)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=external, location="model.onnx.data", size_threshold=0)

    report = inspect(path, values="all")

    assert report.values is not None
    assert [(damage.code, damage.first) for damage in report.values.damage] == [("QL601", (7, 9))]


def test_rows_longer_than_a_buffer_are_read(tmp_path: Path) -> None:
    wide = gauss(2, 700_000)
    wide[1, 650_000] = np.nan

    report = inspect(write(tmp_path, {"fc.weight": f32(wide)}), values="all")

    assert report.values is not None
    assert [damage.first for damage in report.values.damage] == [(1, 650_000)]


def test_a_sparse_file_of_holes_is_read(tmp_path: Path) -> None:
    write(tmp_path, LARGE)
    path = tmp_path / "model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(3 * 1024 * 1024)
        file.truncate(size)

    assert codes(tmp_path, values="all") == {"QL602"}
    assert codes(tmp_path, values="sample") == {"QL602"}


def test_numpy_is_imported_only_for_values(tmp_path: Path) -> None:
    write(tmp_path, layers(bf16))
    program = (
        "import sys, quantlevels; quantlevels.inspect(sys.argv[1]); assert 'numpy' not in sys.modules;"
        "quantlevels.inspect(sys.argv[1], values='sample'); assert 'numpy' in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_without_numpy_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, layers(bf16))
    monkeypatch.setitem(sys.modules, "numpy", None)
    for name in [name for name in sys.modules if name.startswith("quantlevels.values.")]:
        monkeypatch.delitem(sys.modules, name)

    with pytest.raises(CheckpointError, match=r"quantlevels\[values\]"):
        inspect(tmp_path, values="all")


def test_sarif_has_what_the_values_show(tmp_path: Path) -> None:
    not_finite(tmp_path)
    command = [sys.executable, "-m", "quantlevels", "verify", str(tmp_path), "--values", "all", "--format", "sarif"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert [result["ruleId"] for result in json.loads(done.stdout)["runs"][0]["results"]] == ["QL601"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_reading_without_a_traceback(tmp_path: Path) -> None:
    for number in range(1, 5):
        path = tmp_path / f"model-{number:05}-of-00004.safetensors"
        weight = {"dtype": "BF16", "shape": [1 << 20, 4096], "data_offsets": [0, 1 << 33]}
        header = json.dumps({f"layers.{number}.weight": weight})
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header.encode())
            file.truncate(file.tell() + (1 << 33))
    process = subprocess.Popen(
        [sys.executable, "-m", "quantlevels", "inspect", str(tmp_path), "--values", "all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2)
    os.kill(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_verdict_says_how_much_was_read(tmp_path: Path) -> None:
    write(tmp_path, LARGE)

    def verdict(mode: str) -> str:
        command = [sys.executable, "-m", "quantlevels", "verify", str(tmp_path), "--values", mode]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "(values: sample: 6.2% of the bytes read)" in verdict("sample")
    assert "(values: all read)" in verdict("all")
