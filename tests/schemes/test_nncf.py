"""What NNCF and Optimum claim of an OpenVINO model, against what it stores."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from quantlevels import Inspection, inspect
from quantlevels.scheme import DeclaredLevel

OPENVINO = Path(__file__).parents[1] / "data/containers/openvino"


def declared_levels(report: Inspection) -> list[tuple[str, int | None, bool | None]]:
    assert report.declared is not None
    return [(level.level.name, level.group_size, level.symmetric) for level in report.declared.levels]


def codes(report: Inspection) -> list[str]:
    return [finding.code for finding in report.findings]


def claiming(folder: Path, name: str, **claims: str) -> Path:
    """A copy of a model of NNCF with other values of its claims."""
    copy = folder / name
    shutil.copytree(OPENVINO / name, copy)
    xml = copy / "openvino_model.xml"
    text = xml.read_text()
    for key, value in claims.items():
        text, count = re.subn(rf'<{key} value="[^"]*"', f'<{key} value="{value}"', text)
        assert count == 1
    xml.write_text(text)
    return copy


def configured(folder: Path, name: str, config: dict[str, Any]) -> Path:
    """A copy of a model with a config as Optimum writes it."""
    copy = folder / name
    shutil.copytree(OPENVINO / name, copy)
    (copy / "openvino_config.json").write_text(json.dumps({"dtype": "int4", "quantization_config": config}))
    return copy


DECLARED: dict[str, list[tuple[str, int | None, bool | None]]] = {
    "int8_sym": [("Int8", -1, True)],
    "int8_asym": [("UInt8", -1, False)],
    "int4_sym": [("Int4", 16, True), ("UInt8", -1, False)],
    "int4_asym": [("UInt4", 16, False), ("UInt8", -1, False)],
    "int4_asym_rows": [("UInt4", -1, False), ("UInt8", -1, False)],
    "int4_mixed": [("Int4", 16, True), ("UInt8", -1, False)],
    "int3_sym": [("Int3", 16, True), ("UInt8", -1, False)],
    "int2_sym": [("Int2", 16, True), ("UInt8", -1, False)],
    "nf4": [("NF4", 16, True), ("UInt8", -1, False)],
    "cb4": [("CB_4", 16, True), ("UInt8", -1, False)],
    "fp4": [("Float4E2M1", 16, True), ("Float8E4M3FN", 16, True)],
    "fp8_e4m3": [("Float8E4M3FN", 16, True)],
    "mxfp4": [("MXFP4", 32, True), ("MXFP8_E4M3", 32, True)],
    "mxfp8_e4m3": [("MXFP8_E4M3", 32, True)],
    "nvfp4": [("NVFP4", 16, True), ("UInt8", -1, False)],
}


@pytest.mark.parametrize("name", DECLARED)
def test_what_nncf_wrote_is_declared_and_agrees(name: str) -> None:
    report = inspect(OPENVINO / name)
    assert report.declared is not None
    assert (report.declared.source, report.declared.method) == ("openvino_model.xml", "openvino")
    assert declared_levels(report) == DECLARED[name]
    assert codes(report) == []


@pytest.mark.parametrize(
    ("name", "claims", "finding"),
    [
        ("int8_asym", {"mode": "int4_asym"}, "QL101"),
        ("int4_sym", {"mode": "int8_sym"}, "QL102"),
        ("int4_sym", {"mode": "nf4"}, "QL111"),
        ("int4_sym", {"mode": "int4_asym"}, "QL112"),
        ("int4_sym", {"group_size": "32"}, "QL112"),
        ("int4_sym", {"group_size": "-1"}, "QL112"),
        ("int4_mixed", {"backup_mode": "none"}, "QL101"),
        ("int4_mixed", {"backup_mode": "int8_sym"}, "QL112"),
        ("int4_sym", {"mode": "int5_sym"}, "QL301"),
        ("int4_sym", {"group_size": "many"}, "QL305"),
    ],
)
def test_false_claims_are_findings(tmp_path: Path, name: str, claims: dict[str, str], finding: str) -> None:
    assert codes(inspect(claiming(tmp_path, name, **claims))) == [finding]


def test_claims_over_weights_that_are_not_compressed(tmp_path: Path) -> None:
    section = (OPENVINO / "int4_sym/openvino_model.xml").read_text().partition("<nncf>")[2].partition("</nncf>")[0]
    shutil.copytree(OPENVINO / "fp32", tmp_path / "model")
    xml = tmp_path / "model/openvino_model.xml"
    xml.write_text(xml.read_text().replace("</rt_info>\n</net>", f"<nncf>{section}</nncf></rt_info>\n</net>"))
    assert codes(inspect(tmp_path / "model")) == ["QL103"]


def test_narrower_groups_that_were_chosen_give_no_finding(tmp_path: Path) -> None:
    settings = "{'group_size_fallback_mode': 'adjust', 'codebook': None}"
    path = claiming(tmp_path, "int4_sym", group_size="48", advanced_parameters=settings)
    assert codes(inspect(path)) == []


@pytest.mark.parametrize(
    ("name", "config", "findings"),
    [
        ("int4_sym", {"bits": 4, "sym": True, "group_size": 16}, []),
        ("int4_sym", {"bits": 4, "sym": True, "group_size": 16, "dtype": "int4", "quant_method": "awq"}, []),
        ("int8_asym", {"bits": 8, "sym": False, "group_size": -1, "backup_precision": None}, []),
        ("nf4", {"bits": 4, "dtype": "nf4", "group_size": 16}, []),
        ("int4_mixed", {"bits": 4, "sym": True, "group_size": 16, "ratio": 0.5, "backup_precision": "int8_asym"}, []),
        ("int4_sym", {"bits": 4, "sym": True, "group_size": 64}, ["QL112", "QL113"]),
        ("int4_sym", {"bits": 8, "sym": False}, ["QL102", "QL113"]),
        ("int4_sym", {"bits": 4, "sym": True, "group_size": 16, "colour": 3}, ["QL306"]),
        ("int4_sym", {"quantization_configs": {"lm_model": {"bits": 8}}}, []),
    ],
)
def test_a_config_of_optimum_is_compared(
    tmp_path: Path, name: str, config: dict[str, Any], findings: list[str]
) -> None:
    report = inspect(configured(tmp_path, name, config))
    assert report.declared is not None
    assert report.declared.source == "openvino_config.json"
    assert codes(report) == findings


@pytest.mark.parametrize(("name", "bits"), [("int4_sym", 5), ("int4_asym", 5.25), ("nf4", 5), ("fp8_e4m3", 9)])
def test_declared_bits_equal_those_of_stored_weights(name: str, bits: float) -> None:
    report = inspect(OPENVINO / name)
    assert report.declared is not None
    assert report.stored is not None
    general, *_ = report.declared.levels
    assert isinstance(general, DeclaredLevel)
    stored = next(level for level in report.stored.levels if level.level.name == general.level.name)
    assert general.bits_per_weight == bits
    assert 8 * stored.nbytes == bits * stored.parameters
