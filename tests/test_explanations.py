"""Every finding is explained, and the example of each is what is printed of a small checkpoint that has it.

``python -m tests.test_explanations`` has the examples printed anew.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.values import examples as values
from tests.writers import gguf, safetensors

from quantlevels.cli.program import run
from quantlevels.findings import CODES
from quantlevels.inspection.explanations import explanation

if TYPE_CHECKING:
    from tests.writers import Tensors

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "src/quantlevels/inspection/explanations.md"
PUBLISHED = ROOT / "docs/findings.md"  # a copy: sites do not show what a link in a repository leads to

UP, DOWN = "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"
EMBEDDING = {"model.embed_tokens.weight": ("BF16", [32, 128])}
PLAIN = {**EMBEDDING, f"{UP}.weight": ("BF16", [256, 128])}
BYTES = {f"{UP}.weight": ("I8", [256, 128]), f"{UP}.weight_scale": ("BF16", [256, 1])}
PACKED = {
    f"{UP}.weight_packed": ("I32", [256, 32]),
    f"{UP}.weight_scale": ("BF16", [256, 2]),
    f"{UP}.weight_shape": ("I64", [2]),
}
E5M2 = {f"{UP}.weight": ("F8_E5M2", [256, 128]), f"{UP}.weight_scale": ("BF16", [256, 1])}
GPTQ = {f"{UP}.qweight": ("I32", [16, 256]), f"{UP}.qzeros": ("I32", [1, 32]), f"{UP}.scales": ("F16", [1, 256])}
GROUPS_OF_128 = {
    f"{UP}.qweight": ("I32", [32, 256]),
    f"{UP}.qzeros": ("I32", [2, 32]),
    f"{UP}.scales": ("F16", [2, 256]),
}
MLX = {f"{UP}.weight": ("U32", [256, 16]), **{f"{UP}.{side}": ("BF16", [256, 2]) for side in ("scales", "biases")}}
BLOCK = {"blk.0.ffn_up.weight": (12, [256, 256]), "blk.0.attn_v.weight": (14, [64, 256])}


def write(folder: Path, tensors: Tensors, config: object = None, metadata: Mapping[str, str] | None = None) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(tensors, metadata))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


def compressed(bits: int, **more: object) -> object:
    weights = {"num_bits": bits, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups, **more}}


def gptq(**more: object) -> object:
    return {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128, **more}}


def shards(folder: Path, placed: Mapping[str, str], *there: str, size: int = 73_728, cut: int = 0) -> None:
    """An index that places tensors in shards, and the shards with theirs and the embedding."""
    index = {"metadata": {"total_size": size}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in there:
        content = safetensors(
            {tensor: PLAIN[tensor] for tensor in placed if placed[tensor] == name and tensor in PLAIN}
        )
        (folder / name).write_bytes(content[: len(content) - cut])


def float8() -> object:
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}


def sidecar(folder: Path) -> None:
    write(folder, {**EMBEDDING, **GPTQ}, gptq())
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 8, "group_size": 128, "desc_act": False}))


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
PLACED = {"model.embed_tokens.weight": FIRST, f"{UP}.weight": SECOND}


def repeated(folder: Path) -> None:
    shards(folder, PLACED, FIRST, SECOND, size=81_920)
    (folder / FIRST).write_bytes(safetensors(PLAIN))


def stray(folder: Path) -> None:
    write(folder, PLAIN)
    (folder / "consolidated.safetensors").write_bytes(safetensors(PLAIN))


def lora(folder: Path) -> None:
    tensors = {f"{UP}.lora_A.weight": ("F32", [8, 128]), f"{UP}.lora_B.weight": ("F32", [256, 8])}
    (folder / "adapter_model.safetensors").write_bytes(safetensors(tensors))


def pipeline(folder: Path) -> None:
    """What sentence-transformers writes: an encoder, and a dense layer in a folder of its own."""
    write(folder, PLAIN, {"dtype": "bfloat16"})
    kinds = {"": "Transformer", "2_Dense": "Dense"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    write(folder / "2_Dense", {"linear.weight": ("F32", [64, 128])}, {"in_features": 128, "out_features": 64})


#: code → what writes a checkpoint with that finding
CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "QL101": lambda folder: write(folder, {**EMBEDDING, **BYTES}, compressed(4)),
    "QL102": lambda folder: write(folder, {**EMBEDDING, **PACKED}, compressed(8)),
    "QL103": lambda folder: write(folder, PLAIN, compressed(4)),
    "QL104": lambda folder: write(folder, {**EMBEDDING, **GPTQ}),
    "QL105": lambda folder: write(folder, PLAIN, {"dtype": "float32"}),
    "QL106": lambda folder: (folder / "model-Q8_0.gguf").write_bytes(gguf(BLOCK, {"general.file_type": 7})),
    "QL107": lambda folder: write(folder, {**EMBEDDING, **GPTQ}, gptq(), {"total_parameters": "8448"}),
    "QL108": lambda folder: write(folder, {**EMBEDDING, **PACKED}, compressed(4, ignore=["re:.*up_proj"])),
    "QL109": lambda folder: write(
        folder,
        {**MLX, f"{DOWN}.weight": ("BF16", [128, 256])},
        {"quantization": {"group_size": 64, "bits": 4, DOWN: {"group_size": 64, "bits": 8}}},
    ),
    "QL110": lambda folder: (folder / "model.gguf").write_bytes(
        gguf({"blk.0.attn_q.weight": (6, [288, 288])}, {"general.file_type": 15})
    ),
    "QL111": lambda folder: write(folder, {**EMBEDDING, **E5M2}, float8()),
    "QL112": lambda folder: write(folder, {**EMBEDDING, **GROUPS_OF_128}, gptq(group_size=64)),
    "QL113": sidecar,
    "QL114": lambda folder: (folder / "model-IQ3_M.gguf").write_bytes(
        gguf({"blk.0.attn_q.weight": (12, [256, 256])}, {"general.file_type": 15})
    ),
    "QL115": lambda folder: write(folder, PLAIN, {"dtype": "bfloat16", "num_hidden_layers": 28}),
    "QL201": lambda folder: shards(folder, PLACED, FIRST),
    "QL202": lambda folder: shards(folder, {**PLACED, "model.norm.weight": SECOND}, FIRST, SECOND),
    "QL203": repeated,
    "QL204": lambda folder: shards(folder, PLACED, FIRST, SECOND, size=147_456),
    "QL205": stray,
    "QL206": lambda folder: shards(folder, PLACED, FIRST, SECOND, cut=4096),
    "QL207": lambda folder: write(folder, {}),
    "QL301": lambda folder: write(folder, PLAIN, {"dtype": "float12"}),
    "QL302": lambda folder: write(folder, PLAIN, {"quantization_config": {"quant_method": "acme", "bits": 4}}),
    "QL303": lambda folder: write(folder, {**EMBEDDING, **MLX}),
    "QL304": lambda folder: write(folder, {**EMBEDDING, f"{UP}.packed_words": ("I32", [256, 16])}),
    "QL305": lambda folder: write(folder, PLAIN, {"quantization_config": {"quant_method": "gptq", "bits": 17}}),
    "QL306": lambda folder: write(folder, {**EMBEDDING, **GPTQ}, gptq(grup_size=64)),
    "QL401": lora,
    "QL402": pipeline,
    "QL501": lambda folder: write(folder, {**EMBEDDING, **GPTQ}, gptq()),
    "QL502": lambda folder: write(folder, {**EMBEDDING, **GPTQ}, gptq()),
    "QL503": lambda folder: write(folder, {**EMBEDDING, **GPTQ}, gptq()),
    **values.CHECKPOINTS,
}
EXPECTED = {
    "QL501": ["--level", "Int8"],
    "QL502": ["--max-bits-per-weight", "5"],
    "QL503": ["--parameters", "8.03B"],
    **dict.fromkeys(values.CHECKPOINTS, values.OPTIONS),
}


def printed(code: str) -> str:
    """The line on a finding that ``quantlevels verify`` prints of a checkpoint that has it."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as out:
        CHECKPOINTS[code](Path(folder))
        assert run(["verify", folder, "--strict", *EXPECTED.get(code, [])]) == (CODES[code][1] != "info")
    return next(line for line in out.getvalue().splitlines() if line.startswith(f"{code} "))


@pytest.mark.parametrize("code", CHECKPOINTS)
def test_examples_are_what_is_printed(code: str) -> None:
    assert f"\n\n    {printed(code)}\n\n" in explanation(code)


def test_every_finding_has_an_example() -> None:
    assert set(CHECKPOINTS) == set(CODES)


def test_the_docs_hold_the_page_that_explain_prints() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == text
    assert re.findall(r"^## (\S+)", text, re.MULTILINE) == list(CODES)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    anew = re.sub(r"^    (QL\d+)\b.*$", lambda found: f"    {printed(found[1])}", text, flags=re.MULTILINE)
    PAGE.write_text(anew, encoding="utf-8")
    PUBLISHED.write_text(anew, encoding="utf-8")
