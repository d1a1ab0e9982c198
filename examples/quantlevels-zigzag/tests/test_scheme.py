"""What every plugin with a scheme should test: its contract, and small models of each kind it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantlevels import compare, inspect, size
from quantlevels.testing import check_plugin, check_scheme

#: bits → a model: a quantized layer of 32 x 256 weights with a bias, a head and a norm
MODELS = {
    bits: {
        "layers.0.up.zz_codes": ("U8", (32, 256 * bits // 8)),
        "layers.0.up.zz_scales": ("F16", (32, 4)),
        "layers.0.up.bias": ("F16", (32,)),
        "lm_head.weight": ("BF16", (16, 32)),
        "norm.weight": ("BF16", (32,)),
    }
    for bits in (2, 4)
}
PARAMETERS = 32 * 256 + 32 + 16 * 32 + 32


def test_the_contract_of_plugins() -> None:
    check_plugin("quantlevels-zigzag")


@pytest.mark.parametrize("bits", MODELS)
def test_a_small_model_is_read_exactly(bits: int) -> None:
    config = {"quant_method": "zigzag", "bits": bits, "group_size": 64, "skip": ["lm_head"]}
    check_scheme(config, MODELS[bits], parameters=PARAMETERS, levels={f"Int{bits}": 32 * 256})


def test_a_wrong_expectation_is_an_assertion_error() -> None:
    config = {"quant_method": "zigzag", "bits": 4}
    with pytest.raises(AssertionError) as caught:
        check_scheme(config, MODELS[4], parameters=1, levels={"Int8": 32 * 256})
    assert "8,768 parameters are read, not 1" in str(caught.value)
    assert "0 weights are read at Int8, not 8,192" in str(caught.value)


def write(folder: Path, tensors: dict[str, tuple[str, tuple[int, ...]]], config: object = None) -> Path:
    """A model of zeros: its config, and one safetensors file."""
    folder.mkdir()
    if config:
        (folder / "config.json").write_text(json.dumps({"quantization_config": config}))
    header = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin = end
        end += {"U8": 1}.get(dtype, 2) * int.__mul__(*shape, *[1] * (2 - len(shape)))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return folder


def test_codes_without_a_usable_config_are_ambiguous(tmp_path: Path) -> None:
    report = inspect(write(tmp_path / "model", MODELS[4], {"quant_method": "zigzag", "bits": 3}))
    messages = {finding.code: str(finding) for finding in report.findings}
    assert "bits must be 2 or 4, not 3" in messages["QL305"]
    assert "have 2 or 4 bits" in messages["QL303"]
    assert len(messages) == 2


def test_size_and_compare_know_the_scheme(tmp_path: Path) -> None:
    plain = {
        "layers.0.up.weight": ("BF16", (32, 256)),
        "layers.0.up.bias": ("F16", (32,)),
        "lm_head.weight": ("BF16", (16, 32)),
        "norm.weight": ("BF16", (32,)),
    }
    before = write(tmp_path / "before", plain)
    after = write(tmp_path / "after", MODELS[4], {"quant_method": "zigzag", "skip": ["lm_head"]})
    stored = inspect(after).stored
    assert stored is not None
    assert size(before, level="int4", scheme="zigzag").nbytes == stored.tensor_bytes
    assert not compare(before, after).only_before
