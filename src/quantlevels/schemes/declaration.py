"""What the config files of a checkpoint declare, wherever in them it hides, or what the label of a GGUF does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, final

from attrs import Factory, evolve, field, frozen

from quantlevels.container import JSON, Checkpoint
from quantlevels.errors import ConfigError, PluginError
from quantlevels.findings import Finding
from quantlevels.llamacpp import FILE_TYPES, GUESSED
from quantlevels.scheme import UNQUANTIZED_BITS, Config, DeclaredLevel, Scheme
from quantlevels.schemes import find_scheme
from quantlevels.schemes.names import Names
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels


def _names_of_overrides(declared: Declared) -> Names:
    return Names(declared.overrides)


@final
@frozen(kw_only=True)
class Declared:
    """What config files, or a GGUF's label, claim.

    Args:
        source: the file that says so.
        method: the quantization method by its own name; None for a plain claim of a dtype.
        known: whether a scheme answers to the method.
        dtype: the level of what is not quantized; None where nothing says.
        kv_cache: the level of the key-value cache, where that is quantized as well.
        levels: the levels of the quantized weights, the general one first.
        skipped: modules left unquantized, as the config names them.
        quantized_on_disk: whether weights are stored quantized, not only once they are loaded.
        buffers: last parts of the names of modules that hold no parameters.
        scheme: the scheme of the method.
        general: what is declared for modules that no override names.
        overrides: module name, glob or ``re:`` pattern → its own level; None for left as it is.
    """

    source: str
    method: str | None = None
    known: bool = True
    dtype: QuantizationLevel | None = None
    kv_cache: QuantizationLevel | None = None
    levels: tuple[DeclaredLevel, ...] = ()
    skipped: tuple[str, ...] = ()
    quantized_on_disk: bool = True
    buffers: frozenset[str] = frozenset()
    scheme: Scheme | None = field(default=None, repr=False)
    general: DeclaredLevel | None = field(default=None, repr=False)
    overrides: Mapping[str, DeclaredLevel | None] = field(factory=dict, repr=False)
    _names: Names = field(init=False, eq=False, repr=False, default=Factory(_names_of_overrides, takes_self=True))

    def level_of(self, module: str) -> DeclaredLevel | None:
        """What is declared for a module: by its own name, by the first entry that names it, else the general level."""
        ((level, _),) = self.by_level([module])
        return level

    def by_level(self, modules: list[str]) -> list[tuple[DeclaredLevel | None, list[str]]]:
        """The modules for which `level_of` says the same, together and in order; fast for the layers of a model."""
        if not (self.overrides and modules):
            return [(self.general, modules)]
        entries = self._names.firsts(modules)
        if not self.overrides.keys().isdisjoint(modules):
            pairs = zip(modules, entries, strict=True)
            entries = [module if module in self.overrides else entry for module, entry in pairs]
        said = {entry: self.general if entry is None else self.overrides[entry] for entry in set(entries)}
        if len(set(map(id, said.values()))) == 1:
            return [(said[entries[0]], modules)]
        groups: dict[int, tuple[DeclaredLevel | None, list[str]]] = {}
        for module, entry in zip(modules, entries, strict=True):
            level = said[entry]
            groups.setdefault(id(level), (level, []))[1].append(module)
        return list(groups.values())


@final
@frozen
class _Section:
    """A part of a config file that declares a quantization: where it stands, and what it says."""

    file: str
    path: str
    config: Config
    method: str


#: Keys of a config that names no method → the method that writes them. The first that fits counts.
_TELLTALES: Final = (
    ({"quip_params"}, "quip#"),
    ({"load_in_4bit"}, "bitsandbytes"),
    ({"load_in_8bit"}, "bitsandbytes"),
    ({"global_quant_config"}, "quark"),
    ({"config_groups"}, "compressed-tensors"),
    ({"quant_algo"}, "modelopt"),
    ({"weights_dtype", "is_static"}, "onnxruntime"),
    ({"per_model_config"}, "onnxruntime"),
    ({"modes", "per_channel"}, "onnxruntime"),
    ({"w_bit", "zero_point"}, "awq"),
    ({"bits", "group_size", "zero_point"}, "awq"),
    ({"bits", "group_size", "damp_percent"}, "gptq"),
    ({"bits", "group_size", "desc_act"}, "gptq"),
    ({"bits", "group_size", "sym"}, "gptq"),
    ({"weight_quant_params"}, "hqq"),
    ({"model_quant_type"}, "ascend"),
    ({"bits", "group_size"}, "mlx"),
)
#: Files of other runtimes, which borrow the names of methods → what their weights are quantized by.
_FOREIGN: Final = {"openvino_config.json": "openvino"}
#: Objects of a config.json that may hold the text model's own config.
_INNER_CONFIGS: Final = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "decoder",
    "pretrained_config",
)
#: What the methods call the modules they leave unquantized.
_SKIPPED: Final = (
    "modules_to_not_convert",
    "ignore",
    "ignored_layers",
    "exclude",
    "exclude_modules",
    "skip_modules",
    "llm_int8_skip_modules",
    "linear_weights_not_to_quantize",
)
_DTYPE_KEYS: Final = ("dtype", "torch_dtype")
#: What a model's config says of its quantization outside of the section for it.
_BESIDE: Final = ("expert_dtype",)


def declared_by(checkpoint: Checkpoint, registry: Registry = levels) -> tuple[Declared | None, tuple[Finding, ...]]:
    """What the config files of a checkpoint declare, None where they claim nothing, and what is unknown in it.

    Raises:
        ConfigError: for values that would mislead: bits that do not exist, groups of no weights, a dtype of numbers.
    """
    if checkpoint.container and checkpoint.container.llama_cpp:
        return _label(checkpoint), ()
    findings: list[Finding] = []
    dtype, source = _dtype(checkpoint, findings)
    sections = list(_sections(checkpoint))
    if not sections:
        return (Declared(source=source, dtype=dtype) if dtype else None), tuple(findings)
    first = sections[0]
    same = [section.config for section in sections if section.method == first.method]
    config = {key: value for config in reversed(same) for key, value in config.items()}
    scheme = find_scheme(first.method, registry)
    if scheme is None:
        message = f"method {first.method!r} is not known; its weights cannot be told apart from plain tensors"
        findings.append(Finding("QL302", message, first.file))
        return Declared(source=first.file, method=first.method, known=False, dtype=dtype), tuple(findings)
    return _read(evolve(first, config=config), scheme, dtype, findings), tuple(findings)


def _read(section: _Section, scheme: Scheme, dtype: QuantizationLevel | None, findings: list[Finding]) -> Declared:
    """What one section declares, by the scheme of its method; no level where it has words that are not known."""
    from quantlevels.schemes.structuring import complaints, only_unknown, structured  # here: only sections need cattrs

    skips = {key: value for key in _SKIPPED if (value := section.config.get(key)) is not None}
    config = {key: value for key, value in section.config.items() if key not in _SKIPPED}
    if skips:
        config[_SKIPPED[0]] = _all_of(skips)
    try:
        own = structured(scheme.prepare(config), scheme.config)
        general, overrides = own.general(), own.overrides()
        return Declared(
            source=section.file,
            method=scheme.method,
            dtype=dtype,
            kv_cache=own.kv_cache(),
            levels=_distinct(general, overrides),
            skipped=own.skipped(),
            quantized_on_disk=own.quantized_on_disk(),
            buffers=own.buffers(),
            scheme=scheme,
            general=general,
            overrides=overrides,
        )
    except Exception as error:  # cattrs raises groups of what hooks raise, and a plugin's class what it likes
        name = next((key for key, value in skips.items() if value is config[_SKIPPED[0]]), _SKIPPED[0])  # as written
        lines = [line.replace(_SKIPPED[0], name) for line in complaints(error, section.path)]
        if only_unknown(error):
            findings += (Finding("QL301", line, section.file) for line in lines)
            return Declared(source=section.file, method=scheme.method, dtype=dtype, scheme=scheme)
        raise ConfigError(tuple(f"{section.file}: {line}" for line in lines)) from error


def _all_of(skips: Mapping[str, JSON]) -> JSON:
    """The modules of several lists, each once; the first that is no list, for what is wrong with it to be said."""
    names: dict[str, None] = {}
    for value in skips.values():
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            return value
        names |= dict.fromkeys(map(str, value))
    return list(names)


def _label(checkpoint: Checkpoint) -> Declared | None:
    """What the ``general.file_type`` of a GGUF says: the type most of its weights are meant to have."""
    label = checkpoint.metadata.get("general.file_type")
    if type(label) is not int:
        return None
    _, name = FILE_TYPES.get(label & ~GUESSED, ("", None))
    if name is None:
        return None
    level, source = levels[name], checkpoint.files[0].path
    if level.bits_per_param >= UNQUANTIZED_BITS:
        return Declared(source=source, dtype=level)
    declared = DeclaredLevel(level=level, bits_per_weight=level.bits_per_weight)
    return Declared(source=source, method="gguf", levels=(declared,), general=declared)


def _distinct(
    general: DeclaredLevel | None, overrides: Mapping[str, DeclaredLevel | None]
) -> tuple[DeclaredLevel, ...]:
    """The general level, then each other one once, with all modules it is for."""
    targets: dict[DeclaredLevel, list[str]] = {}
    for module, level in overrides.items():
        if level is not None and level != general:
            targets.setdefault(evolve(level, targets=None, parameters=None), []).append(module)
    others = tuple(evolve(level, targets=tuple(modules)) for level, modules in targets.items())
    return others if general is None else (general, *others)


def _sections(checkpoint: Checkpoint) -> Iterator[_Section]:
    """The parts of the config files that declare a quantization, the model's own config first."""
    for file, config in checkpoint.configs.items():
        if file == "adapter_config.json":
            continue
        for path, section in _candidates(config):
            if section is None or section == {}:
                continue
            if not isinstance(section, dict):
                raise ConfigError(
                    (f"{file}: {path}: expected an object that describes a quantization, got {section!r:.80}",)
                )
            if isinstance(inner := section.get("quantization_config"), dict) and path != "$":
                section |= inner  # as older transformers write it
            if method := _method(section, path):
                yield _Section(file, path, section, _FOREIGN.get(file, method))


def _candidates(config: Config) -> Iterator[tuple[str, object]]:
    """Where a quantization may be declared: paths in a config, and what stands there."""
    for path, owner in _owners(config):
        beside = {key: owner[key] for key in _BESIDE if key in owner}
        # MLX reads its own key, and may leave the other as it was in the model it quantized
        for key in ("quantization", "quantization_config", "compression_config"):
            if key in owner:
                section = owner[key]
                yield f"{path}.{key}", {**beside, **section} if isinstance(section, dict) and section else section
    yield "$", config


def _owners(config: Config) -> Iterator[tuple[str, Config]]:
    """A model's config, and the text model's own in it, each with its path."""
    yield "$", config
    for key in _INNER_CONFIGS:
        if isinstance(inner := config.get(key), dict):
            yield f"$.{key}", inner


def _method(section: Config, path: str) -> str | None:
    """The method of a section: by name, else by the keys only one method writes; None where it declares nothing."""
    for key in ("quant_method", "method"):  # the second is gptqmodel's own name for the first
        if isinstance(named := section.get(key), str) and (path != "$" or key == "quant_method" or "bits" in section):
            return named
    if section and all(isinstance(value, dict) and "weights" in value for value in section.values()):
        return "quanto"
    if section.keys() == {"wbits"}:  # all that its quant_config.json says
        return "squeezellm"
    for keys, method in _TELLTALES:
        if keys <= section.keys():
            return "gptq" if method == "mlx" and path == "$" else method  # MLX never has a file of its own
    return None


def _dtype(checkpoint: Checkpoint, findings: list[Finding]) -> tuple[QuantizationLevel | None, str]:
    """The level of what is not quantized, as the model's config names it, and the file that does."""
    for file, config in checkpoint.configs.items():
        if file in _FOREIGN:
            continue
        for path, owner in _owners(config):
            if file != "config.json" and path == "$" and "quant_method" in owner:
                continue
            for key in _DTYPE_KEYS:
                said = owner.get(key)
                if said is None or said == "auto":
                    continue
                if not isinstance(said, str):
                    raise ConfigError((f"{file}: {path}.{key}: expected the name of a dtype, got {said!r:.80}",))
                try:
                    return levels[said], file
                except (LookupError, PluginError) as error:
                    findings.append(Finding("QL301", f"{path}.{key}: {error}", file))
                    return None, file
    return None, ""
