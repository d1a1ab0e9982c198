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
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
TOKEN = "hf_secret"


class Seen(NamedTuple):
    """One request that a server saw, and the bytes it answered with."""

    path: str
    range: str | None
    authorization: str | None
    sent: int


class Server:
    """Serves the files of a folder.

    A fault is the first part of a path: ``/~short/model.safetensors``. `FAULTS` in the handler says what each does.
    """

    def __init__(self, folder: Path, storage: Server | None = None, *, private: bool = False) -> None:
        self.folder = folder
        #: where the Hub keeps large files
        self.storage = storage
        self.private = private
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self  # type: ignore[attr-defined]
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    @property
    def owner(self) -> Server:
        owner = self.server.owner  # type: ignore[attr-defined]
        assert isinstance(owner, Server)
        return owner

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        fault, _, rest = path.removeprefix("/~").partition("/") if path.startswith("/~") else ("", "", path[1:])
        if path.startswith("/api/models/"):
            self._listing(path)
        elif "/resolve/" in path and self.owner.storage:
            self._resolve(path)
        else:
            self._file(self.owner.folder / rest, fault, rest)

    def _note(self, sent: int) -> int:
        """Record the request; how many there were of its path."""
        headers = self.headers
        self.owner.seen.append(Seen(self.path, headers.get("Range"), headers.get("Authorization"), sent))
        return sum(seen.path == self.path for seen in self.owner.seen)

    def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, path: Path, fault: str, rest: str) -> None:
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
        count = self._note(last - first + 1)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        sent, status, total = content[first : last + 1], 206, str(len(content))
        headers: dict[str, str] = {}
        match fault:
            case "busy" if count < 3:
                return self._reply(503, b"later", Retry_After="0")
            case "reset" if count < 3:
                return self.connection.close()
            case "whole":
                sent, status = content, 200
            case "page":
                return self._reply(200, b"<html>log in", Content_Type="text/html")
            case "short":
                last = first + (last - first) // 2
                sent = content[first : last + 1]
            case "long":
                last += 1
                sent += b"x"
            case "elsewhere":
                first, last = first + 1, last + 1
            case "packed":
                headers["Content_Encoding"] = "gzip"
            case "unsaid":
                return self._reply(206, sent)
            case "unknown":
                total = "*"
            case "changed" if count > 1:
                tag = '"other"'
            case "grown" if count > 1:
                total = str(len(content) + 1)
            case "forbidden":
                return self._reply(403, b"no")
            case "loop":
                return self._reply(302, Location=self.path)
            case "away":
                return self._reply(302, Location=f"{self.owner.endpoint}/{rest}")
            case "to-file":
                return self._reply(302, Location="file:///etc/passwd")
            case "credentials":
                return self._reply(302, Location=f"http://user:word@127.0.0.1/{rest}")
            case "drip":
                for _ in range(100):
                    self.wfile.write(b"H")
                    time.sleep(0.1)
            case "silent":
                self.send_response(206)
                self.send_header("Content-Length", str(len(sent)))
                self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
                self.end_headers()
                time.sleep(5)
                return None
            case _:
                pass
        if status == 206:
            headers["Content_Range"] = f"bytes {first}-{last}/{total}"
        return self._reply(status, sent, ETag=tag, **headers)

    def _allowed(self) -> bool:
        return not self.owner.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _listing(self, path: str) -> None:
        _, _, _, org, name, _, revision = path.split("/", 6)
        folder = self.owner.folder / org / name
        self._note(0)
        if not folder.is_dir() or not self._allowed():
            return self._reply(401, X_Error_Code="RepoNotFound")
        if (folder / ".gated").exists():
            return self._reply(403, X_Error_Code="GatedRepo")
        if revision not in ("main", COMMIT):
            return self._reply(404, X_Error_Code="RevisionNotFound")
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        siblings = [{"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size} for file in files]
        siblings.append({"rfilename": "../../secret", "size": 3})
        return self._reply(200, json.dumps({"sha": COMMIT, "siblings": siblings}).encode())

    def _resolve(self, path: str) -> None:
        repository, _, place = path[1:].partition("/resolve/")
        commit, _, name = place.partition("/")
        assert commit == COMMIT
        assert self.owner.storage is not None
        self._note(0)
        if not self._allowed():
            return self._reply(401)
        return self._reply(302, Location=f"{self.owner.storage.endpoint}/{repository}/{name}?signature=s3cret")
