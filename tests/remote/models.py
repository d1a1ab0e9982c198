"""Models with headers as large as real ones have, and what reading each may take. Their weights are holes."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from attrs import frozen
from onnx import TensorProto, helper
from tests.checkpoint.writers import BLOCKS, GgmlTensor, ggml_file, nemo, whisper_head, write_mlc
from tests.writers import gguf_text, torch_archive, torch_pickle, write_safetensors

KIB = 1 << 10
MIB = 1 << 20
_CONTAINERS = Path(__file__).parents[1] / "data" / "containers"
_NAME = "model.layers.{}.self_attn.q_proj.weight"


@frozen(kw_only=True)
class Budget:
    """What reading a repository may take of the storage, besides its listing.

    Args:
        requests: to the storage, those for configs included.
        nbytes: bytes of them.
    """

    requests: int
    nbytes: int


@frozen(kw_only=True)
class Model:
    """A repository with one checkpoint.

    Args:
        name: of the repository.
        write: writes it into a folder and says what reading it may take.
    """

    name: str
    write: Callable[[Path], Budget]


def _config(folder: Path) -> int:
    text = '{"torch_dtype": "bfloat16"}'
    (folder / "config.json").write_text(text)
    return len(text)


def _safetensors(folder: Path, tensors: int) -> Budget:
    path = write_safetensors(
        folder / "model.safetensors", {_NAME.format(layer): ("BF16", (8, 8)) for layer in range(tensors)}
    )
    header = int.from_bytes(path.read_bytes()[:8], "little")
    config = _config(folder)
    if header + 8 <= 128 * KIB:
        return Budget(requests=2, nbytes=140_000 + config)
    return Budget(requests=3, nbytes=int(1.02 * header) + 256 * KIB + config)


def _shards(folder: Path) -> Budget:
    shards, shard_of, headers = 24, {}, 0
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        tensors = {f"model.layers.{shard}.mlp.experts.{expert}.up.weight": ("BF16", (8, 8)) for expert in range(700)}
        path = write_safetensors(folder / name, tensors)
        headers += int.from_bytes(path.read_bytes()[:8], "little")
        shard_of |= dict.fromkeys(tensors, name)
    index = json.dumps({"weight_map": shard_of})
    (folder / "model.safetensors.index.json").write_text(index)
    config = _config(folder)
    return Budget(requests=shards + 3, nbytes=headers + len(index) + config + shards * 128 * KIB)


def _gguf(folder: Path, tokens: int) -> Budget:
    vocabulary = b"".join(gguf_text(f"token {number * 7919}") for number in range(tokens))
    # three pairs: the architecture, the vocabulary and its scores
    pairs = gguf_text("general.architecture") + struct.pack("<I", 8) + gguf_text("llama")
    pairs += gguf_text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, tokens) + vocabulary
    pairs += gguf_text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, tokens) + bytes(4 * tokens)
    tensor = gguf_text("token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 64, 1, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 3) + pairs + tensor
    (folder / "model.gguf").write_bytes(header + bytes(-len(header) % 32 + 64 * 64 * 2))
    more = max(0, len(header) - 8 * MIB)
    return Budget(requests=6 + -(-more // (4 * MIB)), nbytes=int(1.5 * len(header)) + 512 * KIB)


def _onnx(folder: Path) -> Budget:
    payloads = 40
    weights = [np.zeros((256, 256), np.float32) for _ in range(payloads)]
    initializers = [
        helper.make_tensor(f"w{number}", TensorProto.FLOAT, [256, 256], value.tobytes(), raw=True)
        for number, value in enumerate(weights)
    ]
    graph = helper.make_graph([], "g", [], [], initializers)
    (folder / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    return Budget(requests=3 + payloads, nbytes=(3 + payloads) * 64 * KIB + 64 * KIB + _config(folder))


def _torch(folder: Path) -> Budget:
    pickled, storages = torch_pickle({f"layers.{number}.w": ("HalfStorage", (64, 64)) for number in range(3000)})
    archive = torch_archive(pickled, storages)
    (folder / "pytorch_model.bin").write_bytes(archive)
    directory = len(storages) * 70
    return Budget(requests=4 + 1, nbytes=192 * KIB + directory + len(pickled) + _config(folder))


def _ctranslate2(folder: Path) -> Budget:
    payloads = 30

    def text(value: str) -> bytes:
        raw = value.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    variables = b"".join(
        text(f"decoder/layer_{number}/weight") + struct.pack("<BIIBI", 2, 512, 512, 1, 512 * 512) + bytes(512 * 512)
        for number in range(payloads)
    )
    head = struct.pack("<I", 6) + text("TransformerSpec") + struct.pack("<II", 7, payloads)
    (folder / "model.bin").write_bytes(head + variables + struct.pack("<I", 0))
    return Budget(requests=3 + payloads, nbytes=(3 + payloads) * 64 * KIB + 64 * KIB + _config(folder))


def _legacy_ggml(folder: Path) -> Budget:
    payloads = 30
    tensors = [
        GgmlTensor(name=f"tensor.{number}", type=1, shape=(512, 256), block=BLOCKS[1]) for number in range(payloads)
    ]
    embedding = GgmlTensor(name="embedding", type=1, shape=(5, 256), block=BLOCKS[1])
    (folder / "ggml-model.bin").write_bytes(ggml_file(whisper_head(1), [embedding, *tensors]))
    return Budget(requests=3 + payloads, nbytes=(3 + payloads) * 64 * KIB + 64 * KIB)


def _npz(folder: Path) -> Budget:
    payloads = 20
    with zipfile.ZipFile(folder / "weights.npz", "w") as archive:
        for number in range(payloads):
            with archive.open(f"layers.{number}.npy", "w") as file:
                np.save(file, np.zeros((512, 512), np.float16))
    return Budget(requests=4 + payloads, nbytes=(3 + payloads) * 64 * KIB + 128 * KIB + _config(folder))


def _openvino(folder: Path) -> Budget:
    layers = "".join(
        f'<layer id="{number}" name="{_NAME.format(number)}" type="Const" version="opset1">'
        f'<data element_type="f16" shape="64, 64" offset="{number * 8192}" size="8192"/>'
        '<output><port id="0" precision="FP16"><dim>64</dim><dim>64</dim></port></output></layer>'
        for number in range(2000)
    )
    graph = f'<?xml version="1.0"?><net name="m" version="11"><layers>{layers}</layers><edges></edges></net>'
    (folder / "openvino_model.xml").write_text(graph)
    with (folder / "openvino_model.bin").open("wb") as file:
        file.truncate(2000 * 8192)
    return Budget(requests=4, nbytes=len(graph) + 128 * KIB + _config(folder))


def _mlc(folder: Path) -> Budget:
    arrays: Mapping[str, tuple[str, tuple[int, int], int, str]] = {
        f"model.layers.{number}.mlp.up_proj.weight": ("float16", (64, 64), 2, "raw") for number in range(2000)
    }
    write_mlc(folder, arrays, name="ndarray-cache.json")
    config = json.dumps({"quantization": "q0f16"})
    (folder / "mlc-chat-config.json").write_text(config)
    cache = (folder / "ndarray-cache.json").stat().st_size
    return Budget(requests=4, nbytes=cache + 128 * KIB + len(config))


def _distributed(folder: Path) -> Budget:
    shutil.copytree(_CONTAINERS / "dcp" / "nested", folder, dirs_exist_ok=True)
    return Budget(requests=2, nbytes=(folder / ".metadata").stat().st_size + 2 * KIB)


def _nemo(folder: Path) -> Budget:
    pickled, storages = torch_pickle({f"layers.{number}.w": ("HalfStorage", (64, 64)) for number in range(3000)})
    (folder / "model.nemo").write_bytes(nemo(torch_archive(pickled, storages)))
    return Budget(requests=5, nbytes=320 * KIB + len(storages) * 70 + len(pickled))


#: The first eight are the budgets of the project; the others take what their formats need at least, and little more.
MODELS = (
    Model(name="safetensors-18kB", write=lambda folder: _safetensors(folder, 180)),
    Model(name="safetensors-1MB", write=lambda folder: _safetensors(folder, 10_000)),
    Model(name="safetensors-10MB", write=lambda folder: _safetensors(folder, 100_000)),
    Model(name="safetensors-24-shards", write=_shards),
    Model(name="gguf-8MB", write=lambda folder: _gguf(folder, 262_144)),
    Model(name="gguf-20MB", write=lambda folder: _gguf(folder, 720_000)),
    Model(name="onnx", write=_onnx),
    Model(name="pytorch", write=_torch),
    Model(name="ctranslate2", write=_ctranslate2),
    Model(name="openvino", write=_openvino),
    Model(name="npz", write=_npz),
    Model(name="mlc", write=_mlc),
    Model(name="distributed", write=_distributed),
    Model(name="ggml", write=_legacy_ggml),
    Model(name="nemo", write=_nemo),
)
