"""The rules by which a remote file is read, each seen from the outside: at the server, or in what is shown."""

from __future__ import annotations

import json
import pickle
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.cli.conftest import write_shards
from tests.remote.servers import COMMIT, TOKEN, Server

pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from quantlevels import CheckpointError, inspect  # noqa: E402  # after what it needs here
from quantlevels.checkpoint.remote import addresses, client, hub, open_url, ranges, web  # noqa: E402
from quantlevels.container import RemoteLimits  # noqa: E402

LIMITS = RemoteLimits(seconds=20, silence=0.5)
NAMES = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(3000)]


pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose header takes two requests."""
    path = tmp_path / "acme" / "one"
    path.mkdir(parents=True)
    save_file(dict.fromkeys(NAMES, np.zeros((1, 4), np.float32)), path / "model.safetensors")
    (path / "config.json").write_text('{"torch_dtype": "float32"}')
    return path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as running:
        yield running


@pytest.fixture
def storage(folder: Path) -> Iterator[Server]:
    with Server(folder.parents[1]) as running:
        yield running


@pytest.fixture
def the_hub(storage: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server(storage.folder, storage, large=1000) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


def asked(server: Server, name: str) -> list[tuple[int, int]]:
    """The ranges of a file that a server was asked for."""
    spans = [seen.range for seen in server.seen if seen.path.partition("?")[0].endswith(name)]
    return [tuple(map(int, span.removeprefix("bytes=").split("-"))) for span in spans if span]  # type: ignore[misc]


# --- ranges and versions ---------------------------------------------------------------------------------------------


def test_no_byte_of_a_file_is_fetched_twice(server: Server) -> None:
    inspect(server.url("model.safetensors"))
    spans = sorted(asked(server, "model.safetensors"))
    assert [start for start, _ in spans] == [0, *(end + 1 for _, end in spans[:-1])]


def test_the_rest_of_a_short_answer_is_asked_for(server: Server) -> None:
    inspect(server.url("model.safetensors", "short"))
    spans = asked(server, "model.safetensors")
    assert spans[0] == (0, 131071)
    assert spans[1] == (65536, 131071)


def test_no_head_request_and_no_compression_is_asked_for(server: Server) -> None:
    inspect(server.url("model.safetensors"))
    assert {seen.method for seen in server.seen} == {"GET"}
    assert {seen.headers["Accept-Encoding"] for seen in server.seen} == {"identity"}


def test_the_version_that_was_read_first_is_asked_for(server: Server) -> None:
    inspect(server.url("model.safetensors"))
    first, second = (seen for seen in server.seen if "model.safetensors" in seen.path)
    assert "If-Match" not in first.headers
    assert second.headers["If-Match"].startswith('"')


def test_a_weak_version_is_not_asked_for(server: Server) -> None:
    inspect(server.url("model.safetensors", "weak"))
    assert not any("If-Match" in seen.headers for seen in server.seen)


def test_a_store_that_refuses_conditions_is_asked_without(server: Server) -> None:
    inspect(server.url("model.safetensors", "no-conditions"))
    assert ["If-Match" in seen.headers for seen in server.seen if "model.saf" in seen.path] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("fault", ["endless", "large", "packed"])
def test_a_body_that_is_not_wanted_stays_unread(server: Server, fault: str) -> None:
    with pytest.raises(CheckpointError, match="download the file first"):
        inspect(server.url("model.safetensors", fault))
    assert len(server.seen) == 1


# --- retries ---------------------------------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_as_it_says(server: Server, waits: list[float]) -> None:
    inspect(server.url("model.safetensors", "limited"))
    assert waits == [7.0, 7.0] * 2  # for the model, and for the config beside it


def test_pauses_grow_if_the_server_says_nothing(server: Server, waits: list[float]) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: the connection"):
        inspect(server.url("model.safetensors", "cut"))
    assert len(waits) == 3
    assert 0.2 <= waits[0] <= 0.3 < waits[1] <= 0.6 < waits[2] <= 1.2


@pytest.mark.parametrize("fault", ["forbidden", "login", "no-range"])
def test_a_refusal_is_final(server: Server, fault: str, waits: list[float]) -> None:
    with pytest.raises(CheckpointError):
        inspect(server.url("model.safetensors", fault))
    assert len(server.seen) == 1
    assert waits == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "23"}, 23),
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 55),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert ranges._retry_after(headers) == seconds


def test_a_long_wait_is_said_on_stderr(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    inspect(server.url("model.safetensors", "limited"))
    url = server.url("model.safetensors", "limited")
    assert f"{url}: the server answers 429; waiting 7 seconds" in caplog.text


def test_a_server_cannot_make_us_wait_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_retry_after", lambda headers: 3600.0)
    monkeypatch.setattr(ranges, "_LONGEST_WAIT", 100.0)
    with pytest.raises(
        CheckpointError, match="the server answers 429; the request failed several times, try again later"
    ):
        inspect(server.url("model.safetensors", "limited"))


def test_a_server_with_too_many_requests_gets_fewer_at_a_time() -> None:
    slots = client._Slots()
    for _ in range(4):
        slots.halve()
    with slots:
        assert slots._most == 1
    assert slots._taken == 0


# --- addresses -------------------------------------------------------------------------------------------------------


def test_the_address_that_is_connected_to_decides(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the public internet may lead to a private address when it is looked up for the second time."""
    answers = iter([False, True])  # of the same host: public, then private
    found = client.Client(server.endpoint, is_private=lambda host, address: next(answers))
    for number, lead in enumerate([True, False]):
        assert found.may_connect("127.0.0.1", "127.0.0.1") is lead, number


def test_a_refused_address_gets_no_byte(server: Server) -> None:
    folder, name = web.web_folder(server.url("model.safetensors", "away"), LIMITS, lambda host, address: False)
    folder.client._private_allowed = False
    monitored = client.Client("http://public.example", is_private=lambda host, address: True)
    monitored._private_allowed = False
    with pytest.raises(client.RefusedAddressError), monitored.get(server.url(name), {}, 5):
        pass
    assert server.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "::1"])
def test_behind_a_proxy_literal_addresses_are_checked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    shown = f"[{host}]" if ":" in host else host
    found = client.Client("http://public.example")
    with (
        pytest.raises(client.RefusedAddressError, match="in a private network"),
        found.get(f"http://{shown}/x", {}, 5),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("64:ff9b::7f00:1", True),  # 127.0.0.1 through a gateway
        ("64:ff9b::808:808", False),
        ("2002:7f00:1::", True),
        ("2002:808:808::", False),
        ("ff02::1", True),
        ("::", True),
        ("255.255.255.255", True),
    ],
)
def test_an_address_within_an_address_is_checked(address: str, private: bool) -> None:
    assert addresses.is_private("host", address) is private


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"]
)
def test_metadata_services_have_many_addresses(address: str) -> None:
    assert addresses.is_metadata("host", address)


@pytest.mark.parametrize("url", ["https://[::1/x.gguf", "https://host:99999/x.gguf", "http://host:a/x.gguf"])
def test_what_is_not_a_url_is_an_error(url: str) -> None:
    with pytest.raises(CheckpointError, match="is not a valid URL"):
        inspect(url)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../x", "/x", "a//b", ".", "", "a\\b", "C:x", "a%2e", "a?b", "a#b", "a\nb", "x::y", "file:///x"],
)
def test_a_name_from_a_file_is_plain_or_refused(name: str) -> None:
    assert not addresses.is_safe_name(name)


# --- credentials -----------------------------------------------------------------------------------------------------


def test_a_login_goes_to_its_own_origin_only(server: Server, folder: Path) -> None:
    url = server.url("model.safetensors", "login").replace("http://", "http://user:hunter2@")
    assert inspect(url).stored is not None
    assert {seen.headers.get("Authorization") for seen in server.seen} == {"Basic dXNlcjpodW50ZXIy"}
    server.seen.clear()
    with Server(folder) as other:
        inspect(server.url("model.safetensors", "other-name").replace("http://", "http://user:hunter2@"))
        assert other.seen == []
    logins = {seen.headers["Host"].partition(":")[0]: "Authorization" in seen.headers for seen in server.seen}
    assert logins == {"127.0.0.1": True, "localhost": False}


def test_a_query_is_not_carried_to_the_files_beside(server: Server, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    with pytest.raises(CheckpointError, match="files beside a signed URL cannot be read; name the folder"):
        inspect(server.url(index.name) + "?signature=s3cret")
    assert [seen.path for seen in server.seen if "signature" not in seen.path] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2@host/a.gguf?sig=s3cret#x", "https://host/a.gguf?…"),
        ("s3://key:s3cret@bucket/a", "s3://bucket/a"),
        ("zip://m::https://user:hunter2@host/a.zip?sig=s3cret", "zip://m::https://host/a.zip?…"),
        ("simplecache::ftp://user:hunter2@host/a", "simplecache::ftp://host/a"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("https://user:hunter2@[::1/a", "https://…"),
    ],
)
def test_what_a_url_is_shown_as(url: str, shown: str) -> None:
    assert addresses.clean(url) == shown


@pytest.mark.parametrize("fault", ["forbidden", "drip", "cut", "changed", "to-file", "loop", "page", "reset"])
def test_no_secret_is_in_what_an_error_carries(server: Server, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    url = server.url("model.safetensors", fault).replace("http://", "http://user:hunter2@") + "?sig=s3cret"
    texts: list[str] = []
    try:
        report = inspect(url, limits=RemoteLimits(seconds=1, silence=0.2))
        texts += [repr(report), repr(pickle.loads(pickle.dumps(report)))]
    except CheckpointError as error:
        copy = pickle.loads(pickle.dumps(error))
        trace = "".join(traceback.format_exception(error))
        texts += [str(error), repr(error), str(copy), trace, str(error.__cause__)]
    texts.append(caplog.text)
    folder, _ = open_url(url)
    texts.append(repr(folder))
    for text in texts:
        assert "hunter2" not in text
        assert "s3cret" not in text


def test_a_token_is_in_no_copy_of_a_report(the_hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    report = inspect("hf://acme/one")
    assert TOKEN.encode() not in pickle.dumps(report)
    assert "signature" not in repr(report) + json.dumps(report.to_record())


# --- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("hf://org/name", ("org/name", "main", "")),
        ("hf://gpt2", ("gpt2", "main", "")),
        ("hf://org/name@v1.0/sub/m.gguf", ("org/name", "v1.0", "sub/m.gguf")),
        ("hf://org/name@refs%2Fpr%2F1", ("org/name", "refs/pr/1", "")),
        ("hf://org/name/sub/m.gguf", ("org/name", "main", "sub/m.gguf")),
        ("https://huggingface.co/org/name", ("org/name", "main", "")),
        ("https://huggingface.co/org/name/tree/v1.0", ("org/name", "v1.0", "")),
        ("https://huggingface.co/org/name/blob/main/m.gguf", ("org/name", "main", "m.gguf")),
        ("https://huggingface.co/gpt2/resolve/main/m.gguf?download=true", ("gpt2", "main", "m.gguf")),
        ("https://example.org/org/name", None),
        ("https://huggingface.co/datasets/org/name/resolve/main/x", None),
    ],
)
def test_what_a_url_names_on_the_hub(url: str, place: tuple[str, str, str] | None) -> None:
    assert hub.hub_place(url) == place


@pytest.mark.parametrize(
    "url", ["hf://spaces/org/name", "hf://org/name@..", "hf://org/name@main/../x", "hf://org/na me"]
)
def test_what_a_url_of_the_hub_must_not_name(url: str) -> None:
    with pytest.raises(CheckpointError, match=r"is in spaces, not a model|is not hf://org/name"):
        inspect(url)


def test_files_are_read_at_the_commit_of_the_listing(the_hub: Server) -> None:
    inspect("hf://acme/one")
    resolved = [seen.path for seen in the_hub.seen if "/resolve/" in seen.path]
    assert resolved
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved)


def test_a_signed_address_is_asked_again_without_the_hub(the_hub: Server, storage: Server) -> None:
    inspect("hf://acme/one/model.safetensors")
    assert len([seen for seen in the_hub.seen if "/resolve/" in seen.path and "model" in seen.path]) == 1
    assert len(storage.seen) == 2


def test_an_expired_address_is_resolved_once_more(the_hub: Server, storage: Server) -> None:
    the_hub.storage_fault = "expires"
    inspect("hf://acme/one")
    assert len([seen for seen in the_hub.seen if "/resolve/" in seen.path and "model" in seen.path]) == 2
    assert len(storage.seen) == 3


def test_a_file_of_another_size_than_listed_is_an_error(the_hub: Server, folder: Path) -> None:
    place, name = open_url("hf://acme/one/config.json")
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="changed while it was read"):
        place.open(name)


def test_a_host_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> object:
        raise socket.gaierror(8, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CheckpointError, match="cannot be read: its host is not known"):
        inspect("https://nowhere.example/m.gguf")


def test_many_answers_left_unread_do_not_block(tmp_path: Path) -> None:
    """Each shard is refused twice: of more answers than the pool has connections no body is read."""
    write_shards(tmp_path, 12)
    with Server(tmp_path) as running:
        remote = inspect(running.url("model.safetensors.index.json", "busy"), limits=RemoteLimits(seconds=20))
    assert {**remote.to_record(), "path": ""} == {
        **inspect(tmp_path / "model.safetensors.index.json").to_record(),
        "path": "",
    }
