"""Where a checkpoint may claim a quantization: one table per kind of place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast, final

from quantlevels.container import CONFIG, JSON, Checkpoint
from quantlevels.findings import Finding
from quantlevels.scheme import Config
from quantlevels.vocabulary.plain import value_text

#: Files of other runtimes, which use the names of methods with meanings of their own → the method of their weights,
#: which is also the name of their container.
FOREIGN_CONFIGS: Final = {"openvino_config.json": "openvino"}
#: Parts of the metadata of an OpenVINO model that NNCF writes: how it compressed weights, how it quantized everything.
_NNCF: Final = ("nncf.weight_compression.", "nncf.quantization.")
#: Objects of a config.json that may hold the text model's own config.
#: Kimi-K2.5 declares its quantization only there (huggingface.js #2003).
_INNER_CONFIGS: Final = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "decoder",
    "pretrained_config",
)
#: Keys of a model's config that hold a section, in the order in which loaders prefer them. MLX reads its own key, the
#: first, and may leave the second as it was in the model that was quantized.
SECTION_KEYS: Final = ("quantization", "quantization_config", "compression_config")
#: Keys of a model's config that hold a section of one method: QuIP# and AQLM before transformers knew them, and
#: KTransformers beside the section of the model that it repacked.
_METHOD_KEYS: Final = {"quip_params": "quip#", "aqlm": "aqlm", "amx_quantization": "ktransformers"}
#: Keys of a model's config that concern its quantization, but stand outside of the section for it.
KEYS_BESIDE: Final = ("expert_dtype",)
#: Keys that one method writes beside those of a model's config, not in a section: all of them, and the method.
_KEYS_TOGETHER: Final = ((("quantization_type", "quantization_bits", "quantization_group_size"), "ctranslate2"),)
#: Files that are a section of one method as a whole: how their names begin and end, and the method.
_WHOLE_FILES: Final = (("quant_model_description", ".json", "modelslim"),)
#: Files of which one key names how weights are packed → the key, and the method that it is of.
_WORD_FILES: Final = {"mlc-chat-config.json": ("quantization", "mlc")}
#: Files that say how weights are to be changed or added to, not how they are stored.
_OTHER_FILES: Final = ("adapter_config.json", "modules.json", "model_index.json")
#: Keys of the metadata of a safetensors header that hold a section as JSON text → the method that writes them; None
#: if the section names it.
_METADATA_KEYS: Final = {"_quantization_metadata": "comfy", "quantization_config": None}
#: Keys of that metadata that hold a word → the method, and the words that only it writes there.
_METADATA_WORDS: Final = {"quantization": ("bfl", ("fp8r", "nvfp4"))}


@final
class Section(NamedTuple):
    """A part of a file that declares a quantization.

    Args:
        file: the file.
        path: the place in it: ``$.quantization_config``.
        config: what stands there.
        method: the method that alone writes sections in this place; None if the section has to name it.
        whole_file: whether it is a file of which it is not known that it declares anything.
        foreign: whether it speaks of the weights of another runtime, not of those that are here.
    """

    file: str
    path: str
    config: Config
    method: str | None = None
    whole_file: bool = False
    foreign: bool = False


class _Candidate(NamedTuple):
    """A value in a place for sections: it should be an object."""

    path: str
    value: JSON
    method: str | None = None
    whole_file: bool = False


def sections(checkpoint: Checkpoint, findings: list[Finding]) -> Iterator[Section]:
    """The sections of a checkpoint, the model's own config first; QL305 for what stands in their place instead."""
    for file, config in checkpoint.configs.items():
        if file not in _OTHER_FILES:
            is_foreign = file in FOREIGN_CONFIGS and checkpoint.format not in (FOREIGN_CONFIGS[file], CONFIG)
            for section in _checked(file, _candidates(file, config), findings):
                yield section._replace(foreign=is_foreign)
    if checkpoint.files:
        in_weights = (
            *_in_metadata(checkpoint, findings),
            *_in_markers(checkpoint, findings),
            *_in_module_settings(checkpoint),
            *_of_nncf(checkpoint),
        )
        yield from _checked(checkpoint.files[0].path, iter(in_weights), findings)


def model_configs(config: Config) -> Iterator[tuple[str, Config]]:
    """A model's config, and the text model's own in it, each with its path."""
    yield "$", config
    for key in _INNER_CONFIGS:
        inner = config.get(key)
        if isinstance(inner, dict):
            yield f"$.{key}", inner


def _checked(file: str, candidates: Iterator[_Candidate], findings: list[Finding]) -> Iterator[Section]:
    for path, value, method, whole_file in candidates:
        if value is None or value == {}:  # transformers writes null for a model that is not quantized
            continue
        if isinstance(value, dict):
            yield Section(file, path, _flattened(value, path), method, whole_file)
        else:
            message = f"{path}: expected an object that describes a quantization, got {value_text(value)}"
            findings.append(Finding("QL305", message, file))


def _flattened(section: dict[str, JSON], path: str) -> Config:
    """A section with the one within it, as older versions of transformers write it."""
    inner = section.get("quantization_config")
    if path == "$" or not isinstance(inner, dict):
        return section
    return {**{key: value for key, value in section.items() if key != "quantization_config"}, **inner}


def _candidates(file: str, config: Config) -> Iterator[_Candidate]:
    """The values in a file that may be sections."""
    for beginning, ending, method in _WHOLE_FILES:
        if file.startswith(beginning) and file.endswith(ending):
            yield _Candidate("$", {**config}, method)
            return
    if file in _WORD_FILES:
        key, method = _WORD_FILES[file]
        if key in config:
            yield _Candidate("$", {key: config[key]}, method)
        return
    if file in FOREIGN_CONFIGS:
        yield _Candidate("$.quantization_config", config.get("quantization_config"), FOREIGN_CONFIGS[file])
        return
    for keys, method in _KEYS_TOGETHER:
        if all(key in config for key in keys):
            yield _Candidate("$", {key: config[key] for key in keys}, method)
    yield from _in_model_config(config)
    yield _Candidate("$", {**config}, whole_file=True)


def _in_model_config(config: Config) -> Iterator[_Candidate]:
    """The sections under their keys, of the model and of the text model in it."""
    for path, owner in model_configs(config):
        beside = {key: owner[key] for key in KEYS_BESIDE if key in owner}
        for key in SECTION_KEYS:
            value = owner.get(key)
            if isinstance(value, dict) and value:
                value = {**beside, **value}
            yield _Candidate(f"{path}.{key}", value)
        for key, method in _METHOD_KEYS.items():
            if isinstance(owner.get(key), dict):
                yield _Candidate(f"{path}.{key}", owner[key], method)


def _in_metadata(checkpoint: Checkpoint, findings: list[Finding]) -> Iterator[_Candidate]:
    """The sections that stand as JSON text, or as a single word, in the metadata of the container."""
    for key, method in _METADATA_KEYS.items():
        text = checkpoint.metadata.get(key)
        path = f"__metadata__.{key}"
        value = _decoded(text, path, checkpoint, findings) if isinstance(text, str) else None
        if value is not None:
            yield _Candidate(path, value, method)
    for key, (method, known) in _METADATA_WORDS.items():
        if checkpoint.metadata.get(key) in known:
            yield _Candidate("__metadata__", {key: checkpoint.metadata[key]}, method)


def _in_markers(checkpoint: Checkpoint, findings: list[Finding]) -> Iterator[_Candidate]:
    """The settings in small tensors of text, each for the layer that it stands beside, as one section."""
    layers: dict[str, JSON] = {}
    for name, content in checkpoint.markers.items():
        value = _decoded(content.decode("utf-8", errors="replace"), name, checkpoint, findings)
        if value is not None:
            layers[name.rpartition(".")[0]] = value
    if layers:
        yield _Candidate("comfy_quant", {"layers": layers}, "comfy")


def _of_nncf(checkpoint: Checkpoint) -> Iterator[_Candidate]:
    """What NNCF says in an OpenVINO model of the weights; if it both compressed and quantized, no mode is of all."""
    compressed, quantized = (
        {key.removeprefix(prefix): value for key, value in checkpoint.metadata.items() if key.startswith(prefix)}
        for prefix in _NNCF
    )
    claims: dict[str, JSON] = {**quantized} or {**compressed}
    if claims:
        yield _Candidate("rt_info.nncf", claims, "openvino")


def _in_module_settings(checkpoint: Checkpoint) -> Iterator[_Candidate]:
    """What PyTorch files keep beside the tensors of a module: the settings of HQQ, the dtype that torchao rounds to."""
    hqq: dict[str, JSON] = {}
    torchao: dict[str, JSON] = {}
    for key, value in checkpoint.metadata.items():
        module, _, name = key.rpartition(".")
        if name == "nbits":
            group_size = checkpoint.metadata.get(f"{module}.group_size")
            hqq[module] = {"weight_quant_params": {"nbits": value, "group_size": group_size}}
        elif name == "_weight_target_dtype":
            torchao[module] = {"_type": "IntxWeightOnlyConfig", "_data": {"weight_dtype": value}}
    if hqq:
        yield _Candidate("nbits", {"quant_config": hqq}, "hqq")
    if torchao:
        yield _Candidate("target_dtype", {"quant_type": torchao}, "torchao")


def _decoded(text: str, path: str, checkpoint: Checkpoint, findings: list[Finding]) -> JSON:
    """The value that a text holds; None, and QL305, if it is not JSON."""
    try:
        return cast("JSON", _decode(text))
    except (ValueError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, RecursionError):  # whose text is of Python's limit
            reason = "nested too deeply"
        findings.append(Finding("QL305", f"{path}: not valid JSON: {reason}", checkpoint.files[0].path))
        return None


_decode: Callable[[str], object] = json.JSONDecoder().decode
