"""NNCF: what an OpenVINO model says of its weights, in its ``rt_info`` or in Optimum's ``openvino_config.json``.

How they are stored the graph itself says: see ``openvino``. Source: nncf 3.4.0
``quantization/algorithms/weight_compression/{algorithm,config}.py``, optimum-intel 2.2.0 ``openvino/configuration.py``.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from attrs import evolve, field, frozen

from quantlevels.container import JSON
from quantlevels.scheme import (
    PER_ROW,
    Config,
    DeclaredLevel,
    MethodConfig,
    Scheme,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import codebook_level
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: ``CompressWeightsMode``; the last three are words of older versions
CompressionMode: TypeAlias = Literal[
    "int8_sym", "int8_asym", "int4_sym", "int4_asym", "int3_sym", "int2_sym", "nf4", "cb4", "mxfp4", "mxfp8_e4m3",
    "fp8_e4m3", "fp4", "nvfp4", "codebook", "adaptive_codebook", "int8", "e2m1", "cb4_f8e4m3",
]  # fmt: skip
BackupMode: TypeAlias = Literal["none", "int8_sym", "int8_asym", "mxfp8_e4m3", "fp8_e4m3"]


class _Stored(NamedTuple):
    """How a mode stores weights."""

    level: str
    symmetric: bool = True
    #: bits of the scale and the zero point of a group
    side_bits: int = 16
    #: weights that share them, if the mode fixes it or the caller does not say
    group_size: int = 128
    fixed: bool = False


_INT8: Final = _Stored("UInt8", symmetric=False, side_bits=24, group_size=PER_ROW, fixed=True)
_MXFP4: Final = _Stored("MXFP4", group_size=32, fixed=True)
_CB4: Final = _Stored("CB_4", group_size=PER_ROW)
#: The signed integers of fewer than 4 bits are stored as unsigned ones with one zero point for all. A codebook has as
#: many bits as the caller gave it entries, which is not written down.
_STORED: Final[dict[str, _Stored]] = {
    "int8_sym": _Stored("Int8", group_size=PER_ROW, fixed=True),
    "int8_asym": _INT8,
    "int8": _INT8,
    "int4_sym": _Stored("Int4"),
    "int4_asym": _Stored("UInt4", symmetric=False, side_bits=20),
    "int3_sym": _Stored("Int3"),
    "int2_sym": _Stored("Int2"),
    "nf4": _Stored("NF4"),
    "fp4": _Stored("Float4E2M1"),
    "fp8_e4m3": _Stored("Float8E4M3FN"),
    "cb4": _CB4,
    "cb4_f8e4m3": _CB4,
    "mxfp4": _MXFP4,
    "e2m1": _MXFP4,
    "mxfp8_e4m3": _Stored("MXFP8_E4M3", group_size=32, fixed=True),
    "nvfp4": _Stored("NVFP4", group_size=16, fixed=True),
}
#: mode → what embeddings, the head and sensitive layers get if the caller does not say
_BACKUPS: Final[dict[str, BackupMode]] = {
    **dict.fromkeys(("mxfp4", "e2m1", "mxfp8_e4m3"), "mxfp8_e4m3"),
    **dict.fromkeys(("fp4", "fp8_e4m3"), "fp8_e4m3"),
}
_INT8_MODES: Final = frozenset({"int8_sym", "int8_asym", "int8"})
#: in the settings that are written as the text of a Python dict: some weights have narrower groups, and may
_ADJUSTED: Final = re.compile(r"'group_size_fallback_mode': ['\"]?(?:GroupSizeFallbackMode\.)?adjust", re.IGNORECASE)
#: Keys of Optimum for weights and activations together, or for several models: none says how one weight is stored.
_SEVERAL: Final = ("weight_quantization_config", "full_quantization_config", "quantization_configs", "default_config")


@frozen(kw_only=True, eq=False, repr=False)
class OpenVINOConfig(MethodConfig):
    """The settings of ``nncf.compress_weights``.

    Operators in ``ignored_scope`` are those that read the weights, so their names say nothing of the constants.

    Args:
        mode: of most weights; None after ``nncf.quantize``, which does not say it.
        group_size: weights that share a scale along a row, -1 for whole rows.
        backup_mode: of embeddings, the head and sensitive layers.
        compression_format: "dequantize" if weights are stored compressed.
        narrower_groups: whether rows that no group divides get narrower ones.
    """

    skip_keys: ClassVar[tuple[str, ...]] = ()
    ignored_keys: ClassVar[frozenset[str]] = words(
        "_dataset_kwargs advanced_parameters all_layers awq dataset dq_group_size dtype gptq ignored_scope "
        "lora_correction num_samples processor quant_method ratio scale_estimation sensitivity_metric statistics_path "
        "subset_size tokenizer bits sym backup_precision group_size_fallback model_type fast_bias_correction "
        "overflow_fix smooth_quant_alpha preset target_device max_drop drop_type advanced_quantization_parameters "
        "advanced_accuracy_restorer_parameters"
    ) | frozenset(_SEVERAL)

    mode: CompressionMode | None = None
    group_size: int | None = field(default=None, validator=valid_group_size)
    backup_mode: BackupMode | None = None
    compression_format: str = "dequantize"
    narrower_groups: bool = False

    def general(self) -> DeclaredLevel | None:
        """The level of the mode, with that of the backup mode as its alternative; None if the mode does not tell."""
        if self.mode is None or self.mode not in _STORED:
            return None
        return evolve(self._declared(self.mode), alternative=self._alternative(self.mode))

    def _alternative(self, mode: CompressionMode) -> DeclaredLevel | None:
        backup = self.backup_mode or _BACKUPS.get(mode, "int8_asym")
        return None if mode in _INT8_MODES or backup in ("none", mode) else self._declared(backup)

    def _declared(self, mode: CompressionMode | BackupMode) -> DeclaredLevel:
        stored = _STORED[mode]
        level = _level(stored.level)
        group = stored.group_size if stored.fixed or self.group_size is None else self.group_size
        bits = level.bits_per_weight
        if level.block.weights == 1:
            bits = with_scales(bits, group, stored.side_bits)
        return DeclaredLevel(
            level=level,
            group_size=group,
            symmetric=stored.symmetric,
            bits_per_weight=bits,
            usual_group=self.narrower_groups or (self.group_size is None and not stored.fixed),
        )

    def quantized_on_disk(self) -> bool:
        """Whether weights are stored compressed; in the other formats they are rounded when they are used."""
        return self.compression_format == "dequantize"


def _level(name: str) -> QuantizationLevel:
    prefix, _, bits = name.rpartition("_")
    return codebook_level(prefix, int(bits)) if prefix == "CB" else levels[name]


def _prepared(config: Config) -> Config:
    """The settings as NNCF calls them, whether it wrote them itself or Optimum did."""
    given: dict[str, JSON] = {key: value for key, value in config.items() if value not in (None, "None")}
    return _of_optimum(given) if given.keys() & {"bits", "dtype"} else _of_nncf(given)


def _of_nncf(settings: dict[str, JSON]) -> Config:
    """Settings of ``rt_info``, where every value is a text, and ``ignored_scope`` has parts with names of their own."""
    settings = {key.partition(".")[0]: value for key, value in settings.items()}
    group = settings.get("group_size")
    if isinstance(group, str) and re.fullmatch(r"-?\d{1,9}", group):
        settings["group_size"] = int(group)
    if _ADJUSTED.search(str(settings.get("advanced_parameters"))):
        settings["narrower_groups"] = True
    return settings


def _of_optimum(settings: dict[str, JSON]) -> Config:
    """Settings of ``openvino_config.json``: a width and whether it is symmetric, or the word of a number format."""
    if "model_type" in settings or any(key in settings for key in _SEVERAL):
        return settings  # of activations too, or of several models
    bits, word = settings.get("bits"), settings.get("dtype")
    if word is None and type(bits) is int:
        word = f"int{bits}"
    if word in ("int4", "int8"):
        word = f"{word}_{'sym' if settings.get('sym') else 'asym'}"
    settings["mode"] = word
    if "backup_precision" in settings:
        settings["backup_mode"] = settings["backup_precision"]
    if settings.get("group_size_fallback") == "adjust":
        settings["narrower_groups"] = True
    return settings


SCHEMES = (Scheme(method="openvino", aliases=("nncf",), config=OpenVINOConfig, prepare=_prepared),)
