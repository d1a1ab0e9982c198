"""inspect, verify, compare, size, fit: what they say of a checkpoint, and with which status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import INT4_CONFIG, PLAIN, W4A8, W4A16, write_checkpoint

if TYPE_CHECKING:
    from tests.cli.conftest import Ask

EXAMPLE = Path(__file__).parents[2] / "examples/dense-Q4_K_M.gguf"


def test_inspect_sets_declared_beside_stored(ask: Ask, w4a16: Path) -> None:
    answer = ask("inspect", w4a16)
    assert answer.status == 0
    assert answer.out.splitlines() == [
        f"{w4a16} (safetensors)",
        "declared     INT4 at 4.125 bits, groups of 128, symmetric + BF16",
        "by           compressed-tensors in config.json",
        "stored       BF16 + INT4 at 4.1289 bits",
        "parameters   65,664, 49.9% of them quantized",
        "size         80.77 KiB (82,704 B), 5 tensors",
        "bits/weight  10.0760, 3.18x smaller than FP32",
        "",
        "level  group  weights  parameters       size   bytes  bits/weight  share",
        "BF16       -        2      32,896  64.25 KiB  65,792      16.0000  79.6%",
        "INT4     128        1      32,768  16.52 KiB  16,912       4.1289  20.4%",
        "",
        "no findings",
    ]


def test_inspect_reports_findings_and_stays_zero(ask: Ask, w4a8: Path) -> None:
    answer = ask("inspect", w4a8)
    assert answer.status == 0
    assert "\nQL101 error wider-than-declared: model.layers.0.mlp.up_proj: " in answer.out


def test_inspect_as_json_is_the_record(ask: Ask, w4a16: Path) -> None:
    record = json.loads(ask("inspect", w4a16, "--json").out)
    assert record["stored"]["tensor_bytes"] == 82_704
    assert [level["level"] for level in record["stored"]["levels"]] == ["BFloat16", "Int4"]


def test_inspect_of_a_config_alone(ask: Ask, w4a16: Path) -> None:
    answer = ask("inspect", w4a16 / "config.json")
    assert answer.status == 0
    assert "(config)\ndeclared  INT4 at 4.125 bits, groups of 128, symmetric + BF16\n" in answer.out
    assert "stored" not in answer.out


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ((), 0, None),
        (("--level", "int4"), 0, None),
        (("--level", "int8"), 1, "QL501"),
        (("--max-bits-per-weight", "10.08"), 0, None),
        (("--max-bits-per-weight", "19/2"), 1, "QL502"),
        (("--parameters", "65664"), 0, None),
        (("--parameters", "1B"), 1, "QL503"),
        (("--parameters", "1B", "--ignore", "QL503"), 0, None),
        (("--parameters", "1B", "--select", "QL1,QL2"), 0, None),
    ],
)
def test_verify(ask: Ask, w4a16: Path, options: tuple[str, ...], status: int, code: str | None) -> None:
    answer = ask("verify", w4a16, *options)
    assert answer.status == status
    assert answer.out.startswith(f"{code} error" if code else "ok ")


def test_a_config_alone_meets_no_requirement_on_weights(ask: Ask, w4a16: Path) -> None:
    expected = ("--level", "int4", "--max-bits-per-weight", "5", "--parameters", "8B")
    answer = ask("verify", w4a16 / "config.json", *expected)
    assert answer.status == 1
    assert [line[:5] for line in answer.out.splitlines() if "has no weights" in line] == [
        "QL501",
        "QL502",
        "QL503",
    ]


def test_verify_fails_what_is_wider_than_it_says(ask: Ask, w4a8: Path) -> None:
    answer = ask("verify", w4a8)
    assert answer.status == 1
    assert "QL101 error wider-than-declared: model.layers.0.mlp.up_proj: " in answer.out
    assert answer.out.splitlines()[-3:-1] == ["Run `quantlevels explain QL101` for cause and fix.", ""]
    assert f"failed: 1 finding {w4a8} " in answer.out


def test_verify_lets_warnings_fail_only_if_strict(ask: Ask, w4a16: Path) -> None:
    (w4a16 / "old.safetensors").write_bytes((w4a16 / "model.safetensors").read_bytes())
    lenient, strict = ask("verify", w4a16), ask("verify", w4a16, "--strict")
    assert (lenient.status, strict.status) == (0, 1)
    for answer in (lenient, strict):
        assert "QL205 warning unreferenced-file: old.safetensors" in answer.out


def test_verify_as_json(ask: Ask, w4a8: Path) -> None:
    answer = ask("verify", w4a8, "--json")
    record = json.loads(answer.out)
    assert (answer.status, record["verified"]) == (1, False)
    assert [failure["code"] for failure in record["failures"]] == ["QL101"]
    assert record["stored"]["parameters"] == 65_664


def test_verify_as_annotations_of_github(ask: Ask, w4a8: Path) -> None:
    answer = ask("verify", w4a8, "--format", "github")
    assert answer.status == 1
    assert answer.out.startswith(f"::error file={w4a8},title=QL101 wider-than-declared::model.layers.0.mlp.up_proj: ")


def test_verify_as_sarif(ask: Ask, w4a8: Path) -> None:
    log = json.loads(ask("verify", w4a8, "--format", "sarif").out)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    (rule,) = run["tool"]["driver"]["rules"]
    assert (rule["id"], rule["name"]) == ("QL101", "wider-than-declared")
    assert rule["fullDescription"]["text"].startswith("Quantized weights take")
    assert "Remedy: " in rule["help"]["text"]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("QL101", "error")
    assert result["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "model.layers.0.mlp.up_proj"}]


def test_sarif_has_the_path_as_a_uri(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "a model%, #1:x", W4A8, INT4_CONFIG)
    monkeypatch.chdir(tmp_path)
    for path, uri in {
        "a model%, #1:x": "a%20model%25%2C%20%231%3Ax",
        tmp_path / "a model%, #1:x": f"{tmp_path.as_uri()}/a%20model%25%2C%20%231%3Ax",
    }.items():
        (result,) = json.loads(ask("verify", path, "--format", "sarif").out)["runs"][0]["results"]
        assert result["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": uri}}


def test_compare_of_equal_checkpoints_is_zero(ask: Ask, w4a16: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", W4A16, INT4_CONFIG)
    answer = ask("compare", w4a16, other)
    assert answer.status == 0
    assert answer.out.endswith("\nstored alike\n")


def test_diff_names_what_is_stored_differently(ask: Ask, w4a16: Path, w4a8: Path) -> None:
    answer = ask("compare", w4a16, w4a8)
    assert answer.status == 1
    assert "model.layers.*.mlp.up_proj      1  INT4 g128  INT4 g128 in 8 bits  +15.98 KiB\n" in answer.out
    assert answer.out.endswith("\nstored differently\n")


def test_diff_as_json(ask: Ask, plain: Path, w4a16: Path) -> None:
    answer = ask("compare", plain, w4a16, "--json")
    record = json.loads(answer.out)
    assert (answer.status, record["same"]) == (1, False)
    assert record["changed"] == [
        {
            "weight": "model.layers.0.mlp.up_proj",
            "before": [{"level": "BFloat16", "group_size": None, "symmetric": None, "code_bits": None}],
            "after": [{"level": "Int4", "group_size": 128, "symmetric": True, "code_bits": 4.0}],
            "bytes_before": 65_536,
            "bytes_after": 16_912,
            "parameters_before": 32_768,
            "parameters_after": 32_768,
        }
    ]
    assert record["only_before"] == record["only_after"] == []


def test_diff_tells_models_of_different_size_apart(ask: Ask, plain: Path, tmp_path: Path) -> None:
    small = {**PLAIN, "model.norm.weight": ("BF16", (64,))}
    answer = ask("compare", plain, write_checkpoint(tmp_path / "small", small))
    assert answer.status == 1
    assert "model.norm      1  BF16 x 128  BF16 x 64  -128 B\n" in answer.out


def test_diff_lists_what_one_side_alone_has(ask: Ask, plain: Path, tmp_path: Path) -> None:
    tensors = {**PLAIN, **{f"model.layers.{n}.extra.weight": ("BF16", (4, 4)) for n in range(3)}}
    answer = ask("compare", plain, write_checkpoint(tmp_path / "more", tensors))
    assert answer.status == 1
    assert "only after            count\nmodel.layers.*.extra      3\n" in answer.out


def test_size_from_shapes_is_exact(ask: Ask, plain: Path) -> None:
    options = ("--level", "Int4", "--group", "128", "--scheme", "compressed-tensors", "--keep", "*embed*=BFloat16")
    record = json.loads(ask("size", plain, *options, "--json").out)
    assert (record["exact"], record["tensor_bytes"]) == (True, 82_704)
    answer = ask("size", plain, *options)
    assert "size         80.77 KiB (82,704 B)\n" in answer.out
    assert "exact" in answer.out


def test_size_from_a_count_says_that_it_is_idealized(ask: Ask) -> None:
    answer = ask("size", "--params", "70.6B", "--level", "int4", "--group", "128")
    assert "33.90 GiB (36,403,125,000 B)" in answer.out
    assert "idealized" in answer.out


def test_size_reports_what_llama_cpp_takes_instead(ask: Ask, tmp_path: Path) -> None:
    shapes = {"model.layers.0.mlp.up_proj.weight": ("BF16", (8, 320))}
    answer = ask("size", write_checkpoint(tmp_path / "m", shapes), "--level", "Q4_K", "--scheme", "gguf")
    assert answer.out.splitlines()[-1].split() == ["model.layers.0.mlp.up_proj.weight", "320", "Q4_K", "Q5_0"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--level", "int4"), "give either the PATH of a checkpoint or --params"),
        (("--level", "int4", "--params", "70.6"), "'70.6' is not a number of parameters"),
        (("--level", "int4", "--params", "7B", "--keep", "lm_head"), "'lm_head' is not of the form GLOB=LEVEL"),
        (("--level", "int4", "--params", "7B", "--keep", "lm_head=in8"), "unknown level 'in8'; did you mean 'Int8'"),
        (("--level", "int4", "--params", "7B", "--scheme", "gptq"), "need the shapes"),
    ],
)
def test_size_refuses(ask: Ask, options: tuple[str, ...], reason: str) -> None:
    answer = ask("size", *options)
    assert answer.status == 2
    assert reason in answer.err
    assert answer.err.count("\n") == 1


def test_size_of_packed_weights_is_refused(ask: Ask, w4a16: Path) -> None:
    answer = ask("size", w4a16, "--level", "Int8")
    assert answer.status == 2
    assert "already quantized" in answer.err


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("80GiB", "80 GiB = 80.00 GiB (85,899,345,920 B)"),
        ("80GB", "80 GB = 74.51 GiB (80,000,000,000 B)"),
        ("24G", "24 GB = 22.35 GiB (24,000,000,000 B)"),
        ("1.5tib", "1.5 TiB = 1.50 TiB (1,649,267,441,664 B)"),
    ],
)
def test_fit_says_how_it_took_the_memory(ask: Ask, said: str, taken: str) -> None:
    assert f"memory  {taken}\n" in ask("fit", "--params", "8B", "--memory", said).out


def test_fit_marks_the_budget(ask: Ask) -> None:
    answer = ask("fit", "--params", "8B", "--memory", "10GB", "--reserve", "20%", "--devices", "2")
    marks = {line.split()[0] for line in answer.out.splitlines() if "BF16" in line}
    assert "budget  14.90 GiB (16,000,000,000 B), 20% reserved" in answer.out
    assert "memory  10 GB = 9.31 GiB (10,000,000,000 B), on each of 2 devices\n" in answer.out
    assert marks == {"fits"}
    assert "weights only" in answer.out


def test_fit_as_json(ask: Ask) -> None:
    record = json.loads(ask("fit", "--params", "8B", "--memory", "16GB", "--json").out)
    fits = {level["level"]: level["fits"] for level in record["levels"]}
    assert (fits["None"], fits["BFloat16"], fits["Q4_K"]) == (False, True, True)


@pytest.mark.parametrize(
    "memory", ["lots", "80GiG", "0GB", "0", "80i", "-3GB", "1e9", "nan", "1.5", "80", "9" * 400 + "TB"]
)
def test_impossible_amounts_of_memory_are_refused(ask: Ask, memory: str) -> None:
    answer = ask("fit", "--params", "8B", f"--memory={memory}")
    assert (answer.status, answer.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("count", ["-5", "0", "nan", "inf", "1.5", "", "\u0663B", "9" * 400 + "T", "9" * 3000])
def test_impossible_numbers_of_parameters_are_refused(ask: Ask, count: str) -> None:
    answer = ask("size", "--level", "int4", f"--params={count}")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "write 8030261248, 8.03B or 350M" in answer.err


@pytest.mark.parametrize("ratio", ["1e999999999", "1/0", "-4", "nan", "0", "9" * 3000, "1/1/1"])
def test_impossible_ratios_are_refused_at_once(ask: Ask, w4a16: Path, ratio: str) -> None:
    answer = ask("verify", w4a16, f"--max-bits-per-weight={ratio}")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "write 4.5 or 9/2" in answer.err


@pytest.mark.parametrize("options", [("size", "--level", "int4"), ("fit", "--memory", "8GB")])
def test_what_has_no_weights_has_no_size(ask: Ask, w4a16: Path, options: tuple[str, ...]) -> None:
    answer = ask(*options, w4a16 / "config.json")
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert "config.json: has no weights" in answer.err


def test_a_checkpoint_without_tensors(ask: Ask, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "nothing", {}, INT4_CONFIG)
    answer = ask("inspect", folder, "--svg", tmp_path / "nothing.svg")
    assert answer.status == 0
    assert "parameters  0\nsize        0 B, 0 tensors\n\nQL207" in answer.out
    assert "the safetensors header lists no tensors" in answer.out


def test_a_level_wider_than_fp32_is_not_called_smaller(ask: Ask) -> None:
    assert "64.0000, 2.00x the size of FP32" in ask("size", "--params", "1M", "--level", "Float64").out
    assert "32.0000, 1.00x the size of FP32" in ask("size", "--params", "1M", "--level", "None").out


def test_a_file_of_another_kind_is_one_line(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 100)
    answer = ask("inspect", path)
    assert answer.status == 2
    assert answer.err.startswith(f"quantlevels: {path}: ")
    assert answer.err.count("\n") == 1


def test_a_path_that_is_not_there_is_one_line(ask: Ask, tmp_path: Path) -> None:
    answer = ask("inspect", tmp_path / "nothing")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "nothing" in answer.err


def test_size_of_packed_gguf_weights_in_another_scheme_is_refused(ask: Ask) -> None:
    answer = ask("size", EXAMPLE, "--level", "Int4", "--scheme", "awq")
    assert answer.status == 2
    assert "blk.0.attn_k.weight is already quantized (Q4_K)" in answer.err


def test_an_unknown_scheme_is_answered_with_all_schemes(ask: Ask) -> None:
    answer = ask("size", EXAMPLE, "--level", "Int4", "--scheme", "zzz")
    assert "unknown scheme 'zzz'; choose one of " in answer.err


@pytest.mark.parametrize("scheme", ["ctranslate2", "openvino", "aqlm"])
def test_a_scheme_without_exact_sizes_says_so_in_one_line(ask: Ask, scheme: str) -> None:
    answer = ask("size", EXAMPLE, "--level", "Int4", "--scheme", scheme)
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert f"what {scheme} stores is not known exactly before it has run; quantize the model" in answer.err


@pytest.mark.parametrize(("said", "meant"), [("w4a6", "w4a16"), ("w4a16/confg.json", "w4a16/config.json")])
def test_a_misspelt_path_is_answered_with_what_was_meant(ask: Ask, w4a16: Path, said: str, meant: str) -> None:
    answer = ask("inspect", w4a16.parent / said)
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert f"did you mean {str(w4a16.parent / meant)!r}?" in answer.err


def test_a_misspelt_file_is_not_taken_for_a_repository(ask: Ask, w4a16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(w4a16.parent)
    assert "did you mean 'w4a16/config.json'?" in ask("inspect", "w4a16/confg.json").err
    assert "quantlevels inspect hf://some-org/some-model" in ask("inspect", "some-org/some-model").err


def test_a_url_with_one_slash_is_answered_with_the_url(ask: Ask) -> None:
    assert "did you mean the URL 'hf://org/model'?" in ask("inspect", "hf:/org/model").err


def test_nothing_is_downloaded(ask: Ask, tmp_path: Path) -> None:
    answer = ask("inspect", tmp_path / "some-org" / "some-model")
    assert "a path must be on this disk, it is never downloaded" in answer.err
    assert ask("inspect", "").status == 2
