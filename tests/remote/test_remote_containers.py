"""Every container behind a URL: the record of the same files on disk, but for the path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.checkpoint.writers import BLOCKS, GgmlTensor, ggml_file, nemo, whisper_head, write_mlc
from tests.remote.servers import Server
from tests.writers import torch_archive, torch_pickle

pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from quantlevels import Inspection, inspect  # noqa: E402  # after what it needs here
from quantlevels.cli.program import run  # noqa: E402

DATA = Path(__file__).parents[1] / "data"
CONTAINERS = DATA / "containers"
#: folder of a checkpoint → the file that stands for it
CHECKPOINTS = {
    "ctranslate2": "model.bin",
    "openvino": "openvino_model.xml",
    "npz": "weights.npz",
    "npz-compressed": "weights.npz",
    "mlc": "ndarray-cache.json",
    "distributed": ".metadata",
    "ggml": "ggml-model.bin",
    "nemo": "model.nemo",
}
REAL = {
    "ctranslate2": "ctranslate2/int8",
    "openvino": "openvino/int4_sym",
    "npz": "npz/q4_g64",
    "npz-compressed": "npz/compressed",
    "distributed": "dcp/nested",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint of each container."""
    root = tmp_path_factory.mktemp("models") / "acme"
    for name, place in REAL.items():
        shutil.copytree(CONTAINERS / place, root / name)
    arrays = {
        "model.layers.0.mlp.up_proj.q_weight": ("uint32", (64, 16), 4, "raw"),
        "model.layers.0.mlp.up_proj.q_scale": ("float16", (64, 4), 2, "raw"),
    }
    write_mlc(root / "mlc", arrays, name="ndarray-cache.json")
    (root / "mlc/mlc-chat-config.json").write_text(json.dumps({"quantization": "q4f16_1"}))
    embedding = GgmlTensor(name="embedding", type=1, shape=(5, 256), block=BLOCKS[1])
    tensors = [GgmlTensor(name=f"tensor.{type}", type=type, shape=(4, 256), block=BLOCKS[type]) for type in (2, 8)]
    torch_file = min((DATA / "pytorch").rglob("*.pt"))
    for name, content in {
        "ggml/ggml-model.bin": ggml_file(whisper_head(2007), [embedding, *tensors]),
        "nemo/model.nemo": nemo(torch_file.read_bytes()),
    }.items():
        (root / name).parent.mkdir()
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def server(models: Path) -> Iterator[Server]:
    with Server(models) as running:
        yield running


@pytest.fixture
def hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server(models.parent) as storage, Server(models.parent, storage) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


def without_path(inspection: Inspection) -> object:
    return {**inspection.to_record(), "path": ""}


@pytest.mark.parametrize("container", CHECKPOINTS)
def test_a_web_file_has_the_record_of_the_local_one(models: Path, server: Server, container: str) -> None:
    name = f"{container}/{CHECKPOINTS[container]}"
    remote = inspect(server.url(name))
    assert remote.stored is not None
    assert remote.stored.tensors
    assert without_path(remote) == without_path(inspect(models / name))


@pytest.mark.parametrize("container", CHECKPOINTS)
def test_a_repository_has_the_record_of_the_local_folder(models: Path, hub: Server, container: str) -> None:
    remote = inspect(f"hf://acme/{container}")
    assert remote.path == f"hf://acme/{container}"
    assert without_path(remote) == without_path(inspect(models / container))


@pytest.mark.parametrize("container", CHECKPOINTS)
def test_a_part_missing_on_the_server_is_reported_alike(models: Path, tmp_path: Path, container: str) -> None:
    """Files beside the one that is named, such as shards, are found missing as they are on disk."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(models / container / CHECKPOINTS[container], alone)
    with Server(alone) as running:
        remote = inspect(running.url(CHECKPOINTS[container]))
    assert without_path(remote) == without_path(inspect(alone / CHECKPOINTS[container]))


def test_a_numpy_array_on_the_web_is_named_alike() -> None:
    with Server(CONTAINERS / "npz") as running:
        remote = inspect(running.url("array.npy"))
    assert without_path(remote) == without_path(inspect(CONTAINERS / "npz/array.npy"))


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_weights_of_a_remote_archive_are_said_to_be_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    pickled, storages = torch_pickle({f"layers.{number}.w": ("HalfStorage", (256, 256)) for number in range(3)})
    (tmp_path / "model.pt").write_bytes(torch_archive(pickled, storages))
    with Server(tmp_path) as running:
        url = running.url("model.pt")
        assert run([command, url, "--values", "sample"]) == 0
        page = capsys.readouterr().out
        values = inspect(url, values="sample").values
    reason = {
        "inspect": "3 tensors not stored as a plain array, or in an archive to download first: layers.0.w",
        "verify": "(values: sample: 0.0% of the bytes read, 3 tensors not read)",
    }
    assert reason[command] in page
    assert values is not None
    assert not values.complete
    assert values.unread == ("layers.0.w", "layers.1.w", "layers.2.w")


def test_a_compressed_array_on_disk_is_said_to_be_unread(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(CONTAINERS / "npz/compressed"), "--values", "sample"]) == 0
    assert "not stored as a plain array: " in capsys.readouterr().out
