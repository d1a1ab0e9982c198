"""Checkpoints behind URLs, against servers on this machine: the record of the same files on disk, or a clear error."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.remote.servers import TOKEN, Server

pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from quantlevels import CheckpointError, Inspection, inspect  # noqa: E402  # after what it needs here
from quantlevels.checkpoint import read_checkpoint  # noqa: E402
from quantlevels.checkpoint.remote import addresses, client, stores, web  # noqa: E402
from quantlevels.container import RemoteLimits  # noqa: E402

LIMITS = RemoteLimits(seconds=20, silence=0.5)
WEIGHTS = np.arange(64 * 8, dtype=np.float32).reshape(64, 8)


pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose header is larger than the first window, with its config."""
    path = tmp_path / "files"
    path.mkdir()
    save_file(
        {f"model.layers.{layer}.mlp.up_proj.weight": WEIGHTS[:2] for layer in range(1500)}, path / "m.safetensors"
    )
    (path / "config.json").write_text('{"torch_dtype": "float32"}')
    return path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as running:
        yield running


def without_path(inspection: Inspection) -> object:
    return {**inspection.to_record(), "path": ""}


def test_a_web_file_reads_as_it_does_from_disk(folder: Path, server: Server) -> None:
    remote = inspect(server.url("m.safetensors"))
    assert without_path(remote) == without_path(inspect(folder / "m.safetensors"))
    assert remote.path == server.url("m.safetensors")
    header = int.from_bytes((folder / "m.safetensors").read_bytes()[:8], "little")
    assert len([seen for seen in server.seen if "m.safetensors" in seen.path]) == 2
    assert server.sent < 1.02 * header + (256 << 10)


@pytest.mark.parametrize(
    "fault",
    [
        *("busy", "limited", "reset", "late", "untagged", "weak", "no-conditions"),
        *("whole", "short", "away", "other-name", "relative"),
    ],
)
def test_what_a_server_may_do_changes_nothing(folder: Path, server: Server, fault: str) -> None:
    remote = inspect(server.url("m.safetensors", fault), limits=LIMITS)
    assert without_path(remote) == without_path(inspect(folder / "m.safetensors"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("page", "is a web page, not a file"),
        ("long", "the server sends bytes 0 to"),
        ("elsewhere", "the server sends bytes 1 to"),
        ("packed", "the server compresses ranges; download the file first"),
        ("more", "the server sends more than the 131,072 bytes that it promised"),
        ("from-zero", "the server sends bytes 0 to"),
        ("other-bytes", "malformed header"),
        ("page-in-range", "is an HTML page, not a checkpoint"),
        ("too-large", "bytes after the last tensor belong to no tensor"),
        ("unsaid", "does not say which range it sends"),
        ("parts", "does not say which range it sends"),
        ("unknown", "does not say which range it sends"),
        ("changed", "changed while it was read"),
        ("grown", "changed while it was read"),
        ("replaced", "changed while it was read"),
        ("forbidden", "access is forbidden"),
        ("login", r"the server wants a login \(401\)"),
        ("no-range", "the server refuses the range"),
        ("endless", "the server has no range requests; download the file first"),
        ("large", "the server has no range requests; download the file first"),
        ("cut", "cannot be read: the connection"),
        ("heavy", "the head of its answer is too long"),
        ("to-nowhere", "redirects to something that is not a URL"),
        ("loop", "redirects more than 5 times"),
        ("to-file", "redirects to file:, which is not followed"),
        ("credentials", "redirects to a URL with credentials"),
        ("drip", "took longer than"),
        ("silent", "stopped sending"),
    ],
)
def test_what_a_server_must_not_do_is_an_error(server: Server, fault: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        inspect(server.url("m.safetensors", fault), limits=LIMITS)
    assert caught.value.path == server.url("m.safetensors", fault)


def test_a_file_that_is_not_there_is_an_error(server: Server) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        inspect(server.url("absent.safetensors"))


def test_each_limit_is_named_when_it_is_reached(server: Server) -> None:
    for limits, reason in (
        (RemoteLimits(requests=1), "needs more than 1 requests"),
        (RemoteLimits(nbytes=1 << 17), "needs more than 131,072 bytes"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            inspect(server.url("m.safetensors"), limits=limits)


def test_weights_are_read_by_ranges_too(folder: Path, server: Server) -> None:
    checkpoint = read_checkpoint(server.url("m.safetensors"))
    place = checkpoint.places[7]
    assert place is not None
    assert checkpoint.folder is not None
    with checkpoint.folder.open(place.file) as source:
        assert source.read(place.offset, checkpoint.tensors[7].nbytes) == WEIGHTS[:2].tobytes()


def test_a_long_vocabulary_takes_few_requests(folder: Path, server: Server) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    count = 262_144
    tokens = b"".join(text(f"token {number * 7919}") for number in range(count))
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, count)
    (folder / "m.gguf").write_bytes(header + tokens)
    inspect(server.url("m.gguf"))
    assert len(server.seen) <= 6
    assert server.sent <= 1.5 * len(tokens) + (512 << 10)


def test_an_index_leads_to_its_shards_and_nowhere_else(folder: Path, server: Server) -> None:
    save_file({"a": WEIGHTS}, folder / "one.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "gone.safetensors"}}))
    assert [finding.code for finding in inspect(server.url(index.name)).findings] == ["QL201"]
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="not the plain name of a file"):
        inspect(server.url(index.name))
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors?x=%2e%2e"}}))
    with pytest.raises(CheckpointError, match="not the plain name of a file"):
        inspect(server.url(index.name))


def test_secrets_of_a_url_are_never_shown(server: Server) -> None:
    url = server.url("m.safetensors").replace("http://", "http://user:hunter2@") + "?sig=s3cret"
    remote = inspect(url)
    shown = json.dumps(remote.to_record()) + repr(remote)
    for url_of_nothing in (url.replace("m.safe", "absent.safe"), url.replace("127.0.0.1", "absent.invalid")):
        with pytest.raises(CheckpointError) as caught:
            inspect(url_of_nothing, limits=LIMITS)
        shown += repr(caught.value) + str(caught.value.__cause__) + str(caught.value)
    assert "hunter2" not in shown
    assert "s3cret" not in shown


def test_a_redirect_never_leads_into_a_private_network(server: Server) -> None:
    def check(host: str, address: str) -> bool:
        return host != "localhost"  # as if localhost were a public host, and 127.0.0.1 a private one

    url = server.url("m.safetensors", "away").replace("127.0.0.1", "localhost")
    places, name = web.web_folder(url, LIMITS, check)
    with pytest.raises(CheckpointError, match=r"leads to 127\.0\.0\.1, in a private network"):
        places.open(name)
    assert [seen.path for seen in server.seen] == ["/~away/m.safetensors"]


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("172.16.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("169.254.169.254", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fc00::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
    ],
)
def test_addresses_of_private_networks(address: str, private: bool) -> None:
    assert addresses.is_private("host", address) is private


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "metadata"])
def test_metadata_services_are_never_asked(host: str) -> None:
    address = host if host[0].isdigit() else "10.1.2.3"
    guard = client.Client("http://10.1.2.3/x", is_private=lambda host, address: False)
    assert not guard.may_connect(host, address)


# --- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    root = tmp_path / "hub"
    for name in ("acme/one", "acme/many"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text('{"torch_dtype": "float32"}')
    save_file({"a.weight": WEIGHTS}, root / "acme" / "one" / "model.safetensors")
    shard_of: dict[str, str] = {}
    for shard in range(20):
        name = f"model-{shard + 1:05}-of-00020.safetensors"
        shard_of[f"layers.{shard}.weight"] = name
        save_file({f"layers.{shard}.weight": WEIGHTS}, root / "acme" / "many" / name)
    index = root / "acme" / "many" / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 20 * WEIGHTS.nbytes}, "weight_map": shard_of}))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server(root) as storage, Server(root, storage) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


@pytest.mark.parametrize("url", ["hf://acme/one", "hf://acme/one@main", f"hf://acme/one@{'a' * 40}"])
def test_a_repository_reads_as_the_folder_does_from_disk(hub: Server, url: str) -> None:
    remote = inspect(url)
    assert without_path(remote) == without_path(inspect(hub.folder / "acme" / "one"))
    assert remote.path == url.replace("@main", "")
    assert len(hub.seen) == 3  # the listing, and where config and weights are
    assert hub.storage is not None
    assert len(hub.storage.seen) == 2


def test_shards_of_a_repository_take_a_request_each(hub: Server) -> None:
    remote = inspect("hf://acme/many")
    assert without_path(remote) == without_path(inspect(hub.folder / "acme" / "many"))
    assert len(hub.seen) == 1 + 20 + 2


def test_a_file_of_a_repository_is_read_with_its_config(hub: Server) -> None:
    remote = inspect("hf://acme/one/model.safetensors")
    assert remote.declared is not None
    assert [file.path for file in remote.files] == ["model.safetensors"]


def test_a_token_goes_to_the_hub_not_to_storage(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.private = True
    with pytest.raises(CheckpointError, match="needs a token: run `hf auth login`"):
        inspect("hf://acme/one")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.seen.clear()
    report = inspect("hf://acme/one")
    assert {seen.authorization for seen in hub.seen} == {f"Bearer {TOKEN}"}
    assert hub.storage is not None
    assert {seen.authorization for seen in hub.storage.seen} == {None}
    assert TOKEN not in repr(report) + repr(read_checkpoint("hf://acme/one").folder)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("hf://acme/none", "does not exist, or is private and needs a token"),
        ("hf://acme/one@none", "has no such revision"),
        ("hf://acme/one/none", "is not in the repository"),
        ("hf://acme/one/../two", "is not hf://org/name"),
        ("hf://datasets/acme/one", "is in datasets, not a model"),
        ("hf://", "is not hf://org/name"),
        ("nothing://host/x", "cannot be read"),
    ],
)
def test_what_the_hub_does_not_have_is_an_error(hub: Server, url: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        inspect(url)


def test_a_gated_repository_says_what_to_do(hub: Server) -> None:
    (hub.folder / "acme" / "one" / ".gated").touch()
    with pytest.raises(CheckpointError, match=r"is gated: accept its terms at https://huggingface\.co/acme/one"):
        inspect("hf://acme/one")


def test_offline_nothing_is_asked(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        inspect("hf://acme/one")
    assert hub.seen == []


# --- other stores ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/bucket", recursive=True)


@pytest.mark.parametrize("name", ["", "/m.safetensors"])
def test_a_store_reads_as_the_folder_does_from_disk(folder: Path, bucket: fsspec.AbstractFileSystem, name: str) -> None:
    for file in folder.iterdir():
        bucket.pipe_file(f"/bucket/model/{file.name}", file.read_bytes())
    remote = inspect(f"memory://bucket/model{name}")
    assert without_path(remote) == without_path(inspect(f"{folder}{name}"))
    assert remote.path == f"memory://bucket/model{name}"


def test_a_store_that_gives_too_little_is_an_error(
    folder: Path, bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe_file("/bucket/m.safetensors", (folder / "m.safetensors").read_bytes())
    monkeypatch.setattr(type(bucket), "cat_file", lambda self, path, start, end: b"x")
    with pytest.raises(CheckpointError, match="the store gives 1 of"):
        inspect("memory://bucket/m.safetensors")


def test_a_file_replaced_while_read_is_an_error(folder: Path, bucket: fsspec.AbstractFileSystem) -> None:
    content = (folder / "m.safetensors").read_bytes()
    bucket.pipe_file("/bucket/m.safetensors", content)
    places, name = stores.store_folder("memory://bucket/m.safetensors", LIMITS)
    with pytest.raises(CheckpointError, match="changed while it was read"), places.open(name):
        bucket.pipe_file("/bucket/m.safetensors", content + b"x")


def test_nothing_in_a_store_is_an_error(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe_file("/bucket/x", b"")
    with pytest.raises(CheckpointError, match=r"no files were found|does not exist"):
        inspect("memory://bucket/absent")


def test_a_plain_name_is_looked_up_in_the_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Server
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="to read it remotely, name hf://acme/one"):
        inspect("acme/one")
    snapshot = tmp_path / "cache" / "models--acme--one" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    save_file({"a.weight": WEIGHTS}, snapshot / "model.safetensors")
    assert inspect("acme/one").files[0].path == "model.safetensors"
    assert hub.seen == []


def test_a_local_path_imports_no_network(folder: Path) -> None:
    code = (
        "import sys, quantlevels\n"
        f"quantlevels.inspect({str(folder)!r})\n"
        "print([name for name in ('urllib3', 'huggingface_hub', 'fsspec', 'http.client') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[]\n"
