"""Stores of models as programs lay them out, with small models of zeros, and the rows that a survey has to give."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from attrs import field, frozen
from tests.writers import gguf, safetensors, write_safetensors

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40
PLAIN = {"model.layers.0.mlp.up_proj.weight": ("BF16", (8, 64)), "model.norm.weight": ("BF16", (64,))}
PLAIN_CONFIG = {"model_type": "llama", "torch_dtype": "bfloat16"}
PLAIN_PARAMETERS = 8 * 64 + 64
#: number of a ggml type → bytes of a GGUF with one matrix of it
Q4_0, Q8_0 = (gguf({"blk.0.ffn_up.weight": (number, (8, 64))}) for number in (2, 8))


@frozen(kw_only=True)
class Expected:
    """What a row has to say."""

    store: str
    name: str
    path: Path
    revision: str | None = None
    parameters: int | None = None
    error: str | None = None
    findings: frozenset[str] = field(default=frozenset(), converter=frozenset)
    same: bool = False


def write_plain(folder: Path) -> Path:
    """A safetensors checkpoint of a few BF16 weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(PLAIN_CONFIG))
    write_safetensors(folder / "model.safetensors", PLAIN)
    return folder


def write_tree(root: Path) -> list[Expected]:
    """Plain folders: nested, broken, linked in a circle, with the same file twice."""

    def row(name: str, **more: object) -> Expected:
        return Expected(store="tree", name=name, path=root / name, **more)  # type: ignore[arg-type]

    write_plain(root / "team/plain")
    (root / "loose.gguf").write_bytes(Q4_0)
    (root / "several").mkdir()
    (root / "several/a.gguf").write_bytes(Q4_0)
    (root / "several/b.gguf").write_bytes(Q8_0)
    (root / "twice").mkdir()
    os.link(root / "team/plain/model.safetensors", root / "twice/model.safetensors")
    truncated = write_plain(root / "truncated") / "model.safetensors"
    os.truncate(truncated, truncated.stat().st_size // 2)
    (root / "dangling").mkdir()
    (root / "dangling/config.json").write_text(json.dumps(PLAIN_CONFIG))
    (root / "dangling/model.safetensors").symlink_to("../nowhere/model.safetensors")
    (root / "nothing").mkdir()
    (root / "nothing/data.bin").write_bytes(bytes(100))
    (root / "nothing/package.json").write_text("{}")
    (root / "circle").symlink_to(".")
    (root / ".git").mkdir()
    (root / ".git/hidden.gguf").write_bytes(Q4_0)
    return [
        row("team/plain", parameters=PLAIN_PARAMETERS),
        row("loose.gguf", parameters=8 * 64),
        row("several/a.gguf", parameters=8 * 64),
        row("several/b.gguf", parameters=8 * 64),
        row("twice", parameters=PLAIN_PARAMETERS, same=True),
        row("truncated", error="truncated"),
        row("dangling", findings=[]),
    ]


def write_hub(root: Path) -> list[Expected]:
    """The cache of huggingface_hub: links into blobs, two revisions of the same bytes, a download that never ended."""

    def snapshot(name: str, commit: str, files: dict[str, bytes]) -> Path:
        repository = root / f"models--{name.replace('/', '--')}"
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        (repository / "blobs").mkdir(exist_ok=True)
        for file, content in files.items():
            blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (folder / file).symlink_to(os.path.relpath(blob, folder))
        return folder

    root.mkdir(parents=True)
    plain = {
        "config.json": json.dumps(PLAIN_CONFIG).encode(),
        "model.safetensors": safetensors(PLAIN),
    }
    first = snapshot("acme/tiny", COMMIT, plain)
    second = snapshot("acme/tiny", OTHER_COMMIT, plain)
    two = snapshot("acme/two-files", COMMIT, {"tiny-Q4_0.gguf": Q4_0, "tiny-Q8_0.gguf": Q8_0})
    unfinished = snapshot("acme/unfinished", COMMIT, {**plain, "model.safetensors": b"unfinished"})
    blob = (unfinished / "model.safetensors").resolve()
    blob.rename(f"{blob}.incomplete")
    snapshot("acme/tokenizer", COMMIT, {"tokenizer.json": b"{}"})
    (root / "datasets--acme--texts/snapshots" / COMMIT).mkdir(parents=True)
    (root / "datasets--acme--texts/snapshots" / COMMIT / "part.bin").write_bytes(bytes(10))
    rows = [
        Expected(store="huggingface", name="acme/tiny", path=first, revision=COMMIT, parameters=PLAIN_PARAMETERS),
        Expected(
            store="huggingface", name="acme/tiny", path=second, revision=OTHER_COMMIT, parameters=PLAIN_PARAMETERS,
            same=True,
        ),
        Expected(store="huggingface", name="acme/unfinished", path=unfinished, revision=COMMIT, findings=[]),
    ]  # fmt: skip
    names = ("tiny-Q4_0.gguf", "tiny-Q8_0.gguf")
    return rows + [
        Expected(
            store="huggingface", name=f"acme/two-files/{name}", path=two / name, revision=COMMIT, parameters=8 * 64
        )
        for name in names
    ]


def write_ollama(root: Path) -> list[Expected]:
    """Manifests and blobs of Ollama: two tags of one blob, a blob that is gone, a digest that leads elsewhere."""
    (root / "blobs").mkdir(parents=True)
    digests = {content: f"sha256:{hashlib.sha256(content).hexdigest()}" for content in (Q4_0, Q8_0)}
    for content, digest in digests.items():
        (root / "blobs" / digest.replace(":", "-")).write_bytes(content)
    (root / "blobs" / f"sha256-{'1' * 64}-partial").write_bytes(bytes(10))
    rows: list[Expected] = []

    def add(place: str, digest: str, name: str, **more: object) -> None:
        manifest = root / "manifests" / place
        manifest.parent.mkdir(parents=True, exist_ok=True)
        layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": 10}
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
        path = manifest if "error" in more else root / "blobs" / digest.replace(":", "-")
        more.setdefault("revision", digest)
        rows.append(Expected(store="ollama", name=name, path=path, **more))  # type: ignore[arg-type]

    add("registry.ollama.ai/library/tiny/latest", digests[Q4_0], "tiny:latest", parameters=8 * 64)
    add("registry.ollama.ai/library/tiny/1b", digests[Q4_0], "tiny:1b", parameters=8 * 64, same=True)
    add("registry.ollama.ai/ann/tiny/q8_0", digests[Q8_0], "ann/tiny:q8_0", parameters=8 * 64, same=True)
    add("hf.co/acme/Tiny-GGUF/Q8_0", digests[Q8_0], "hf.co/acme/Tiny-GGUF:Q8_0", parameters=8 * 64)
    gone = f"sha256:{'0' * 64}"
    add("registry.ollama.ai/library/gone/latest", gone, "gone:latest", error="blob is missing")
    elsewhere = "sha256:../../../etc/passwd"
    add("registry.ollama.ai/library/bad/latest", elsewhere, "bad:latest", error="digest", revision=None)
    broken = root / "manifests/registry.ollama.ai/library/broken/latest"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"layers": [')
    rows.append(Expected(store="ollama", name="broken:latest", path=broken, error="not valid JSON"))
    return rows


def write_lmstudio(root: Path) -> list[Expected]:
    """LM Studio: publishers, their models, a projector, a download, a virtual model of its hub."""
    models = root / "models"
    folder = models / "acme/Tiny-GGUF"
    folder.mkdir(parents=True)
    (folder / "Tiny-Q4_0.gguf").write_bytes(Q4_0)
    (folder / "Tiny-Q8_0.gguf").write_bytes(Q8_0)
    (folder / "mmproj-Tiny.gguf").write_bytes(Q8_0)
    (folder / "downloading_Tiny.gguf.part").write_bytes(b"GGUF")
    write_plain(models / "acme/tiny-mlx")
    (root / "hub/models/acme/tiny").mkdir(parents=True)
    names = ("acme/Tiny-GGUF/Tiny-Q4_0.gguf", "acme/Tiny-GGUF/Tiny-Q8_0.gguf")
    rows = [Expected(store="lmstudio", name=name, path=models / name, parameters=8 * 64) for name in names]
    name = "acme/tiny-mlx"
    return [*rows, Expected(store="lmstudio", name=name, path=models / name, parameters=PLAIN_PARAMETERS)]


def write_llamacpp(root: Path) -> list[Expected]:
    """The flat cache of llama.cpp: each file with its tag beside it."""
    root.mkdir()
    name = "acme_Tiny-GGUF_Tiny-Q4_0.gguf"
    (root / name).write_bytes(Q4_0)
    (root / f"{name}.etag").write_text('"0"')
    (root / "acme_Tiny-GGUF_Tiny-Q8_0.gguf.downloadInProgress").write_bytes(Q8_0[:100])
    return [Expected(store="llamacpp", name=name, path=root / name, parameters=8 * 64)]


def write_docker(root: Path) -> list[Expected]:
    """Docker Model Runner: a list of models, manifests and blobs."""
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True)
    digest = hashlib.sha256(Q4_0).hexdigest()
    (blobs / digest).write_bytes(Q4_0)
    identity = f"sha256:{'c' * 64}"
    model = {"id": identity, "tags": ["index.docker.io/ai/tiny:Q4_0"], "files": [f"sha256:{digest}"]}
    (root / "models.json").write_text(json.dumps({"models": [model]}))
    (root / "layout.json").write_text('{"version": "1.0.0"}')
    return [Expected(store="docker", name="ai/tiny:Q4_0", path=blobs / digest, revision=identity, parameters=8 * 64)]


STORES = {
    "tree": write_tree,
    "hub": write_hub,
    "ollama": write_ollama,
    "lmstudio": write_lmstudio,
    "llamacpp": write_llamacpp,
    "docker": write_docker,
}


def write_fleet(folder: Path) -> Path:
    """A few models as a team has them: quantized, plain, one whose config is stale, one file twice, one cut short."""
    models = folder / "models"
    module = "model.layers.0.mlp.up_proj"
    packed = {
        f"{module}.weight_packed": ("I32", (256, 32)),
        f"{module}.weight_scale": ("BF16", (256, 2)),
        f"{module}.weight_shape": ("I64", (2,)),
        "model.embed_tokens.weight": ("BF16", (128, 256)),
    }
    plain = {f"{module}.weight": ("BF16", (256, 256)), "model.embed_tokens.weight": ("BF16", (128, 256))}
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    compressed = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }
    for name, tensors, quantization in (
        ("base", plain, None),
        ("served-w4a16", packed, compressed),
        ("stale-config", plain, gptq),
    ):
        (models / name).mkdir(parents=True)
        config = {**PLAIN_CONFIG, **({"quantization_config": quantization} if quantization else {})}
        (models / name / "config.json").write_text(json.dumps(config))
        write_safetensors(models / name / "model.safetensors", tensors)
    (models / "laptop").mkdir()
    for level, number in (("Q4_0", 2), ("Q8_0", 8)):
        content = gguf({"blk.0.ffn_up.weight": (number, (256, 256)), "token_embd.weight": (number, (128, 256))})
        (models / f"laptop/small-{level}.gguf").write_bytes(content)
    return models
