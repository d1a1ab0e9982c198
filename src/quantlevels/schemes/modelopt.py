"""NVIDIA ModelOpt: one algorithm for all layers, or one for each; codes in ``weight``, scales beside it.

TensorRT-LLM names its algorithms alike, and has more of them. Source: nvidia-modelopt 0.47.0,
``torch/export/quant_utils.py`` and ``convert_hf_config.py``; TensorRT-LLM ``quantization/mode.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import evolve, field, frozen

from quantlevels.errors import closest, did_you_mean
from quantlevels.scheme import (
    Config,
    DeclaredLevel,
    MethodConfig,
    Scheme,
    Storage,
    TensorRule,
    UnknownTypeError,
    declared_integer,
    level_of_each,
    renamed,
    unwrapped,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import declared_as, declared_in_blocks
from quantlevels.schemes.compressed_tensors import CompressedTensorsConfig, Group, QuantizationArgs
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

_SCALE_BITS = 32
#: level → the algorithms that make it with a scale per row, or in blocks of its own
_LEVELS: dict[str, str] = {
    "Float8E4M3FN": "FP8 FP8_AFFINE FP8_PER_CHANNEL_PER_TOKEN",
    "NVFP4": "NVFP4 NVFP4_AFFINE NVFP4_AWQ NVFP4_SVD W4A16_NVFP4 W4A8_NVFP4_FP8",
    "MXFP4": "MXFP4 W4A16_MXFP4 W4A8_MXFP4_FP8 W4A8_MXFP4_MXFP8",
    "MXFP8_E4M3": "MXFP8",
    "Int8": "INT8 INT8_SQ W8A16 W8A8_SQ_PER_CHANNEL W8A8_SQ_PER_TENSOR_PLUGIN "
    "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN W8A8_SQ_PER_CHANNEL_PER_TENSOR_PLUGIN "
    "W8A8_SQ_PER_TENSOR_PER_TOKEN_PLUGIN",
    "Int4": "W4A16 W4A8_QSERVE_PER_CHANNEL",
    "NF4": "NF4",
}
_ALGORITHMS: dict[str, str] = {}
for _level, _algorithms in _LEVELS.items():
    _ALGORITHMS.update(dict.fromkeys(_algorithms.split(), _level))
#: algorithm of integers in groups → bits of a code, and whether their scales are known to be of 32 bits
_IN_GROUPS = {
    "INT4_AWQ": (4, True),
    "W4A16_AWQ": (4, True),
    "W4A8_AWQ": (4, True),
    "INT4": (4, True),
    "W4A16_GPTQ": (4, False),
    "W8A16_GPTQ": (8, False),
    "W4A8_QSERVE_PER_GROUP": (4, False),
}
#: FP8 with a scale for each square of weights
_IN_BLOCKS = ("FP8_PB_WO", "FP8_PB_REAL", "FP8_BLOCK_SCALES")
_BLOCK = 128
_MIXED = "MIXED_PRECISION"
_NONE = ("", "NO_QUANT", "NONE")


@frozen(kw_only=True, eq=False, repr=False)
class Layer:
    """The algorithm of one layer; ModelOpt writes some in small letters."""

    ignored_keys: ClassVar[frozenset[str]] = words("pre_quant_scale")

    quant_algo: str | None = None
    group_size: int | None = field(default=None, validator=valid_group_size)
    has_zero_point: bool = False

    def declared(self) -> DeclaredLevel | None:
        """The level the algorithm makes; None if the layer has none.

        Raises:
            UnknownTypeError: for an algorithm that is not known.
        """
        algorithm = (self.quant_algo or "").upper()
        if algorithm in _IN_BLOCKS:
            block = self.group_size if self.group_size and self.group_size > 0 else _BLOCK
            return declared_in_blocks("Float8E4M3FN", (block, block))
        if algorithm in _IN_GROUPS:
            bits, scales_are_known = _IN_GROUPS[algorithm]
            declared = declared_integer(bits, self.group_size, not self.has_zero_point, side_bits=_SCALE_BITS)
            if not scales_are_known:
                return evolve(declared, bits_per_weight=None)
            return declared
        if algorithm in _NONE:
            return None
        if algorithm not in _ALGORITHMS:
            meant = did_you_mean(closest(algorithm, (*_ALGORITHMS, *_IN_GROUPS, *_IN_BLOCKS)))
            raise UnknownTypeError(f"quant_algo {self.quant_algo!r:.80} is not known{meant}")
        declared = declared_as(_ALGORITHMS[algorithm])
        # a format of that name with other groups than its own: the level is kept, since its codes are the same
        if declared.level.kind == "microscaling" and self.group_size not in (None, declared.group_size):
            stored = with_scales(declared.level.bits_per_param, self.group_size, BITS_PER_BYTE)
            return evolve(declared, group_size=self.group_size, bits_per_weight=stored)
        return declared


@frozen(kw_only=True, eq=False, repr=False)
class ModelOptConfig(MethodConfig):
    """``hf_quant_config.json``, or a ``quantization_config`` of method modelopt.

    That of diffusers calls the algorithm ``quant_type``, and says after ``_`` what activations have.
    """

    skip_keys: ClassVar[tuple[str, ...]] = ("exclude_modules", "ignore", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words(
        "algorithm calib_cfg channel_quantize clamp_val disable_conv_quantization exclude_modules_pattern format "
        "forward_loop modelopt_config packing_format pre_quant_scale quantization_status scale_block_quantize "
        "scale_channel_quantize smoothquant_val use_meta_recipe weight_only"
    )

    quant_algo: str | None = None
    group_size: int | None = field(default=None, validator=valid_group_size)
    has_zero_point: bool = False
    kv_cache_quant_algo: str | None = None
    kv_cache_scheme: QuantizationArgs | str | None = None
    quantized_layers: Mapping[str, Layer] | None = None
    config_groups: Mapping[str, Group] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all layers, if there is one algorithm for all."""
        # modelopt writes `quant_algo` beside groups in the words of compressed-tensors, whose `type` may be wrong:
        # "float" for the int4 weights of W4A8_AWQ. So the groups count only if the algorithm says nothing
        if (self.quant_algo or _MIXED).upper() == _MIXED:
            return self._groups().general()
        return Layer(
            quant_algo=self.quant_algo, group_size=self.group_size, has_zero_point=self.has_zero_point
        ).declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers that have an algorithm of their own."""
        if (self.quant_algo or _MIXED).upper() == _MIXED and not self.quantized_layers:
            return self._groups().overrides()
        return level_of_each(self.quantized_layers or {}, Layer.declared)

    def _groups(self) -> CompressedTensorsConfig:
        """Groups as in compressed-tensors, which count if no algorithm is named."""
        return CompressedTensorsConfig(config_groups=None if self.quantized_layers else self.config_groups)

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of the key-value cache."""
        if isinstance(self.kv_cache_scheme, QuantizationArgs):
            return self.kv_cache_scheme.level()
        word = (self.kv_cache_scheme or self.kv_cache_quant_algo or "").upper()
        if word in _NONE:
            return None
        if word not in _ALGORITHMS:
            raise UnknownTypeError(
                f"kv_cache_quant_algo {word!r:.80} is not known{did_you_mean(closest(word, _ALGORITHMS))}"
            )
        return levels[_ALGORITHMS[word]]


def _prepare(config: Config) -> Config:
    """The fields of hf_quant_config.json stand in ``quantization``; those of diffusers have names of their own."""
    config = unwrapped("quantization")(config)
    word = config.get("quant_type")
    if not isinstance(word, str):
        return config
    weights = word.upper().partition("_")[0]
    if weights in _IN_GROUPS:  # the blocks of NVFP4 and its like are fixed
        config = renamed(block_quantize="group_size")(config)
    kept = {key: value for key, value in config.items() if key not in ("quant_type", "block_quantize")}
    return {**kept, "quant_algo": weights}


_INPUT_SCALE = TensorRule("input_scale", ("None",), "1", role="activation")
_STORAGE = (
    Storage(
        format="modelopt",
        levels=("NVFP4",),
        tensors=(
            TensorRule("weight", ("UInt8",), "rows packed_columns", role="codes"),
            TensorRule("weight_scale", ("Float8E4M3FN",), "rows groups", role="scale"),
            TensorRule("weight_scale_2", ("None",), "1", role="scale"),
            _INPUT_SCALE,
        ),
        grouped=False,
        ragged="refuses",
        source="nvidia-modelopt 0.47.0 export",
    ),
    Storage(
        format="modelopt",
        levels=("Float8E4M3FN",),
        tensors=(
            TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes"),
            TensorRule("weight_scale", ("None",), "1", role="scale"),
            _INPUT_SCALE,
        ),
        grouped=False,
        source="nvidia-modelopt 0.47.0 export",
    ),
)

SCHEMES = (
    Scheme(
        method="modelopt",
        config=ModelOptConfig,
        packings=SCALED,
        storage=_STORAGE,
        aliases=("modelopt_fp4", "modelopt_fp8", "modelopt_mxfp8", "modelopt_mixed"),
        prepare=_prepare,
    ),
)
