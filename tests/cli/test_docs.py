"""What the page on the command line prints was really printed; ``python -m tests.cli.test_docs`` prints it anew."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest
from tests.cli.conftest import INT4_CONFIG, Tensors, write_checkpoint
from tests.consoles import commands, print_anew, printed

from quantlevels.checkpoint.catalogue import CONTAINERS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "command-line.md"
PICTURE = DOCS / "inspect.svg"
COMMANDS = commands(PAGE)

LINEAR = {
    "self_attn.q_proj": (4096, 4096),
    "self_attn.k_proj": (1024, 4096),
    "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096),
    "mlp.gate_proj": (14336, 4096),
    "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336),
}


def write_models(folder: Path) -> Path:
    """Llama-3.1-8B as it is, and as compressed-tensors stores it, packed and a code a byte; files of holes."""
    norms = ("input_layernorm", "post_attention_layernorm")
    rest: Tensors = {
        "model.embed_tokens.weight": ("BF16", (128256, 4096)),
        "lm_head.weight": ("BF16", (128256, 4096)),
        "model.norm.weight": ("BF16", (4096,)),
        **{f"model.layers.{n}.{norm}.weight": ("BF16", (4096,)) for n in range(32) for norm in norms},
    }
    plain, packed, bytewise = dict(rest), dict(rest), dict(rest)
    for layer in range(32):
        for name, (rows, columns) in LINEAR.items():
            module = f"model.layers.{layer}.{name}"
            plain[f"{module}.weight"] = ("BF16", (rows, columns))
            packed[f"{module}.weight_packed"] = ("I32", (rows, columns // 8))
            packed[f"{module}.weight_shape"] = ("I64", (2,))
            bytewise[f"{module}.weight"] = ("I8", (rows, columns))
            for tensors in (packed, bytewise):
                tensors[f"{module}.weight_scale"] = ("BF16", (rows, columns // 128))
    write_checkpoint(folder / "Llama-3.1-8B", plain, {"torch_dtype": "bfloat16"})
    write_checkpoint(folder / "Llama-3.1-8B-W4A16", packed, INT4_CONFIG)
    write_checkpoint(folder / "Llama-3.1-8B-W4A8", bytewise, INT4_CONFIG)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("arguments", COMMANDS)
def test_commands(models: Path, arguments: str) -> None:
    assert printed(models, arguments) == COMMANDS[arguments]


def test_every_container_has_its_row() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(container.name for container in CONTAINERS)


def test_picture(models: Path) -> None:
    printed(models, "inspect Llama-3.1-8B-W4A8 --svg inspect.svg")
    assert (models / "inspect.svg").read_text() == PICTURE.read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str) -> None:
    monkeypatch.setenv("_QUANTLEVELS_COMPLETE", f"{shell}_source")
    if shell == "bash" and sys.platform == "win32":
        pytest.skip("needs bash")
    assert "quantlevels" in printed(tmp_path, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("quantlevels ins", "inspect"),
        ("quantlevels fit --mem", "--memory"),
        ("quantlevels show q4", "Q4_K"),
        ("quantlevels explain ql10", "QL105"),
        ("quantlevels verify out --select QL1,QL20", "QL1,QL206"),
        ("quantlevels translate int4 --to safe", "safetensors"),
        ("quantlevels size out --scheme gp", "gptq"),
        ("quantlevels list --kind code", "codebook"),
    ],
)
def test_words_complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, expected: str) -> None:
    monkeypatch.setenv("_QUANTLEVELS_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert expected in printed(tmp_path, "").split()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = write_models(Path(folder))
        print_anew(PAGE, made)
        printed(made, "inspect Llama-3.1-8B-W4A8 --svg inspect.svg")
        PICTURE.write_text((made / "inspect.svg").read_text())
