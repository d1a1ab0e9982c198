"""Servers on 127.0.0.1: files by ranges, with faults, and a Hub that has what is read of it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "a" * 40
TOKEN = "hf_secret"
REVISIONS = ("main", "v1.0", "refs/pr/1", COMMIT)


class Seen(NamedTuple):
    """One request that a server saw, and the bytes it answered with."""

    path: str
    range: str | None
    authorization: str | None
    sent: int
    method: str
    headers: dict[str, str]


class Server:
    """Serves the files of a folder.

    A fault is the first part of a path: ``/~short/model.safetensors``. `_Handler` says what each does.

    Args:
        folder: what it serves. A Hub serves ``org/name`` folders as repositories.
        storage: where a Hub keeps files of `large` bytes and more; None for a server of files.
        private: whether a Hub wants a token for everything.
        large: bytes of the smallest file that a Hub keeps in its storage.
        page: entries of a tree in one answer of a Hub.
        storage_fault: what the storage does with files of a Hub.
    """

    def __init__(
        self,
        folder: Path,
        storage: Server | None = None,
        *,
        private: bool = False,
        large: int = 0,
        page: int = 1000,
        storage_fault: str = "",
    ) -> None:
        self.folder = folder
        self.storage = storage
        self.private = private
        self.large = large
        self.page = page
        self.storage_fault = storage_fault
        self.seen: list[Seen] = []
        self._server = _QuietServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, name: str, fault: str = "") -> str:
        return f"{self.endpoint}/{f'~{fault}/' if fault else ''}{name}"

    @property
    def sent(self) -> int:
        return sum(seen.sent for seen in self.seen)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that go away are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    @property
    def owner(self) -> Server:
        assert isinstance(self.server, _QuietServer)
        return self.server.owner

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        fault, _, rest = path.removeprefix("/~").partition("/") if path.startswith("/~") else ("", "", path[1:])
        if not self.owner.storage:
            return self._file(self.owner.folder / rest, fault, rest)
        query = parse_qs(parts.query)
        match path[1:].split("/"):
            case ["api", "models"]:
                return self._models(query)
            case ["api", "models", org, name]:
                return self._info(f"{org}/{name}", "main")
            case ["api", "models", org, name, "revision", *revision]:
                return self._info(f"{org}/{name}", "/".join(revision))
            case ["api", "models", org, name, "tree", revision, *_]:
                return self._tree(f"{org}/{name}", revision, query)
            case [org, name, "resolve", revision, *file]:
                return self._resolve(f"{org}/{name}", revision, "/".join(file))
            case ["api", "resolve-cache", "models", org, name, commit, *file] if commit == COMMIT:
                return self._file(self.owner.folder / org / name / Path(*file), "", rest)
            case _:
                self._note(0)
                return self._reply(404)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server calls

    def _note(self, sent: int) -> int:
        """Record the request; how many there were of its path."""
        headers = dict(self.headers.items())
        self.owner.seen.append(
            Seen(self.path, headers.get("Range"), headers.get("Authorization"), sent, self.command, headers)
        )
        return sum(seen.path == self.path for seen in self.owner.seen)

    def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- files

    def _file(self, path: Path, fault: str, rest: str) -> None:
        """One file, honestly or with a fault."""
        if not path.is_file():
            self._note(0)
            return self._reply(404, b"no")
        content = path.read_bytes()
        first, last = 0, len(content) - 1
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match:
            first, last = int(match[1]), min(int(match[2]), last)
        if first > last:
            self._note(0)
            return self._reply(416, Content_Range=f"bytes */{len(content)}")
        count = self._note(0 if self.command == "HEAD" else last - first + 1)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if (
            self._refused(fault, count)
            or self._redirected(fault, rest)
            or self._unending(fault, first, last, len(content))
        ):
            return None
        sent, total = content[first : last + 1], len(content)
        headers = {"ETag": tag, "Content_Range": f"bytes {first}-{last}/{total}", "Accept_Ranges": "bytes"}
        if self.owner.storage:
            headers["X_Repo_Commit"] = COMMIT
        status = 206 if match else 200
        match fault:
            case "late" | "slow":
                time.sleep(0.3)
            case "untagged":
                headers["ETag"] = ""
            case "weak":
                headers["ETag"] = f"W/{tag}"
            case "whole":
                sent, status = content, 200
            case "short":
                last = first + (last - first) // 2
                sent = content[first : last + 1]
                headers["Content_Range"] = f"bytes {first}-{last}/{total}"
            case "long":
                sent += b"x"
                headers["Content_Range"] = f"bytes {first}-{last + 1}/{total}"
            case "more":
                sent += b"x"
            case "elsewhere":
                headers["Content_Range"] = f"bytes {first + 1}-{last + 1}/{total}"
            case "from-zero":
                headers["Content_Range"] = f"bytes 0-{last - first}/{total}"
            case "other-bytes":
                sent = content[: last + 1 - first]
            case "page-in-range":
                sent = (b"<!doctype html><html>log in</html>" * (len(sent) // 34 + 1))[: len(sent)]
            case "packed":
                headers["Content_Encoding"] = "gzip"
            case "unsaid":
                headers["Content_Range"] = ""
            case "unknown":
                headers["Content_Range"] = f"bytes {first}-{last}/*"
            case "parts":
                headers["Content_Type"] = "multipart/byteranges; boundary=part"
                headers["Content_Range"] = ""
            case "too-large":
                headers["Content_Range"] = f"bytes {first}-{last}/{1 << 40}"
            case "changed" if count > 1:
                headers["ETag"] = '"other"'
            case "grown" if count > 1:
                headers["Content_Range"] = f"bytes {first}-{last}/{total + 1}"
            case "cut":
                headers["Content_Length"] = str(len(sent))
                sent = sent[: len(sent) // 2]
                self.close_connection = True
            case "heavy":
                headers |= {f"X_Filler_{number}": "x" * 8000 for number in range(120)}
            case _:
                pass
        if status == 200:
            headers["Content_Range"] = ""
        return self._reply(status, sent, **headers)

    def _refused(self, fault: str, count: int) -> bool:
        """Answer with a status that gives no bytes, if the fault is one of those."""
        few = count < 3
        match fault:
            case "busy" if few:
                self._reply(503, b"later", Retry_After="0")
            case "limited" if few:
                self._reply(429, b"later", RateLimit='"resolvers";r=0;t=7')
            case "reset" if few:
                self.close_connection = True
            case "no-conditions" if "If-Match" in self.headers:
                self._reply(501)
            case "replaced" if "If-Match" in self.headers:
                self._reply(412)
            case "expires" if count == 2:
                self._reply(403, b"expired")
            case "page":
                self._reply(200, b"<html>log in", Content_Type="text/html")
            case "login" if self.headers.get("Authorization") != "Basic dXNlcjpodW50ZXIy":  # user:hunter2
                self._reply(401)
            case "forbidden":
                self._reply(403, b"no")
            case "no-range":
                self._reply(416)
            case _:
                return False
        return True

    def _redirected(self, fault: str, rest: str) -> bool:
        """Answer with a redirect, if the fault is one."""
        port = urlsplit(self.owner.endpoint).port
        places = {
            "loop": self.path,
            "away": f"{self.owner.endpoint}/{rest}",
            "other-name": f"http://localhost:{port}/{rest}",
            "relative": f"/{rest}",
            "to-file": "file:///etc/passwd",
            "credentials": f"http://user:word@127.0.0.1/{rest}",
            "to-nowhere": "http://[::1/x",
        }
        if fault in places:
            self._reply(302, Location=places[fault])
        return fault in places

    def _unending(self, fault: str, first: int, last: int, total: int) -> bool:
        """Answer too slowly or without an end, if the fault is one of those."""
        if fault not in ("drip", "silent", "endless", "large"):
            return False
        self.close_connection = True
        if fault == "drip":
            for _ in range(60):
                self.wfile.write(b"H")
                time.sleep(0.1)
            return True
        self.send_response(206 if fault == "silent" else 200)
        if fault == "silent":
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        if fault != "endless":
            self.send_header("Content-Length", str(last - first + 1 if fault == "silent" else 1 << 30))
        self.end_headers()
        if fault == "silent":
            self.wfile.write(b"x" * 10)
            time.sleep(3)
            return True
        for _ in range(256):  # 64 MiB, unless the client goes away
            self.wfile.write(bytes(1 << 18))
        return True

    # --- the Hub: paths, headers and fields as huggingface_hub 2.4.0 reads them

    def _repository(self, name: str, revision: str) -> Path | None:
        """The folder of a repository; None if it must not be read, which was answered then."""
        folder = self.owner.folder / name
        signed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not folder.is_dir() or (self.owner.private and not signed):
            self._problem(404 if signed else 401, "RepoNotFound")
        elif (folder / ".gated").exists() and not signed:
            self._problem(401, "GatedRepo")
        elif revision not in REVISIONS:
            self._problem(404, "RevisionNotFound")
        else:
            return folder
        return None

    def _problem(self, status: int, code: str) -> None:
        self._reply(status, b'{"error": "no"}', X_Error_Code=code, X_Error_Message=code)

    def _json(self, value: object, **headers: str) -> None:
        self._reply(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _entry(self, folder: Path, file: Path) -> dict[str, object]:
        """What a tree says of a file."""
        content = file.read_bytes()
        entry: dict[str, object] = {
            "type": "file",
            "path": file.relative_to(folder).as_posix(),
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if len(content) >= self.owner.large:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _entries(self, folder: Path) -> list[dict[str, object]]:
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".gated")
        return [self._entry(folder, file) for file in files]

    def _models(self, query: dict[str, list[str]]) -> None:
        self._note(0)
        (author,) = query["author"]
        names = sorted(f"{author}/{folder.name}" for folder in (self.owner.folder / author).iterdir())
        self._json([{"_id": name, "id": name, "modelId": name, "private": False, "tags": []} for name in names])

    def _info(self, name: str, revision: str) -> None:
        self._note(0)
        folder = self._repository(name, revision)
        if folder is None:
            return
        siblings: list[dict[str, object]] = []
        for entry in self._entries(folder):
            sibling = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
            match entry:
                case {"lfs": {"oid": sha256, "size": size, "pointerSize": pointer}}:
                    sibling["lfs"] = {"sha256": sha256, "size": size, "pointerSize": pointer}
                case _:
                    pass
            siblings.append(sibling)
        siblings.append({"rfilename": "../../secret", "size": 3})
        self._json({"_id": name, "id": name, "sha": COMMIT, "private": self.owner.private, "siblings": siblings})

    def _tree(self, name: str, revision: str, query: dict[str, list[str]]) -> None:
        self._note(0)
        folder = self._repository(name, revision)
        if folder is None:
            return
        entries = self._entries(folder)
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.owner.page
        following = f"{self.owner.endpoint}/api/models/{name}/tree/{revision}?recursive=true&cursor={end}"
        link = f'<{following}>; rel="next"' if end < len(entries) else ""
        self._json(entries[start:end], Link=link)

    def _resolve(self, name: str, revision: str, file: str) -> None:
        """Small files come from the Hub by a relative redirect, large ones from its storage by a signed address."""
        self._note(0)
        folder = self._repository(name, revision)
        if folder is None:
            return None
        if not (folder / file).is_file():
            return self._problem(404, "EntryNotFound")
        assert self.owner.storage is not None
        entry = self._entry(folder, folder / file)
        tag = f'"{entry["oid"]}"'
        place = f"/api/resolve-cache/models/{name}/{COMMIT}/{quote(file)}"
        status = 307
        match entry:
            case {"lfs": {"oid": sha256}}:
                tag, status = f'"{sha256}"', 302
                place = self.owner.storage.url(f"{name}/{quote(file)}?signature=s3cret", self.owner.storage_fault)
            case _:
                pass
        linked = {"X_Linked_ETag": tag, "X_Linked_Size": str(entry["size"]), "X_Repo_Commit": COMMIT, "ETag": tag}
        return self._reply(status, b"", Location=place, **linked)
