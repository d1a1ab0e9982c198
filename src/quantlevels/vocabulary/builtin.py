"""The fixed five. Their names, aliases and semantics never change, and nothing can replace them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "BF16",
    "FP16",
    "FP32",
    "INT4",
    "INT8",
    "BuiltinName",
    "is_builtin_name",
]

BuiltinName: TypeAlias = Literal["None", "Float16", "BFloat16", "Int8", "Int4"]

FP32: Final[QuantizationLevel] = QuantizationLevel(
    name="None",
    label="FP32",
    bits_per_param=32,
    aliases=("fp32", "f32", "float32", "none"),
    spellings={
        "safetensors": ("F32",),
        # torch.float is 32 bits, numpy's and Python's float 64: the bare word is ambiguous outside of a dialect
        "torch": ("float32", "float"),
        "numpy": ("float32", "single", "<f4", ">f4"),
        "jax": ("float32", "single"),
        "onnx": ("FLOAT", 1),
        "ggml": ("F32", 0),
        "tensorrt": ("kFLOAT", "FLOAT", 0),
        "mlx": ("float32",),
        "openvino": ("f32", "float32"),
        "triton": ("fp32", "float32", "TYPE_FP32"),
        "arrow": ("float", "float32"),
        "ctranslate2": ("float32",),
        "hf": ("float32",),
    },
    kind="float",
    summary="IEEE 754 binary32: not quantized at all",
    source="IEEE 754-2019",
)
FP16: Final[QuantizationLevel] = QuantizationLevel(
    name="Float16",
    label="FP16",
    bits_per_param=16,
    aliases=("fp16", "f16", "float16", "half"),
    spellings={
        "safetensors": ("F16",),
        "torch": ("float16", "half"),
        "numpy": ("float16", "half", "<f2", ">f2"),
        "jax": ("float16",),
        "onnx": ("FLOAT16", 10),
        "ggml": ("F16", 1),
        "tensorrt": ("kHALF", "HALF", 1),
        "mlx": ("float16",),
        "openvino": ("f16", "float16"),
        "triton": ("fp16", "float16", "TYPE_FP16"),
        "arrow": ("halffloat", "float16"),
        "ctranslate2": ("float16",),
        "hf": ("float16",),
    },
    kind="float",
    summary="IEEE 754 binary16: 5 exponent and 10 mantissa bits",
    source="IEEE 754-2019",
)
BF16: Final[QuantizationLevel] = QuantizationLevel(
    name="BFloat16",
    label="BF16",
    bits_per_param=16,
    aliases=("bf16", "bfloat16"),
    spellings={
        "safetensors": ("BF16",),
        "torch": ("bfloat16",),
        "numpy": ("bfloat16",),
        "jax": ("bfloat16",),
        "onnx": ("BFLOAT16", 16),
        "ggml": ("BF16", 30),
        "tensorrt": ("kBF16", "BF16", 7),
        "mlx": ("bfloat16",),
        "openvino": ("bf16", "bfloat16"),
        "triton": ("bf16", "bfloat16", "TYPE_BF16"),
        "ctranslate2": ("bfloat16",),
        "hf": ("bfloat16",),
    },
    kind="float",
    summary="bfloat16: the 8 exponent bits of FP32 and 7 mantissa bits",
    source="ml_dtypes 0.6.0 bfloat16",
)
INT8: Final[QuantizationLevel] = QuantizationLevel(
    name="Int8",
    label="INT8",
    bits_per_param=8,
    aliases=("int8", "i8", "q8"),
    spellings={
        "safetensors": ("I8",),
        "torch": ("int8", "qint8"),
        "numpy": ("int8", "|i1"),
        "jax": ("int8",),
        "onnx": ("INT8", 3),
        "ggml": ("I8", 24),
        "tensorrt": ("kINT8", "INT8", 2),
        "mlx": ("int8",),
        "openvino": ("i8", "int8_t"),
        "triton": ("int8", "TYPE_INT8"),
        "arrow": ("int8",),
        # what follows int8 is the type in which CTranslate2 computes, not one that it stores
        "ctranslate2": ("int8", "int8_float32", "int8_float16", "int8_bfloat16"),
        "hf": ("int8",),
    },
    kind="int",
    summary="8-bit integers; the scheme defines what a code means",
    source="safetensors 0.8.0 tensor.rs",
)
INT4: Final[QuantizationLevel] = QuantizationLevel(
    name="Int4",
    label="INT4",
    bits_per_param=4,
    aliases=("int4", "i4", "q4"),
    spellings={
        "torch": ("int4",),
        "numpy": ("int4",),
        "jax": ("int4",),
        # no word of safetensors and none of ggml: neither stores a bare 4-bit integer
        "onnx": ("INT4", 22),
        "tensorrt": ("kINT4", "INT4", 9),
        "openvino": ("i4", "int4_t"),
        "hf": ("int4",),
    },
    kind="int",
    summary="4-bit integers; the scheme defines what a code means",
    source="ml_dtypes 0.6.0 int4",
)

BUILTIN: Final[tuple[QuantizationLevel, ...]] = (FP32, FP16, BF16, INT8, INT4)

#: `from_bits`: 16 is never BFloat16, and no plugin can add to it.
BY_BITS: Final = {32: FP32, 16: FP16, 8: INT8, 4: INT4}

_NAMES: Final[frozenset[str]] = frozenset(get_args(BuiltinName))


def is_builtin_name(name: str) -> TypeIs[BuiltinName]:
    """Whether ``name`` is exactly the serialised form of one of the five."""
    return name in _NAMES
