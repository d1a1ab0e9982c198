"""How quantizers store a matrix: one rule a row, from its sizes to the bytes of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, final

from attrs import frozen

from quantlevels.errors import SizingError, UnknownLevelError
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel


class Matrix(NamedTuple):
    """A weight to be stored, in the terms the rules of schemes are written in."""

    rows: int
    columns: int
    #: bits of a code, of a scale, and of a zero point (0 where none is stored)
    bits: int
    scale_bits: int
    zero_bits: int
    #: weights along a row that share a scale
    group_size: int
    #: bytes of the level's own blocks, scales and all
    blocks: int
    #: what torch calls the level it is quantized from
    dtype: str

    @property
    def groups(self) -> int:
        """Scales along a row."""
        return -(-self.columns // self.group_size)

    @property
    def weights(self) -> int:
        """Logical weights."""
        return self.rows * self.columns

    @property
    def codes(self) -> int:
        """Bytes of codes packed without a gap."""
        return whole(self.weights * self.bits)

    @property
    def scales(self) -> int:
        """Bytes of the scales."""
        return self.rows * self.groups * self.scale_bits // BITS_PER_BYTE


def whole(bits: int) -> int:
    """Bytes that hold so many bits."""
    return -(-bits // BITS_PER_BYTE)


def words(bits: int) -> int:
    """Bytes of the 32-bit words that hold so many bits."""
    return -(-bits // 32) * 4


SizeRule: TypeAlias = Callable[[Matrix], int]


@final
@frozen(kw_only=True)
class Storage:
    """How a scheme stores one matrix.

    Args:
        scheme: the quantizer.
        format: what it calls this way of storing, or again its name.
        levels: names of the levels stored so.
        parts: tensor of the module → its bytes.
        group_size: weights that share a scale where it is not said; None for one scale a row.
        keeps: globs of modules it leaves as they are unless told otherwise.
        zero_point: whether zero points are a choice.
        grouped: whether the size of groups is a choice.
        ragged: what it does with a row that is no multiple of the group: narrower groups, by 32 at a time, until they
            tile it, are one choice.
        source: where the rule comes from.
    """

    scheme: str
    format: str
    levels: tuple[str, ...]
    parts: Mapping[str, SizeRule]
    group_size: int | None = None
    keeps: tuple[str, ...]
    zero_point: bool = False
    grouped: bool = True
    ragged: Literal["pads", "keeps", "narrows", "refuses"] = "pads"
    source: str


def _ints(*widths: int) -> tuple[str, ...]:
    return tuple(f"Int{width}" for width in widths)


#: What quantizers of linear layers leave alone: heads, embeddings, norms, the routers of experts, convolutions; by the
#: names of transformers and of llama.cpp.
_NOT_LINEAR: Final = (
    *("lm_head", "*embed*", "*.wte", "*.wpe", "*norm*", "*.router", "*.gate", "*.shared_expert_gate", "*conv*"),
    *("output", "*_embd", "*.ffn_gate_inp*"),
)
_PACKED: Final[dict[str, SizeRule]] = {
    "weight_packed": lambda m: m.rows * words(m.columns * m.bits),
    "weight_scale": lambda m: m.scales,
    "weight_zero_point": lambda m: m.groups * words(m.rows * m.zero_bits),  # along the output
    "weight_shape": lambda m: 16,
}
_BYTES: Final[dict[str, SizeRule]] = {
    "weight": lambda m: m.weights,
    "weight_scale": lambda m: m.scales,
    "weight_zero_point": lambda m: m.rows * m.groups * whole(m.zero_bits),
}
_BLOCKS: Final[dict[str, SizeRule]] = {"weight and weight_scale": lambda m: m.blocks}


def _compressed(
    format: str, levels: tuple[str, ...], parts: Mapping[str, SizeRule], *, integers: bool = False
) -> Storage:
    return Storage(
        scheme="compressed-tensors", format=format, levels=levels, parts=parts, keeps=_NOT_LINEAR, zero_point=integers,
        grouped=integers, ragged="refuses", source="compressed-tensors 0.20.0, the compressor each preset selects",
    )  # fmt: skip


#: One rule a row; where a scheme stores a level in several ways, the usual one first.
STORAGES: Final[tuple[Storage, ...]] = (
    _compressed("pack-quantized", _ints(2, 3, 4, 5, 6, 7), _PACKED, integers=True),
    _compressed("int-quantized", _ints(2, 3, 4, 5, 6, 7, 8), _BYTES, integers=True),
    _compressed("pack-quantized", _ints(8), _PACKED, integers=True),
    _compressed("float-quantized", ("Float8E4M3FN",), _BYTES),
    _compressed("nvfp4-pack-quantized", ("NVFP4",), {**_BLOCKS, "weight_global_scale": lambda m: 4}),
    _compressed("mxfp4-pack-quantized", ("MXFP4",), _BLOCKS),
    _compressed("mxfp6-pack-quantized", ("MXFP6_E2M3",), _BLOCKS),
    _compressed("mxfp8-quantized", ("MXFP8_E4M3",), _BLOCKS),
    Storage(
        scheme="gptq",
        format="gptq",
        levels=_ints(2, 3, 4, 5, 6, 7, 8),
        parts={
            "qweight": lambda m: m.rows * words(m.columns * m.bits),
            "qzeros": lambda m: m.groups * words(m.rows * m.bits),
            "scales": lambda m: m.scales,
            "g_idx": lambda m: m.columns * 4,
        },
        keeps=_NOT_LINEAR,
        source="gptqmodel 7.7.0 GPTQQuantLinear._register_gptq_buffers",
    ),
    Storage(
        scheme="awq",
        format="gemm",
        levels=_ints(4),
        parts={
            "qweight": lambda m: m.columns * words(m.rows * m.bits),
            "qzeros": lambda m: m.groups * words(m.rows * m.bits),
            "scales": lambda m: m.scales,
        },
        keeps=_NOT_LINEAR,
        ragged="refuses",
        source="autoawq 0.2.9 awq/modules/linear/gemm.py",
    ),
    Storage(
        scheme="mlx",
        format="affine",
        levels=_ints(1, 2, 3, 4, 5, 6, 8),
        parts={
            "weight": lambda m: m.rows * words(m.columns * m.bits),
            "scales": lambda m: m.scales,
            "biases": lambda m: m.scales,
        },
        group_size=64,
        keeps=(),
        ragged="keeps",
        source="mlx 0.32.4 mx.quantize, mlx-lm 0.32.2 quantize_model",
    ),
    Storage(
        scheme="mlx",
        format="mlx",
        levels=("MXFP4", "MXFP8_E4M3", "NVFP4"),
        parts=_BLOCKS,
        keeps=(),
        grouped=False,
        ragged="keeps",
        source="mlx 0.32.4 mx.quantize",
    ),
    Storage(
        scheme="bitsandbytes",
        format="bitsandbytes-4bit",
        levels=("NF4", "BNB_FP4"),
        parts={
            "weight": lambda m: m.codes,
            "absmax": lambda m: -(-m.weights // m.group_size) * 4,
            "quant_map": lambda m: 16 * 4,
            "quant_state": lambda m: len(
                f'{{"quant_type": "nf4", "blocksize": {m.group_size}, "dtype": "{m.dtype}", '
                f'"shape": [{m.rows}, {m.columns}]}}'
            ),
        },
        group_size=64,
        keeps=_NOT_LINEAR,
        source="bitsandbytes 0.50.2 QuantState.as_dict, without double quantization",
    ),
    Storage(
        scheme="bitsandbytes",
        format="bitsandbytes-8bit",
        levels=_ints(8),
        parts={"weight": lambda m: m.weights, "SCB": lambda m: m.rows * 4, "weight_format": lambda m: 1},
        keeps=_NOT_LINEAR,
        grouped=False,
        source="bitsandbytes 0.50.2 Linear8bitLt",
    ),
    Storage(
        scheme="fp8",
        format="fp8",
        levels=("Float8E4M3FN",),
        parts={
            "weight": lambda m: m.weights,
            "weight_scale_inv": lambda m: -(-m.rows // 128) * -(-m.columns // 128) * 4,
        },
        keeps=_NOT_LINEAR,
        grouped=False,
        source="transformers 5.23.0 integrations/finegrained_fp8.py",
    ),
    Storage(
        scheme="fbgemm_fp8",
        format="fbgemm_fp8",
        levels=("Float8E4M3FN",),
        parts={"weight": lambda m: m.weights, "weight_scale": lambda m: m.rows * 4},
        keeps=_NOT_LINEAR,
        grouped=False,
        source="transformers 5.23.0 integrations/fbgemm_fp8.py",
    ),
    Storage(
        scheme="modelopt",
        format="modelopt",
        levels=("NVFP4",),
        parts={**_BLOCKS, "weight_scale_2": lambda m: 4, "input_scale": lambda m: 4},
        keeps=_NOT_LINEAR,
        grouped=False,
        ragged="refuses",
        source="nvidia-modelopt 0.47.0 export",
    ),
    Storage(
        scheme="modelopt",
        format="modelopt",
        levels=("Float8E4M3FN",),
        parts={"weight": lambda m: m.weights, "weight_scale": lambda m: 4, "input_scale": lambda m: 4},
        keeps=_NOT_LINEAR,
        grouped=False,
        source="nvidia-modelopt 0.47.0 export",
    ),
    Storage(
        scheme="quanto",
        format="quanto",
        levels=_ints(2, 4),
        parts={
            "_data": lambda m: m.codes,
            "_scale": lambda m: m.scales,
            "_shift": lambda m: m.scales,
            "input_scale and output_scale": lambda m: 4,
        },
        group_size=128,
        keeps=_NOT_LINEAR,
        grouped=False,
        ragged="narrows",
        source="optimum-quanto 0.2.7 state_dict, QModuleMixin",
    ),
    Storage(
        scheme="quanto",
        format="quanto",
        levels=("Int8", "Float8E4M3FN", "Float8E5M2"),
        parts={
            "_data": lambda m: m.weights,
            "_scale": lambda m: m.rows * 2,
            "input_scale and output_scale": lambda m: 4,
        },
        keeps=_NOT_LINEAR,
        grouped=False,
        source="optimum-quanto 0.2.7 state_dict",
    ),
)

SCHEMES: Final = (*dict.fromkeys(storage.scheme for storage in STORAGES), "gguf")
_FORMATS: Final = tuple(dict.fromkeys(storage.format for storage in STORAGES))


def rules_of(scheme: str) -> list[Storage]:
    """How a scheme, or one of its formats by name, stores all that it stores."""
    return [storage for storage in STORAGES if scheme in (storage.scheme, storage.format)]


def storage_for(scheme: str, level: QuantizationLevel) -> Storage:
    """How a scheme, or one of its formats by name, stores a level.

    Raises:
        UnknownLevelError: if no scheme is called so.
        SizingError: if the scheme does not store that level; it names those it does.
    """
    rules = rules_of(scheme)
    if not rules:
        from difflib import get_close_matches

        close = get_close_matches(scheme, {*SCHEMES, *_FORMATS})
        raise UnknownLevelError(scheme, tuple(close) or SCHEMES, "scheme")
    for storage in rules:
        if level.name in storage.levels:
            return storage
    held = ", ".join(sorted({name for storage in rules for name in storage.levels}))
    raise SizingError(f"{scheme} does not store {level.name}; it stores {held}")


#: ggml type → what llama.cpp takes where a row is no multiple of its block: tensor_type_fallback in llama-quant.cpp
GGML_FALLBACKS: Final[dict[str, str]] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
#: What it never quantizes and its converter writes as FP32: norms, routers, small convolutions, positions; and what it
#: leaves as it is: tensor_allows_quantization in llama-quant.cpp, prepare_tensors in convert_hf_to_gguf.py
GGUF_WIDENS: Final = (
    *(
        "*norm*",
        "*ffn_gate_inp*",
        "*.gate",
        "*.router",
        "*.shared_expert_gate",
        "*conv1d*",
        "*conv.conv",
        "*pos*_emb*",
        "*token_type*",
    ),
    *("*ssm_a", "*A_log"),
)
GGUF_LEAVES: Final = (
    *("*altup*", "*laurel*", "*per_layer_model_proj*", "*time_mix_*", "*attn_rel_b", "*indexer.[kq]_proj"),
    *("*.patch_embd*", "*.patch_merger*", "*.rel_pos*", "sam.net_*", "sam.neck.*"),
)
