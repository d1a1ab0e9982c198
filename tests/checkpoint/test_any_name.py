"""Every container, read or only named, whole, cut and under another's name: the right answer or one clear line."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest
from tests.checkpoint.writers import BLOCKS, GgmlTensor, ggml_file, llama_head, nemo, whisper_head, write_mlc

from quantlevels import CheckpointError, inspect

DATA = Path(__file__).parents[1] / "data"
CONTAINERS = DATA / "containers"
SUFFIXES = (
    *("", ".safetensors", ".gguf", ".onnx", ".pt", ".bin", ".npz", ".npy", ".xml", ".nemo", ".json"),
    *(".h5", ".keras", ".tflite", ".task", ".pte", ".engine", ".msgpack", ".mnn", ".param", ".pb", ".llamafile", ".x"),
    *(".pth", ".ckpt", ".hdf5", ".litertlm", ".mlmodel", ".plan", ".trt", ".ncnn.bin", ".distcp", ".metadata", ".tar"),
)
SHARES = (0.0, 0.001, 0.05, 0.3, 0.6, 0.95, 0.999)
EMBEDDING = GgmlTensor(name="embedding", type=1, shape=(5, 256), block=BLOCKS[1])
QUANTIZED = GgmlTensor(name="matrix", type=8, shape=(4, 256), block=BLOCKS[8])
TORCH_FILE = min((DATA / "pytorch").rglob("*.pt"))


def zipped(*names: str) -> bytes:
    """A zip archive of small files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return out.getvalue()


#: the list of an MLC model, whose shard is missing here
MLC_LIST = (
    '{"metadata": {"ParamSize": 1, "ParamBytes": 64.0, "BitsPerParam": 16.0}, "records": [{"dataPath": '
    '"params_shard_0.bin", "format": "raw-shard", "nbytes": 64, "records": [{"name": "w", "shape": [4, 8], '
    '"dtype": "float16", "format": "f32-to-bf16", "nbytes": 64, "byteOffset": 0}]}]}'
)
#: what is read whatever its name is: the name it has, and its content
READ: dict[str, tuple[str, bytes]] = {
    "ctranslate2": ("model.bin", (CONTAINERS / "ctranslate2/int8/model.bin").read_bytes()),
    "openvino": ("openvino_model.xml", (CONTAINERS / "openvino/int4_sym/openvino_model.xml").read_bytes()),
    "npz": ("weights.npz", (CONTAINERS / "npz/q4_g64/weights.npz").read_bytes()),
    "compressed npz": ("weights.npz", (CONTAINERS / "npz/compressed/weights.npz").read_bytes()),
    "npy": ("array.npy", (CONTAINERS / "npz/array.npy").read_bytes()),
    "distributed": (".metadata", (CONTAINERS / "dcp/nested/.metadata").read_bytes()),
    "whisper.cpp": ("ggml-model.bin", ggml_file(whisper_head(2007), [EMBEDDING, QUANTIZED])),
    "ggjt": ("ggml-model.bin", ggml_file(llama_head(b"tjgg", 3, 2), [EMBEDDING, QUANTIZED], 32)),
    "ggmf": ("ggml-model.bin", ggml_file(llama_head(b"fmgg", 1, 2), [EMBEDDING])),
    "ggml": ("ggml-model.bin", ggml_file(llama_head(b"lmgg", None, 2), [EMBEDDING])),
    "mlc": ("tensor-cache.json", MLC_LIST.encode()),
    "older mlc": ("ndarray-cache.json", json.dumps(json.loads(MLC_LIST), indent=2).encode()),
}
#: what is refused whatever its name is: a name it may have, its content, and what the error calls it
NAMED: dict[str, tuple[str, bytes, str]] = {
    "LiteRT": ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "a LiteRT (TensorFlow Lite) model"),
    "LiteRT-LM": (
        "model.litertlm",
        b"LITERTLM" + struct.pack("<IIIIQ", 1, 4, 0, 0, 128) + bytes(96),
        "a LiteRT (TensorFlow Lite) model",
    ),
    "ExecuTorch": ("model.pte", b"\x30\0\0\0ET12" + bytes(64), "an ExecuTorch program"),
    "HDF5": ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "llamafile": ("model.llamafile", b"MZqFpD='\n" + bytes(64), "a llamafile"),
    "Keras": ("model.keras", zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras archive"),
    "TensorRT": ("model.engine", b"ftrt" + bytes(64), "a TensorRT engine"),
    "ncnn": ("model.ncnn.param", b"7767517\n2 2\nInput in0 0 1 in0\nInnerProduct fc 1 1 in0 out0\n", "an ncnn model"),
}
#: what its name alone tells
BY_NAME: dict[str, tuple[str, bytes, str]] = {
    **NAMED,
    "MediaPipe": ("model.task", zipped("TF_LITE_PREFILL_DECODE"), "a LiteRT (TensorFlow Lite) model"),
    "a part": ("__0_0.distcp", (CONTAINERS / "dcp/nested/__0_0.distcp").read_bytes(), "a part of a distributed"),
    "Core ML": ("model.mlmodel", b"\x08\x07\x12\x20\n\x10\n\x05input" + bytes(64), "a Core ML model"),
    "plan of TensorRT": ("model.plan", b"ptrt" + bytes(64), "a TensorRT engine"),
    "Flax": ("flax_model.msgpack", b"\x81\xa6params" + bytes(64), "Flax weights in msgpack"),
    "TensorFlow": ("saved_model.pb", b"\x08\x01\x12\xd5\x03" + bytes(64), "a TensorFlow model"),
    "variables of TensorFlow": ("variables.data-00000-of-00001", bytes(64), "a TensorFlow model"),
    "index of TensorFlow": ("model.ckpt.index", bytes(64), "a TensorFlow model"),
    "weights of ncnn": ("model.ncnn.bin", struct.pack("<I", 0x01306B47) + bytes(64), "an ncnn model"),
    "MNN": ("model.mnn", struct.pack("<I", 32) + bytes(64), "an MNN model"),
    "weights of MNN": ("model.mnn.weight", bytes(64), "an MNN model"),
    "Orbax": ("manifest.ocdbt", bytes(64), "an Orbax checkpoint"),
}


def line(path: Path) -> str:
    """The error of a file, which must be one line that begins with its name."""
    with pytest.raises(CheckpointError) as caught:
        inspect(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 300
    return text


def test_a_zipped_folder_of_a_model_is_not_taken_for_keras(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(zipped("config.json", "model.safetensors"))
    assert "Keras" not in line(path)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_first_bytes_decide_against_the_name(tmp_path: Path, kind: str, suffix: str) -> None:
    name, content = READ[kind]
    (tmp_path / name).write_bytes(content)
    other = tmp_path / f"other{suffix}"
    other.write_bytes(content)
    right, found = inspect(tmp_path / name), inspect(other)
    assert found.format == right.format
    assert found.stored == right.stored


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("share", SHARES)
def test_a_file_that_is_cut_is_one_clear_line(tmp_path: Path, kind: str, share: float) -> None:
    name, content = READ[kind]
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    line(path)


@pytest.mark.parametrize("kind", BY_NAME)
@pytest.mark.parametrize("share", [*SHARES, 1.0])
def test_a_format_that_is_not_read_is_named_even_if_cut(tmp_path: Path, kind: str, share: float) -> None:
    name, content, format = BY_NAME[kind]
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    assert f"is {format}" in line(path)
    assert "a format that quantlevels does not read; " in line(path)


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".json", ".xml")])
def test_a_format_that_is_not_read_is_never_read_as_another(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(NAMED[kind][1])
    line(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_nemo_archive_is_found_by_its_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(nemo(TORCH_FILE.read_bytes()))
    assert inspect(path).format == "nemo"


@pytest.mark.parametrize("kept", [0, 1, 3, 300, 1100, 2000])
def test_a_nemo_archive_that_is_cut_is_one_clear_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.nemo"
    path.write_bytes(nemo(TORCH_FILE.read_bytes())[:kept])
    line(path)


@pytest.mark.parametrize("share", SHARES)
def test_a_list_of_mlc_that_is_cut_is_one_clear_line(tmp_path: Path, share: float) -> None:
    folder = write_mlc(tmp_path, {"w": ("float16", (4, 8), 2, "raw")}, name="tensor-cache.json")
    path = folder / "tensor-cache.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    line(path)


def test_bare_bytes_name_the_file_that_describes_them(tmp_path: Path) -> None:
    folder = write_mlc(tmp_path, {"w": ("float16", (4, 8), 2, "raw")}, name="tensor-cache.json")
    assert "holds the bytes of an MLC model; name the tensor-cache.json" in line(folder / "params_shard_0.bin")
    assert "holds the bytes of an OpenVINO model; name the .xml" in line(
        CONTAINERS / "openvino/int4_sym/openvino_model.bin"
    )


FOLDERS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "Core ML": ("model.mlpackage", ("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "a Core ML model"),
    "SavedModel": ("model", ("saved_model.pb", "variables/variables.data-00000-of-00001"), "a TensorFlow model"),
    "Orbax": ("model", ("_CHECKPOINT_METADATA", "manifest.ocdbt", "d/0"), "an Orbax checkpoint"),
    "Flax": ("model", ("config.json", "flax_model.msgpack"), "Flax weights in msgpack"),
    "Keras": ("model", ("config.json", "model.keras"), "a Keras archive"),
    "ncnn": ("model", ("model.ncnn.param", "model.ncnn.bin"), "an ncnn model"),
    "TensorRT-LLM": ("model", ("config.json", "rank0.engine"), "a TensorRT engine"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_a_format_that_is_not_read_is_ql207(tmp_path: Path, kind: str) -> None:
    folder, names, format = FOLDERS[kind]
    for name in names:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}" if name.endswith(".json") else b"\x08\x01")
    report = inspect(tmp_path / folder)
    assert report.stored is None
    messages = [finding.message for finding in report.findings if finding.code == "QL207"]
    assert [format in message for message in messages] == [True]
