"""Buckets and the Hub as roots: the rows of the same files on disk, from one listing, with what was fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.remote.servers import COMMIT, Server
from tests.survey.stores import PLAIN_PARAMETERS, Q4_0, Q8_0, write_plain, write_tree
from tests.writers import gguf

from quantlevels.errors import SurveyError
from quantlevels.survey import SurveyRow, survey

fsspec = pytest.importorskip("fsspec")
constants = pytest.importorskip("huggingface_hub.constants")
pytest.importorskip("urllib3")

#: what an inspection says, whatever the place
SAME = ("format", "parameters", "tensor_bytes", "file_bytes", "bits_per_weight", "levels", "error_type")


@pytest.fixture
def bucket() -> Iterator[str]:
    yield "memory://bucket/models"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def upload(folder: Path, url: str) -> None:
    """Every file of a folder that is a file or leads to one, as an object."""
    store, top = fsspec.url_to_fs(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.pipe_file(f"{top}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def by_name(rows: Iterator[SurveyRow]) -> dict[str, SurveyRow]:
    return {row["name"]: row for row in rows}


def test_a_bucket_gives_the_rows_of_its_folders(tmp_path: Path, bucket: str) -> None:
    write_tree(tmp_path / "tree")
    (tmp_path / "tree/circle").unlink()
    shutil.rmtree(tmp_path / "tree/dangling")  # no store holds what leads nowhere
    upload(tmp_path / "tree", bucket)
    local, remote = by_name(survey(tmp_path / "tree")), by_name(survey(bucket))
    assert remote.keys() == local.keys()
    for name, row in remote.items():
        assert {key: row[key] for key in SAME} == {key: local[name][key] for key in SAME}  # type: ignore[literal-required]
        assert (row["root"], row["store"], row["path"]) == (bucket, "bucket", f"{bucket}/{name}")
        assert row["requests"] > 0
        assert row["error"] or row["bytes_read"] > 0
        assert row["same_as"] is None  # two objects take their space twice


def test_one_listing_finds_every_checkpoint_of_a_bucket(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        write_plain(tmp_path / f"tree/{number}")
    upload(tmp_path / "tree", bucket)
    memory = type(fsspec.filesystem("memory"))
    asked: list[str] = []

    def noted(name: str) -> None:
        before = getattr(memory, name)

        def call(self: object, path: str, **options: object) -> object:
            asked.append(f"{name} {path}")
            return before(self, path, **options)

        monkeypatch.setattr(memory, name, call)

    rows = list(survey(bucket))
    for name in ("find", "info", "isfile"):
        noted(name)
    again = list(survey(bucket, earlier=rows))  # nothing changed, so the listing is all there is to ask
    assert len(again) == len(rows) == 50
    assert [call for call in asked if call.startswith("find")] == ["find /bucket/models"]
    assert len([call for call in asked if "config.json" in call or "safetensors" in call]) == 0


def test_a_changed_object_is_read_again(tmp_path: Path, bucket: str) -> None:
    for name in ("kept", "changed"):
        write_plain(tmp_path / "tree" / name)
    upload(tmp_path / "tree", bucket)
    before = list(survey(bucket))
    store, top = fsspec.url_to_fs(bucket)
    store.pipe_file(f"{top}/changed/model.safetensors", b"")
    after = by_name(survey(bucket, earlier=before))
    assert after["changed"]["error"]
    assert after["kept"] == by_name(iter(before))["kept"]


def test_a_pipeline_in_a_bucket_is_one_checkpoint(tmp_path: Path, bucket: str) -> None:
    for part in ("unet", "vae"):
        write_plain(tmp_path / "tree/pipeline" / part)
    listed = {"_class_name": "P", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"]}
    (tmp_path / "tree/pipeline/model_index.json").write_text(json.dumps(listed))
    upload(tmp_path / "tree", bucket)
    (row,) = survey(bucket)
    assert (row["name"], row["parameters"]) == ("pipeline", 2 * PLAIN_PARAMETERS)


def test_a_root_may_be_one_model_or_one_file_of_a_bucket(tmp_path: Path, bucket: str) -> None:
    upload(write_plain(tmp_path / "plain"), f"{bucket}/plain")
    (model,) = survey(f"{bucket}/plain/")
    (file,) = survey(f"{bucket}/plain/model.safetensors")
    assert (model["name"], model["path"]) == ("plain", f"{bucket}/plain")
    assert (file["name"], file["path"]) == ("model.safetensors", f"{bucket}/plain/model.safetensors")
    assert model["parameters"] == file["parameters"] == PLAIN_PARAMETERS


def test_an_object_that_no_url_can_name_is_an_error(bucket: str) -> None:
    store, top = fsspec.url_to_fs(bucket)
    store.pipe_file(f"{top}/odd/a?b.gguf", Q4_0)
    (row,) = survey(bucket)
    assert row["error"] == "its name cannot be a part of a URL"


def test_other_executors_read_buckets_too(tmp_path: Path, bucket: str) -> None:
    write_tree(tmp_path / "tree")
    upload(tmp_path / "tree", bucket)
    with ThreadPoolExecutor(2) as threads:
        rows = by_name(survey(bucket, executor=threads, workers=2))
    assert rows.keys() == by_name(survey(bucket)).keys()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    root = tmp_path / "hub"
    write_plain(root / "acme/plain")
    write_plain(root / "acme/copy")
    (root / "acme/ggufs").mkdir()
    (root / "acme/ggufs/tiny-Q4_0.gguf").write_bytes(Q4_0)
    (root / "acme/ggufs/tiny-Q8_0.gguf").write_bytes(Q8_0)
    (root / "acme/ggufs/BF16").mkdir()
    (root / "acme/ggufs/BF16/tiny-BF16.gguf").write_bytes(gguf({"blk.0.ffn_up.weight": (30, (8, 64))}))
    (root / "acme/gated").mkdir()
    (root / "acme/gated/.gated").touch()
    with Server(root) as storage, Server(root, storage) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def test_an_organization_gives_the_rows_of_its_models(hub: Server) -> None:
    rows = by_name(survey("hf://acme"))
    names = ["ggufs/BF16", "ggufs/tiny-Q4_0.gguf", "ggufs/tiny-Q8_0.gguf", "copy", "plain", "gated"]
    assert rows.keys() == {f"acme/{name}" for name in names}
    plain = rows["acme/plain"]
    assert (plain["store"], plain["path"], plain["revision"]) == ("hub", "hf://acme/plain", COMMIT)
    assert (plain["parameters"], plain["requests"] > 0) == (PLAIN_PARAMETERS, True)
    assert rows["acme/ggufs/tiny-Q8_0.gguf"]["path"] == "hf://acme/ggufs/tiny-Q8_0.gguf"
    assert rows["acme/gated"]["error"] == "is gated: accept its terms on the Hub, then run `hf auth login`"
    # two repositories with the same blobs: their bytes are counted once
    same = {name: row["same_as"] for name, row in rows.items() if row["same_as"]}
    assert same == {"acme/plain": "hf://acme/copy"}


def test_a_repository_may_be_a_root(hub: Server) -> None:
    (row,) = survey("hf://acme/plain@main")
    assert (row["name"], row["parameters"]) == ("acme/plain", PLAIN_PARAMETERS)
    (part,) = survey("hf://acme/ggufs/BF16")
    assert (part["name"], part["path"]) == ("acme/ggufs/BF16", "hf://acme/ggufs/BF16")


def test_a_web_address_is_one_checkpoint(hub: Server) -> None:
    assert hub.storage is not None
    (row,) = survey(hub.storage.url("acme/plain/model.safetensors"))
    assert (row["store"], row["parameters"]) == ("web", PLAIN_PARAMETERS)
    assert row["requests"] > 0


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("memory://nowhere", "no files were found"),
        ("hf://acme/absent", "hf://acme/absent: does not exist, or is private and needs a token"),
        ("hf://datasets/acme/x", "not a model"),
        ("nosuch://bucket", "cannot be listed"),
    ],
)
def test_a_root_that_cannot_be_listed_ends_the_survey(hub: Server, root: str, reason: str) -> None:
    with pytest.raises(SurveyError, match=reason):
        list(survey(root))


def test_what_is_secret_in_a_url_is_in_no_row(hub: Server) -> None:
    assert hub.storage is not None
    url = hub.storage.url("acme/plain/model.safetensors").replace("http://", "http://user:hunter2@")
    (row,) = survey(f"{url}?signature=s3cret")
    assert "hunter2" not in json.dumps(row)
    assert "s3cret" not in json.dumps(row)
