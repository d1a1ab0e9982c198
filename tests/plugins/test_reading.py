"""Checkpoints that only a plugin can name: types of a fork of ggml, the method of a quantizer."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

EXAMPLE = Path(__file__).parents[2] / "examples" / "quantlevels-ik"
IQ4_K = 139
ROWS, ROW, NBYTES = 4, 512, 4 * 2 * 144

INSPECT = """
import json, quantlevels
record = quantlevels.inspect("model.gguf").to_record()
answer(stored=record["stored"], findings=record["findings"], declared=record["declared"])
"""

SCHEME = """
from collections.abc import Mapping
from fractions import Fraction
from attrs import frozen
from quantlevels import levels
from quantlevels.scheme import *

@frozen(kw_only=True)
class Config(MethodConfig):
    bits: int

    def general(self):
        return declared_integer(self.bits, None, True)

def fold(module, hint):
    codes = module["acme_codes"]
    return Weight(level=integer(hint.bits), parameters=2 * codes.elements, code_bits=Fraction(4))

CODES = TensorRule("acme_codes", ("UInt8",), "rows packed_columns", role="codes")
SCALE = TensorRule("acme_scale", FLOAT_TYPES, "rows groups", role="scale")
STORAGE = Storage(format="acme-4bit", levels=("Int4",), tensors=(CODES, SCALE), group_size=32, source="acme 1.0")
PACKING = Packing("acme_codes", (), fold, sides=(SCALE,))
ACME = Scheme(method="acme", config=Config, packings=(PACKING,), aliases=("acme-2",), storage=(STORAGE,))
"""


def gguf(tensors: dict[str, tuple[int, tuple[int, ...], int]]) -> bytes:
    """A GGUF of tensors: name → type, dims as the file has them, bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
    offset = 0
    for name, (type_id, dims, nbytes) in tensors.items():
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        head += struct.pack("<IQ", type_id, offset)
        offset += -(-nbytes // 32) * 32
    return head + bytes(-len(head) % 32 + offset)


@pytest.fixture
def model(site: Site) -> Path:
    path = site.path.parent / "model.gguf"
    path.write_bytes(gguf({"blk.0.weight": (IQ4_K, (ROW, ROWS), NBYTES), "norm.weight": (0, (ROW,), 4 * ROW)}))
    return path


def test_a_type_is_named_where_its_plugin_is_installed(site: Site, model: Path) -> None:
    source = (EXAMPLE / "src" / "quantlevels_ik" / "__init__.py").read_bytes()
    site.install("quantlevels-ik", {"IQ4_K": "quantlevels_ik:IQ4_K"}, {"quantlevels_ik/__init__.py": source})
    result = site.run(INSPECT)
    assert result["findings"] == []
    (level,) = (level for level in result["stored"]["levels"] if level["quantized"])
    assert (level["level"], level["parameters"], level["bytes"]) == ("IQ4_K", ROWS * ROW, NBYTES)
    assert level["bits_per_weight"] == 4.5


def test_a_type_without_plugin_has_exact_bytes(site: Site, model: Path) -> None:
    result = site.run(INSPECT)
    (finding,) = result["findings"]
    assert finding["code"] == "QL301"
    assert "139" in finding["message"]
    assert f"{NBYTES:,} bytes" in finding["message"]
    assert "a plugin can name it" in finding["message"]
    assert result["stored"]["tensor_bytes"] == NBYTES + 4 * ROW


def test_a_type_that_two_plugins_claim_is_unknown_too(site: Site, model: Path) -> None:
    site.install_level("a-quant", "One", spellings={"ggml": (IQ4_K,)})
    site.install_level("b-quant", "Two", spellings={"ggml": (IQ4_K,)})
    result = site.run(INSPECT)
    assert [finding["code"] for finding in result["findings"]] == ["QL301"]
    assert "PluginWarning: b-quant[Two]: 'ggml 139' means something else in a-quant[One]" in result.stderr


@pytest.fixture
def folder(site: Site) -> Path:
    folder = site.path.parent / "model"
    folder.mkdir()
    config = {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "acme", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(config))
    header = {"layers.0.acme_codes": {"dtype": "U8", "shape": [8, 16], "data_offsets": [0, 128]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(128))
    return folder


@pytest.mark.parametrize("entry", ["acme", "acme-2"])
def test_a_method_is_understood_where_its_plugin_is_installed(site: Site, folder: Path, entry: str) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"acme"', json.dumps(entry)))
    site.install("acme-quant", {entry: "acme:ACME"}, {"acme.py": SCHEME}, group="quantlevels.schemes")
    result = site.run(INSPECT.replace('"model.gguf"', '"model"'), options=("-W", "error"))
    assert result["findings"] == []
    assert (result["declared"]["method"], result["declared"]["known"]) == ("acme", True)
    assert result["stored"]["quantized_parameters"] == 256


def test_a_plugins_scheme_takes_part_in_size(site: Site) -> None:
    site.install("acme-quant", {"acme": "acme:ACME"}, {"acme.py": SCHEME}, group="quantlevels.schemes")
    result = site.run(
        "from quantlevels import BF16, INT4\n"
        "from quantlevels.container import Tensor\n"
        "from quantlevels.inspection.sizing.sizes import size\n"
        "from quantlevels.inspection.sizing.targets import Target\n"
        "tensors = [Tensor('up.weight', BF16, (64, 128), 16384)]\n"
        "answer(nbytes=[size(tensors, Target(level=INT4, scheme='acme', group_size=group)).nbytes\n"
        "    for group in (None, 64)])"
    )
    assert result["nbytes"] == [64 * 64 + 64 * 4 * 2, 64 * 64 + 64 * 2 * 2]


@pytest.mark.parametrize(
    ("entry", "source", "reason"),
    [
        ("acme", "1 / 0", "ZeroDivisionError"),
        ("acme", "ACME = 1", "has to be a Scheme, and is of type 'int'"),
        ("acme", SCHEME.replace('"acme"', '"other"'), "has to be called 'other'"),
        ("acme", SCHEME.replace('"acme-2"', '"gptq"'), "'gptq', which means a method that comes with quantlevels"),
        ("gptq", "print('imported acme')", "'gptq', which means a method that comes with quantlevels"),
    ],
)
def test_a_method_of_a_broken_plugin_is_unknown(site: Site, folder: Path, entry: str, source: str, reason: str) -> None:
    site.install("acme-quant", {entry: "acme:ACME"}, {"acme.py": source}, group="quantlevels.schemes")
    result = site.run(
        INSPECT.replace('"model.gguf"', '"model"') + "\nlevels.plugins(load=True)\nanswer(reasons=reasons())"
    )
    assert "QL302" in [finding["code"] for finding in result["findings"]]
    assert reason in result["reasons"][f"acme-quant[{entry}]"]
    assert result.imported == []
