"""Where claims stand, whose words they are in, and what is kept of a claim that is partly wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import field, frozen
from tests.writers import gguf

from quantlevels import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Look

NORM: Final = {"norm.weight": ("BF16", [8])}
INT4: Final = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}


@frozen(kw_only=True)
class Place:
    """A claim, and the method and level that it makes."""

    method: str
    level: str
    config: dict[str, Any] = field(factory=dict)
    files: dict[str, Any] = field(factory=dict)
    metadata: dict[str, str] = field(factory=dict)
    group_size: int | None = None


PLACES: Final = {
    "params.json of Mistral": Place(
        method="fp8",
        level="Float8E4M3FN",
        files={"params.json": {"dim": 8, "quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}}},
    ),
    "params.json of Mistral, compressed-tensors": Place(
        method="compressed-tensors",
        level="Int4",
        group_size=128,
        files={
            "params.json": {
                "quantization": {
                    "quant_method": "compressed_tensors",
                    "config_groups": {"g": {"targets": ["Linear"], "weights": INT4}},
                }
            }
        },
    ),
    "quant_model_description.json of Ascend": Place(
        method="modelslim",
        level="Int8",
        files={"quant_model_description.json": {"model_quant_type": "W8A8_DYNAMIC", "a.weight": "W8A8_DYNAMIC"}},
    ),
    "a description named after its type": Place(
        method="modelslim",
        level="Int8",
        files={"quant_model_description_w8a8.json": {"model_quant_type": "W8A8", "a.weight": "W8A8"}},
    ),
    "metadata of a header, ComfyUI": Place(
        method="comfy",
        level="NVFP4",
        group_size=16,
        metadata={"_quantization_metadata": json.dumps({"layers": {"a": {"format": "nvfp4"}}})},
    ),
    "metadata of a header, nunchaku": Place(
        method="svdquant",
        level="Int4",
        group_size=64,
        metadata={
            "quantization_config": json.dumps({"method": "svdquant", "weight": {"dtype": "int4", "group_size": 64}})
        },
    ),
    "a config of ModelOpt within config.json": Place(
        method="modelopt",
        level="NVFP4",
        group_size=16,
        config={
            "quantization_config": {
                "producer": {"name": "modelopt"},
                "quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]},
            }
        },
    ),
    "AQLM under its own key": Place(
        method="aqlm",
        level="AQLM_2",
        group_size=8,
        config={"aqlm": {"in_group_size": 8, "nbits_per_codebook": 16, "num_codebooks": 1, "out_group_size": 1}},
    ),
    "groups beside an algorithm are ModelOpt's": Place(
        method="modelopt",
        level="NVFP4",
        group_size=16,
        config={
            "quantization_config": {
                "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "float"}}},
                "quant_algo": "NVFP4",
                "kv_cache_scheme": "FP8",
            }
        },
    ),
    "ModelOpt in diffusers": Place(
        method="modelopt",
        level="Int8",
        config={"quantization_config": {"quant_method": "modelopt", "quant_type": "INT8_INT8"}},
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_claim_is_read_wherever_loaders_read_it(name: str, look: Look) -> None:
    place = PLACES[name]
    found = look(NORM, config=place.config, files=place.files, metadata=place.metadata).declared
    (level,) = {(level.level.name, level.group_size) for level in found.levels}
    assert (found.method, *level) == (place.method, place.level, place.group_size)


def test_compression_config_without_groups_claims_its_method(look: Look) -> None:
    found = look(NORM, config={"compression_config": {"sparsity_config": {"format": "dense"}}}).declared
    assert (found.method, found.levels) == ("compressed-tensors", ())


@pytest.mark.parametrize("text", ["{", "[1]", '"gptq"', "7", "{} {}", "[" * 100_000], ids=lambda text: text[:10])
def test_metadata_that_is_not_a_section_is_found(text: str, look: Look) -> None:
    found = look(NORM, metadata={"quantization_config": text})
    assert found.codes == ["QL305"]
    assert found.inspection.findings[0].message.startswith("__metadata__.quantization_config: ")


#: a word for a method → the method
WORDS: Final = {
    "GPTQ": "gptq",
    "gptq_marlin": "gptq",
    "Awq_Marlin": "awq",
    "compressed_tensors": "compressed-tensors",
    "auto_round": "auto-round",
    "inc": "auto-round",
    "FBGEMM-FP8": "fbgemm_fp8",
    "modelopt_fp8": "modelopt",
    "modelopt_mixed": "modelopt",
}


@pytest.mark.parametrize("word", WORDS)
def test_methods_have_aliases_and_any_case(word: str, look: Look) -> None:
    declared = look(NORM, {"quant_method": word, "bits": 4, "group_size": 128}).declared
    assert (declared.method, declared.known) == (WORDS[word], True)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"quant_method": "gptqq", "bits": 4}, "did you mean 'gptq'?"),
        ({"quant_method": "bitandbytes", "load_in_4bit": True}, "did you mean 'bitsandbytes'?"),
        ({"quant_method": "acme"}, "method 'acme' is not known: only tensors that show their own layout are read"),
        ({"bits": 4}, "$.quantization_config: names no method, and no known method writes its keys ('bits')"),
    ],
    ids=str,
)
def test_a_section_that_is_not_understood_is_found(section: dict[str, Any], text: str, look: Look) -> None:
    found = look(NORM, section)
    assert found.codes == ["QL302"]
    assert text in found.inspection.findings[0].message


@pytest.mark.parametrize("word", [7, ["gptq"], {"name": "awq"}, True], ids=str)
def test_a_method_that_is_not_text_is_found(word: object, look: Look) -> None:
    found = look({"w.weight": ("BF16", [8, 8])}, {"quant_method": word, "bits": 4})
    assert found.codes == ["QL305"]
    assert found.stored.parameters == 64


@frozen(kw_only=True)
class Partly:
    """A section that is partly wrong: the code of what is, and what is kept."""

    code: str
    #: level → modules it is for; None for all
    levels: dict[str, tuple[str, ...] | None] = field(factory=dict)
    skipped: tuple[str, ...] = ()
    kv_cache: str | None = None
    section: dict[str, Any]


PARTLY: Final = {
    "an unknown level for all": Partly(
        code="QL301",
        levels={"MXFP4": ("a",)},
        skipped=("lm_head",),
        section={
            "quant_method": "quark",
            "global_quant_config": {"weight": {"dtype": "mx6"}},
            "layer_quant_config": {"a": {"weight": {"dtype": "fp4", "group_size": 32}}},
            "exclude": ["lm_head"],
        },
    ),
    "an unknown level for a module": Partly(
        code="QL301",
        levels={"NVFP4": ("a",)},
        kv_cache="Float8E4M3FN",
        section={
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "kv_cache_quant_algo": "FP8",
            "quantized_layers": {"a": {"quant_algo": "NVFP4"}, "b": {"quant_algo": "Q4_K"}},
        },
    ),
    "an impossible value for a module": Partly(
        code="QL305",
        levels={"Int4": None, "Int8": ("re:b",)},
        section={"quant_method": "gptq", "bits": 4, "dynamic": {"a": {"bits": 17}, "b": {"bits": 8}}},
    ),
    "an unknown mode of a module": Partly(
        code="QL301",
        levels={"Int4": None},
        section={"quant_method": "mlx", "bits": 4, "group_size": 64, "m": {"mode": "x"}},
    ),
    "an unknown preset": Partly(
        code="QL301",
        levels={"NVFP4": ("a",)},
        section={"quant_method": "compressed-tensors", "config_groups": {"W4A17": ["Linear"], "nvfp4": ["a"]}},
    ),
    "an unknown word for the cache": Partly(
        code="QL301",
        levels={"Float8E4M3FN": None},
        section={"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP7"},
    ),
    "a list of modules that is not one": Partly(
        code="QL305",
        levels={"Float8E4M3FN": None},
        section={"quant_method": "fp8", "ignored_layers": "lm_head"},
    ),
    "a value on which all levels depend": Partly(
        code="QL305",
        skipped=("lm_head",),
        section={"quant_method": "awq", "bits": 4, "group_size": 0, "modules_to_not_convert": ["lm_head"]},
    ),
    "two widths at once": Partly(code="QL305", section={"load_in_4bit": True, "load_in_8bit": True}),
}


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_known_is_kept_beside_a_mistake(name: str, look: Look) -> None:
    partly = PARTLY[name]
    found = look(NORM, partly.section)
    assert {code for code in found.codes if code.startswith("QL3")} == {partly.code}
    declared = found.declared
    assert {level.level.name: level.targets for level in declared.levels} == partly.levels
    assert declared.skipped == partly.skipped
    assert (declared.kv_cache and declared.kv_cache.name) == partly.kv_cache


@pytest.mark.parametrize("method", ["fp8", "mxfp8"])
@pytest.mark.parametrize(
    ("words", "level"),
    [
        ({"moe_quant_algo": "NVFP4", "group_size": 16}, "NVFP4"),
        ({"quantized_layers": {"model.layers.0.mlp.experts.*": {"quant_algo": "NVFP4"}}}, "NVFP4"),
        ({}, "MXFP4"),
    ],
    ids=str,
)
def test_words_of_the_last_quantizer_win(method: str, words: dict[str, Any], level: str, look: Look) -> None:
    config = {"expert_dtype": "fp4", "quantization_config": {"quant_method": method, **words}}
    declared = look(NORM, config=config).declared.level_of("model.layers.0.mlp.experts.1.up_proj")
    assert declared
    assert declared.level.name == level


def test_nested_keys_that_are_not_read_are_found(look: Look) -> None:
    groups = {"g": {"targets": ["Linear"], "weights": {**INT4, "num_bitz": 8}}}
    found = look(None, {"quant_method": "compressed-tensors", "config_groups": groups})
    (message,) = (finding.message for finding in found.inspection.findings if finding.code == "QL306")
    assert message.endswith("does not read config_groups.g.weights.num_bitz")


def test_compressed_tensors_ignores_modules_of_exactly_a_name(look: Look) -> None:
    groups = {"g": {"targets": ["Linear"], "weights": INT4}}
    section = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["a.experts", "re:b", "*c"]}
    names = look(None, section).declared.skipped_modules
    assert names.filter(["a.experts", "a.experts.0", "x.a.experts", "b.c", "a.b", "c"]) == ["a.experts", "b.c"]


def test_a_single_group_keeps_its_targets(look: Look) -> None:
    groups = {"g": {"targets": ["a.q_proj", "a.k_proj"], "weights": INT4}}
    (level,) = look(None, {"quant_method": "compressed-tensors", "config_groups": groups}).declared.levels
    assert level.targets == ("a.q_proj", "a.k_proj")


def test_modules_named_at_the_general_level_are_kept(look: Look) -> None:
    section = {"bits": 4, "group_size": 64, "lm_head": {"bits": 4, "group_size": 64}}
    general, named = look(None, config={"quantization": section}).declared.levels
    assert (general.targets, named.targets) == (None, ("lm_head",))


def test_claims_of_other_files_are_kept_beside(look: Look) -> None:
    found = look(
        NORM,
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        files={"quantize_config.json": {"bits": 8, "group_size": 32, "desc_act": True}},
    ).declared
    assert [level.level.name for level in found.levels] == ["Int4"]
    assert [(other.source, other.levels[0].level.name) for other in found.others] == [("quantize_config.json", "Int8")]


def test_a_pattern_that_is_not_supported_is_found(look: Look) -> None:
    groups = {"g": {"targets": ["Linear"], "weights": INT4}}
    section = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["re:["]}
    found = look({"w.weight": ("BF16", [8, 8])}, section)
    assert any("'re:['" in finding.message for finding in found.inspection.findings if finding.code == "QL306")


def test_unknown_labels_of_llama_cpp_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf({"blk.0.attn_q.weight": (0, (32,))}, {"general.file_type": 9999}))
    (finding,) = (finding for finding in inspect(path).findings if finding.code == "QL301")
    assert "9999" in finding.message


def test_one_mistake_in_many_entries_is_one_finding(look: Look) -> None:
    layers = {f"model.layers.{number}": {"quant_algo": "NVFP5"} for number in range(100)}
    found = look(None, {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers})
    (finding,) = (finding for finding in found.inspection.findings if finding.code == "QL301")
    assert finding.message.startswith("$.quantization_config: model.layers.0: quant_algo 'NVFP5' is not known")
    assert finding.message.endswith("(and 99 more)")


def test_many_mistakes_are_counted(look: Look) -> None:
    layers = {f"model.layers.{number}": {"quant_algo": f"X{number}"} for number in range(100)}
    found = look(None, {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers})
    messages = [finding.message for finding in found.inspection.findings if finding.code == "QL301"]
    assert len(messages) == 21
    assert "$.quantization_config: 80 more mistakes" in messages
