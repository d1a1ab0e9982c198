"""Which method a section is written for: by the name in it, else by the keys that only one method writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, final

from quantlevels.errors import did_you_mean
from quantlevels.findings import Finding
from quantlevels.scheme import Config, Scheme
from quantlevels.schemes import find_scheme
from quantlevels.schemes.catalogue import CATALOGUE
from quantlevels.schemes.declaration.places import SECTION_KEYS, Section
from quantlevels.vocabulary.plain import value_text
from quantlevels.vocabulary.registry import Registry

#: Keys of a section that names no method → the method that writes them. The first row that fits counts: rows of keys
#: that only one method has come before those of keys that others borrow.
_TELLTALES: Final = tuple(
    # keys of one row must all be there: a single key such as "bits" belongs to a dozen methods
    (frozenset(keys.split()), method)
    for keys, method in (
        ("load_in_4bit", "bitsandbytes"),
        ("load_in_8bit", "bitsandbytes"),
        ("_load_in_4bit", "bitsandbytes"),
        ("_load_in_8bit", "bitsandbytes"),
        ("global_quant_config", "quark"),
        ("layer_quant_config", "quark"),
        ("layer_type_quant_config", "quark"),
        ("quant_algo", "modelopt"),
        ("quantized_layers", "modelopt"),
        ("kv_cache_quant_algo", "modelopt"),
        ("qformat_weight", "fp8"),
        ("svdq_w4a4", "nunchaku_lite"),
        ("b_dtype", "humming"),
        ("model_quant_type", "modelslim"),
        ("weights_dtype is_static", "onnxruntime"),
        ("per_model_config", "onnxruntime"),
        ("modes per_channel", "onnxruntime"),
        ("weights_dtype use_svd", "sdnq"),
        ("weights_dtype svd_rank", "sdnq"),
        ("config_groups", "compressed-tensors"),
        ("sparsity_config", "compressed-tensors"),
        ("weight_quant_params", "hqq"),
        ("nbits_per_codebook num_codebooks", "aqlm"),
        ("vector_lens num_centroids", "vptq"),
        ("config_for_layers", "vptq"),
        ("forward_dtype hadamard_group_size", "fp_quant"),
        ("autoround_version", "auto-round"),
        ("packing_format data_type", "auto-round"),
        ("weight_block_size activation_scheme", "fp8"),
        ("weight_block_size fmt", "fp8"),
        ("w_bit zero_point", "awq"),
        ("bits group_size zero_point", "awq"),
        ("bits group_size damp_percent", "gptq"),
        ("bits group_size desc_act", "gptq"),
        ("bits group_size sym", "gptq"),
    )
)
#: Keys that mean MLX in a model's config, and GPTQ in a file of its own: MLX never writes such a file.
_BITS_IN_GROUPS: Final = frozenset({"bits", "group_size"})
#: Keys that hold the name of a method: that of gptqmodel and DeepCompressor is the second.
_NAME_KEYS: Final = ("quant_method", "method")
#: An object in a section that another section stands in: ModelOpt's own file, copied whole into a config.json.
_NESTED: Final = "quantization"


@final
class Claim(NamedTuple):
    """A section and the method it is written for.

    Args:
        section: the section.
        word: what the section calls its method; None if it has no name for it, and no known keys.
        scheme: the scheme of the method, None if none is known.
    """

    section: Section
    word: str | None
    scheme: Scheme | None


def claim_of(section: Section, registry: Registry, findings: list[Finding]) -> Claim | None:
    """Whose words a section is in; None if it declares nothing, or names its method by something that is not text.

    Findings: QL302 for a method that is not known, QL305 for a name that is not text.
    """
    word, place = _named(section)
    if word is not None and not isinstance(word, str):
        message = f"{section.path}.{place}: expected the name of a method, got {value_text(word)}"
        findings.append(Finding("QL305", message, section.file))
        return None
    method = section.method or word or _method_of_keys(section.config, section.whole_file)
    if method is None:
        if section.whole_file:
            return None
        keys = ", ".join(value_text(key) for key in list(section.config)[:_MOST_KEYS])
        message = f"{section.path}: names no method, and no known method writes its keys ({keys}); it is not read"
        findings.append(Finding("QL302", message, section.file))
        return Claim(section, word, None)
    scheme = None if section.foreign else find_scheme(method, registry)
    if scheme is None:
        findings.append(Finding("QL302", _unknown(method), section.file))
    return Claim(section, method, scheme)


#: how many keys of a section a finding lists
_MOST_KEYS: Final = 5
#: names of methods are short: less likeness than this suggests methods that have nothing in common
_MIN_LIKENESS: Final = 0.75


def _named(section: Section) -> tuple[object, str]:
    """What a section gives as the name of its method, and under which key; None if it gives none."""
    for key in _NAME_KEYS:
        # the second key is too common in a file of which it is not known what it declares
        is_name = not section.whole_file or key == "quant_method" or "bits" in section.config
        if is_name and section.config.get(key) is not None:
            return section.config[key], key
    return None, ""


def _method_of_keys(config: Config, whole_file: bool) -> str | None:
    """The method that writes the keys of a section; None if no known method does."""
    if _is_map_of_quanto(config):
        return "quanto"
    if config.keys() == {"wbits"}:  # all that its quant_config.json says
        return "squeezellm"
    for keys, method in _TELLTALES:
        if keys <= config.keys():
            return method
    if config.keys() >= _BITS_IN_GROUPS:  # last: every integer quantizer has these two among others
        return "gptq" if whole_file else "mlx"
    nested = config.get(_NESTED)
    if isinstance(nested, dict) and not whole_file:
        return _method_of_keys(nested, True)
    return None


def _is_map_of_quanto(config: Config) -> bool:
    """Whether a file is ``quanto_qmap.json``: modules by name, each with the type of its weights."""
    if not config or not config.keys().isdisjoint(SECTION_KEYS):  # a config.json may hold nothing but a section
        return False
    return all(isinstance(value, Mapping) and "weights" in value for value in config.values())


def _unknown(method: str) -> str:
    """The message for a method that no scheme has."""
    from difflib import get_close_matches  # here: only mistakes need it

    known = [name for row in CATALOGUE for name in row.methods]
    meant = next(iter(get_close_matches(method.strip().lower(), known, n=1, cutoff=_MIN_LIKENESS)), None)
    suggestion = did_you_mean(meant)
    return f"method {value_text(method)} is not known: only tensors that show their own layout are read{suggestion}"
