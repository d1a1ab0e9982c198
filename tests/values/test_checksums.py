"""Digests in the names of files, in stores and beside files are compared."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from tests.values.models import bf16, codes, gauss, layers, write

from quantlevels import inspect

NAME = "model.safetensors"


def flip(path: Path) -> None:
    """Change the last mantissa bit of one weight."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_sha1(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def hub_cache(folder: Path, name_of: Any) -> tuple[Path, Path]:
    """A snapshot of the Hugging Face cache, and its blob of weights."""
    made = write(folder / "made", layers(bf16), architectures=["LlamaForCausalLM"])
    root = folder / "models--acme--tiny"
    snapshot, blobs = root / "snapshots" / ("0" * 40), root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file, digest in ((made / NAME, name_of(made / NAME)), (made / "config.json", git_sha1(made / "config.json"))):
        (blobs / digest).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blobs / digest, snapshot))
    return snapshot, (snapshot / NAME).resolve()


@pytest.mark.parametrize("name_of", [sha256, git_sha1])
def test_hub_cache_blobs_are_compared_with_their_names(tmp_path: Path, name_of: Any) -> None:
    snapshot, blob = hub_cache(tmp_path, name_of)
    report = inspect(snapshot, values="all")
    assert report.values is not None
    assert [(checksum.path, checksum.matches, checksum.origin) for checksum in report.values.checksums] == [
        (NAME, True, "blob-name"),
        ("config.json", True, "blob-name"),
    ]

    flip(blob)

    assert codes(snapshot) == {"QL611"}
    assert codes(snapshot, checksums=False) == set()
    assert codes(snapshot, values="sample") == set()


def beside(content: str) -> Any:
    """What writes a file beside the weights, with their digest in its text."""

    def put(folder: Path, name: str) -> None:
        digest = sha256(folder / NAME)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.format(sha=digest, git=git_sha1(folder / NAME)))

    return put


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize 123\n"
STORES = [
    (f"{NAME}.sha256", "{sha}\n", "sidecar"),
    (f"{NAME}.sha256", f"{{sha}}  {NAME}\n", "sidecar"),
    ("SHA256SUMS", f"{'0' * 64}  other.bin\n{{sha}} *{NAME}\n", "sidecar"),
    ("SHA256SUMS", f"{'0' * 64}{' ' * 100_000}other{' ' * 100_000}file\n{{sha}}  {NAME}  \n", "sidecar"),
    (f"{NAME}.lfs", LFS, "lfs-pointer"),
    (f".cache/huggingface/download/{NAME}.metadata", f"{'0' * 40}\n{{sha}}\n1767225600.0\n", "download-metadata"),
    (f".cache/huggingface/download/{NAME}.metadata", f"{'0' * 40}\n{{git}}\n1767225600.0\n", "download-metadata"),
]


@pytest.mark.parametrize(("name", "content", "origin"), STORES, ids=range(len(STORES)))
def test_a_digest_beside_a_file_is_compared(tmp_path: Path, name: str, content: str, origin: str) -> None:
    write(tmp_path, layers(bf16))
    beside(content)(tmp_path, name)
    report = inspect(tmp_path, values="all")
    assert report.values is not None
    assert [(checksum.matches, checksum.origin) for checksum in report.values.checksums] == [(True, origin)]

    flip(tmp_path / NAME)

    assert codes(tmp_path) == {"QL611"}


def test_files_edited_after_download_are_reported_so(tmp_path: Path) -> None:
    write(tmp_path, layers(bf16))
    beside(f"{'0' * 40}\n{{sha}}\n1000.0\n")(tmp_path, f".cache/huggingface/download/{NAME}.metadata")
    flip(tmp_path / NAME)

    (finding,) = inspect(tmp_path, values="all").findings

    assert "changed after its digest was recorded" in finding.message


def test_ollama_blobs_are_compared_with_their_name(tmp_path: Path) -> None:
    write(tmp_path, {"fc.weight": bf16(gauss(64, 64))})
    blob = tmp_path / f"sha256-{sha256(tmp_path / NAME)}"
    (tmp_path / NAME).rename(blob)
    assert codes(blob) == set()

    flip(blob)

    assert codes(blob) == {"QL611"}


def test_digests_that_cannot_be_read_are_no_findings(tmp_path: Path) -> None:
    write(tmp_path, layers(bf16))
    (tmp_path / f"{NAME}.sha256").write_bytes(b"\xff\xfe not text")
    (tmp_path / "SHA256SUMS").mkdir()
    (tmp_path / f"{NAME}.lfs").write_text("version something else\n")

    report = inspect(tmp_path, values="all")

    assert report.values is not None
    assert report.values.checksums == ()
