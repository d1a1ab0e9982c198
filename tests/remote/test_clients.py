"""The real clients of the Hub and of S3 against servers on this machine: they and our reader see the same files."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.remote.servers import COMMIT, TOKEN, Server

pytest.importorskip("urllib3")
huggingface_hub = pytest.importorskip("huggingface_hub")

from huggingface_hub import HfApi, constants, snapshot_download  # noqa: E402  # after what it needs here
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: E402
from huggingface_hub.hf_api import RepoFile  # noqa: E402

from quantlevels import CheckpointError, Inspection, inspect  # noqa: E402
from quantlevels.checkpoint.remote import open_url  # noqa: E402
from quantlevels.checkpoint.remote.listing import ListedFolder  # noqa: E402
from quantlevels.survey import survey  # noqa: E402

#: seconds within which a server of S3 has to answer
START_SECONDS = 20


def without_path(inspection: Inspection) -> object:
    return {**inspection.to_record(), "path": ""}


def write_model(folder: Path, shards: int) -> None:
    """A model in several files with an index, a config and a file in a folder below."""
    (folder / "extra").mkdir(parents=True)
    (folder / "extra" / "notes.txt").write_text("x" * 2000)
    (folder / "config.json").write_text('{"torch_dtype": "float32"}')
    shard_of: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        shard_of[f"model.layers.{shard}.mlp.up_proj.weight"] = name
        weights = np.random.default_rng(shard).standard_normal((64, 64)).astype(np.float32)
        save_file({f"model.layers.{shard}.mlp.up_proj.weight": weights}, folder / name)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": shards * 64 * 64 * 4}, "weight_map": shard_of})
    )


# --- huggingface_hub -------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    root = tmp_path / "hub"
    write_model(root / "acme" / "many", 3)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server(root) as storage, Server(root, storage, large=1000, page=2) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        # it was made of the endpoint when the client was imported
        template = f"{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield running


def listed(url: str) -> dict[str, int | None]:
    folder, _ = open_url(url)
    assert isinstance(folder, ListedFolder)
    return dict(folder.files)


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", COMMIT])
def test_our_listing_is_that_of_the_real_client(hub: Server, revision: str) -> None:
    info = HfApi(hub.endpoint).model_info("acme/many", revision=revision, files_metadata=True)
    assert info.sha == COMMIT
    files = {file.rfilename: file.size for file in info.siblings or () if ".." not in file.rfilename}
    assert listed(f"hf://acme/many@{revision.replace('/', '%2F')}") == files


def test_our_listing_is_that_of_a_tree_in_pages(hub: Server) -> None:
    tree = HfApi(hub.endpoint).list_repo_tree("acme/many", recursive=True)
    assert listed("hf://acme/many") == {file.path: file.size for file in tree if isinstance(file, RepoFile)}
    assert len([seen for seen in hub.seen if "/tree/" in seen.path]) == 3


def test_a_private_repository_is_refused_to_both(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.private = True
    with pytest.raises(RepositoryNotFoundError):
        HfApi(hub.endpoint).model_info("acme/many")
    with pytest.raises(CheckpointError, match="does not exist, or is private and needs a token"):
        inspect("hf://acme/many")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert HfApi(hub.endpoint).model_info("acme/many").private
    assert inspect("hf://acme/many").stored is not None


def test_a_gated_repository_is_refused_to_both(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (hub.folder / "acme" / "many" / ".gated").touch()
    with pytest.raises(GatedRepoError):
        HfApi(hub.endpoint).model_info("acme/many")
    with pytest.raises(CheckpointError, match="is gated: accept its terms"):
        inspect("hf://acme/many")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert inspect("hf://acme/many").stored is not None


def test_a_revision_that_is_not_there_is_told_by_both(hub: Server) -> None:
    with pytest.raises(RevisionNotFoundError):
        HfApi(hub.endpoint).model_info("acme/many", revision="v9")
    with pytest.raises(CheckpointError, match="has no such revision"):
        inspect("hf://acme/many@v9")


@pytest.fixture
def snapshot(hub: Server) -> Path:
    """The repository as the real client downloads it."""
    path = Path(snapshot_download("acme/many", endpoint=hub.endpoint, cache_dir=constants.HF_HUB_CACHE))
    hub.seen.clear()
    assert hub.storage is not None
    hub.storage.seen.clear()
    return path


def test_a_download_has_the_record_of_the_repository(snapshot: Path, tmp_path: Path, hub: Server) -> None:
    local = inspect(snapshot)
    assert without_path(inspect("acme/many")) == without_path(local)
    assert hub.seen == []
    assert without_path(inspect("hf://acme/many")) == without_path(local)


def test_a_branch_is_asked_for_and_its_files_come_from_the_cache(snapshot: Path, hub: Server) -> None:
    inspect("hf://acme/many")
    assert [seen.path.partition("?")[0] for seen in hub.seen] == ["/api/models/acme/many/revision/main"]
    assert hub.storage is not None
    assert hub.storage.seen == []


def test_a_commit_in_the_cache_takes_no_request(snapshot: Path, hub: Server) -> None:
    report = inspect(f"hf://acme/many@{COMMIT}")
    assert without_path(report) == without_path(inspect(snapshot))
    assert hub.seen == []


def test_what_the_cache_lacks_of_a_commit_is_fetched(snapshot: Path, hub: Server) -> None:
    lost = "model-00002-of-00003.safetensors"
    (snapshot / lost).unlink()
    report = inspect(f"hf://acme/many@{COMMIT}")
    assert report.findings == ()
    assert [seen.path.rpartition("/")[2] for seen in hub.seen] == [lost]


def test_offline_the_cache_is_read(snapshot: Path, hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for url in ("hf://acme/many", f"hf://acme/many@{COMMIT}", "hf://acme/many/model.safetensors.index.json"):
        assert inspect(url).stored == inspect(snapshot).stored
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set, and the cache on this machine does not have it"):
        inspect("hf://acme/other")
    with pytest.raises(CheckpointError, match="does not have this file"):
        inspect("hf://acme/many")
    assert hub.seen == []


# --- fsspec ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of S3 with an empty bucket ``models``."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'quantlevels[test]'")
    server_of = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'quantlevels[test]'")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    starting = threading.Thread(target=server.start, daemon=True)
    starting.start()
    starting.join(START_SECONDS)
    assert not starting.is_alive(), f"the server of S3 did not start in {START_SECONDS} seconds"
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """The store that a user has configured by the environment, with a model in ``models/acme/many``."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    store = fsspec.filesystem("s3")
    store.mkdir("models")
    yield store
    store.rm("models", recursive=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "many", 3)
    return tmp_path / "many"


@pytest.fixture
def in_bucket(bucket: fsspec.AbstractFileSystem, model: Path) -> fsspec.AbstractFileSystem:
    for file in model.rglob("*"):
        if file.is_file():
            bucket.pipe_file(f"models/acme/many/{file.relative_to(model).as_posix()}", file.read_bytes())
    return bucket


@pytest.mark.parametrize("name", ["", "/model.safetensors.index.json", "/model-00001-of-00003.safetensors"])
def test_a_bucket_has_the_record_of_the_folder(in_bucket: object, model: Path, name: str) -> None:
    remote = inspect(f"s3://models/acme/many{name}")
    assert remote.path == f"s3://models/acme/many{name}"
    assert without_path(remote) == without_path(inspect(f"{model}{name}"))


def test_weights_in_a_bucket_are_sampled_alike(in_bucket: object, model: Path) -> None:
    remote, local = (inspect(path, values="sample") for path in ("s3://models/acme/many", str(model)))
    assert remote.values == local.values


def test_what_is_not_in_a_bucket_is_an_error(in_bucket: object) -> None:
    for url in ("s3://models/acme/none", "s3://nobody/x"):
        with pytest.raises(CheckpointError, match=r"no files were found|does not exist"):
            inspect(url)


def test_a_survey_asks_s3_for_listings_alone(
    in_bucket: fsspec.AbstractFileSystem, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows = list(survey("s3://models"))
    assert (row["name"], row["path"], row["store"]) == ("acme/many", "s3://models/acme/many", "bucket")
    (local,) = survey(model)
    assert (row["levels"], row["file_bytes"], row["findings"]) == (local["levels"], local["file_bytes"], [])
    assert row["bytes_read"] > 0
    asked: list[str] = []
    call = type(in_bucket)._call_s3  # type: ignore[attr-defined]  # s3fs brings no types

    async def noted(self: object, method: str, *arguments: object, **options: object) -> object:
        asked.append(method)
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(type(in_bucket), "_call_s3", noted)
    # nothing has changed: the ETags of the listing say so, and no object is asked for
    assert list(survey("s3://models", earlier=rows)) == rows
    assert not {"head_object", "get_object"} & set(asked)


def test_a_bucket_is_listed_anew_each_time(in_bucket: fsspec.AbstractFileSystem) -> None:
    assert inspect("s3://models/acme/many").findings == ()
    in_bucket.rm("models/acme/many/model-00002-of-00003.safetensors")
    assert [finding.code for finding in inspect("s3://models/acme/many").findings] == ["QL201"]


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(in_bucket: fsspec.AbstractFileSystem) -> None:
    name = "models/acme/many/model-00001-of-00003.safetensors"
    folder, file = open_url(f"s3://{name}")
    content = in_bucket.cat_file(name, start=0, end=1 << 20)
    with pytest.raises(CheckpointError, match="changed while it was read"), folder.open(file):
        in_bucket.pipe_file(name, content[:-1] + b"x")


def test_a_local_store_and_an_archive_have_the_record_of_the_folder(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for file in model.rglob("*"):
            written.write(file, f"acme/many/{file.relative_to(model).as_posix()}")
    local = without_path(inspect(model))
    for url, shown in {
        f"file://{model}": f"file://{model}",
        f"zip://acme/many::file://{archive}": f"zip::file://{archive}/acme/many",
        f"zip://acme/many/config.json::file://{archive}": f"zip::file://{archive}/acme/many/config.json",
    }.items():
        report = inspect(url)
        assert report.path == shown
        assert report.format == "config" or without_path(report) == local


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_store_whose_library_is_missing_says_which() -> None:
    with pytest.raises(CheckpointError, match=r"needs a library that is not installed: .*gcsfs"):
        inspect("gs://bucket/model")
