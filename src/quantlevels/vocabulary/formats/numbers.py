"""Plain number formats: floats, integers, booleans, complex numbers. One code per weight, and nothing else.

Every level is a constant that has the level's name.
"""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.level import Block, Kind, QuantizationLevel, Spelling


def _number(
    name: str,
    bits: int,
    kind: Kind,
    summary: str,
    *,
    source: str,
    label: str | None = None,
    aliases: tuple[str, ...] = (),
    stored: int | None = None,
    **spellings: tuple[Spelling, ...],
) -> QuantizationLevel:
    """A level; an element takes ``stored`` bits if more than its code; ``spellings`` by dialect, preferred first."""
    if "torch" in spellings:  # transformers writes `str(dtype)` without the prefix `torch.`
        spellings["hf"] = spellings["torch"][:1]
    return QuantizationLevel(
        name=name,
        label=label or name.upper(),
        bits_per_param=bits,
        block=Block(1, stored or bits),
        aliases=aliases,
        spellings=spellings,
        kind=kind,
        summary=summary,
        source=source,
    )


_IEEE: Final = "IEEE 754-2019"
_ML_DTYPES: Final = "ml_dtypes 0.6.0 finfo, iinfo and README"
_SAFETENSORS: Final = "safetensors 0.8.0 tensor.rs"
_TORCH: Final = "torch 2.13.0 dtypes"

# fmt: off
Float64: Final = _number(
    "Float64", 64, "float", "IEEE 754 binary64: 11 exponent and 52 mantissa bits",
    aliases=("f64",), label="FP64", source=_IEEE,
    safetensors=("F64",), torch=("float64", "double"), numpy=("float64", "double", "<f8", ">f8"),
    jax=("float64", "double"), mlx=("float64",), onnx=("DOUBLE", 11), ggml=("F64", 28), openvino=("f64", "double64"),
    triton=("fp64", "float64", "TYPE_FP64"), arrow=("double", "float64"),
)
# 19 bits that processors compute with, kept in words of 32: no file has this type
TF32: Final = _number(
    "TF32", 19, "float", "TensorFloat-32: 8 exponent and 10 mantissa bits in 32; for computing, never for storing",
    aliases=("tensorfloat32",), stored=32, source="Wikipedia, TensorFloat-32",
)
# the bare `fp8` is this one: safetensors' F8_E4M3, TensorRT's kFP8, quanto's qfloat8 and Quark's fp8_e4m3 mean it
Float8E4M3FN: Final = _number(
    "Float8E4M3FN", 8, "float", "4 exponent and 3 mantissa bits, to 448, no infinity; what `fp8` means for weights",
    aliases=("fp8", "fp8_e4m3", "e4m3fn"), label="FP8_E4M3FN", source=_ML_DTYPES,
    safetensors=("F8_E4M3",), torch=("float8_e4m3fn",), numpy=("float8_e4m3fn",), jax=("float8_e4m3fn",),
    onnx=("FLOAT8E4M3FN", 17), tensorrt=("kFP8", "FP8", 6), openvino=("f8e4m3",), triton=("fp8e4nv", "float8e4nv"),
)
Float8E5M2: Final = _number(
    "Float8E5M2", 8, "float", "5 exponent and 2 mantissa bits, to 57344, infinities as in IEEE 754",
    aliases=("e5m2",), label="FP8_E5M2", source=_ML_DTYPES,
    safetensors=("F8_E5M2",), torch=("float8_e5m2",), numpy=("float8_e5m2",), jax=("float8_e5m2",),
    onnx=("FLOAT8E5M2", 19), openvino=("f8e5m2",), triton=("fp8e5", "float8e5"),
)
# AMD's: its largest number is 240 like that of the IEEE variant, but all codes mean other numbers
Float8E4M3FNUZ: Final = _number(
    "Float8E4M3FNUZ", 8, "float", "4 exponent and 3 mantissa bits, bias 8, to 240, one zero, no infinity",
    aliases=("e4m3fnuz",), label="FP8_E4M3FNUZ", source=_ML_DTYPES,
    safetensors=("F8_E4M3FNUZ",), torch=("float8_e4m3fnuz",), numpy=("float8_e4m3fnuz",), jax=("float8_e4m3fnuz",),
    onnx=("FLOAT8E4M3FNUZ", 18), triton=("fp8e4b8", "float8e4b8"),
)
Float8E5M2FNUZ: Final = _number(
    "Float8E5M2FNUZ", 8, "float", "5 exponent and 2 mantissa bits, bias 16, to 57344, one zero, no infinity",
    aliases=("e5m2fnuz",), label="FP8_E5M2FNUZ", source=_ML_DTYPES,
    safetensors=("F8_E5M2FNUZ",), torch=("float8_e5m2fnuz",), numpy=("float8_e5m2fnuz",), jax=("float8_e5m2fnuz",),
    onnx=("FLOAT8E5M2FNUZ", 20), triton=("fp8e5b16", "float8e5b16"),
)
# JAX's float8_e4m3 is the variant of IEEE 754, with infinities: never the same as safetensors' F8_E4M3
Float8E4M3: Final = _number(
    "Float8E4M3", 8, "float", "4 exponent and 3 mantissa bits, to 240, infinities as in IEEE 754",
    label="FP8_E4M3_IEEE", source=_ML_DTYPES,
    numpy=("float8_e4m3",), jax=("float8_e4m3",),
)
Float8E4M3B11FNUZ: Final = _number(
    "Float8E4M3B11FNUZ", 8, "float", "4 exponent and 3 mantissa bits, bias 11, to 30, one zero, no infinity",
    aliases=("e4m3b11fnuz",), label="FP8_E4M3B11FNUZ", source=_ML_DTYPES,
    numpy=("float8_e4m3b11fnuz",), jax=("float8_e4m3b11fnuz",),
)
Float8E3M4: Final = _number(
    "Float8E3M4", 8, "float", "3 exponent and 4 mantissa bits, to 15.5, infinities as in IEEE 754",
    aliases=("e3m4",), label="FP8_E3M4", source=_ML_DTYPES,
    numpy=("float8_e3m4",), jax=("float8_e3m4",),
)
Float8E8M0FNU: Final = _number(
    "Float8E8M0FNU", 8, "float", "8 exponent bits only: powers of two, no sign, no zero; the scales of MX blocks",
    aliases=("e8m0", "ue8m0", "e8m0fnu"), label="FP8_E8M0FNU", source=_ML_DTYPES,
    safetensors=("F8_E8M0",), torch=("float8_e8m0fnu",), numpy=("float8_e8m0fnu",), jax=("float8_e8m0fnu",),
    onnx=("FLOAT8E8M0", 24), tensorrt=("kE8M0", "E8M0", 11), openvino=("f8e8m0",),
)
# torch has no 6-bit floats: tools store them packed in bytes
Float6E2M3: Final = _number(
    "Float6E2M3", 6, "float", "2 exponent and 3 mantissa bits, to 7.5, neither infinity nor NaN",
    aliases=("e2m3",), label="FP6_E2M3", source=_ML_DTYPES,
    safetensors=("F6_E2M3",), numpy=("float6_e2m3fn",), jax=("float6_e2m3fn",), onnx=("FLOAT6E2M3", 27),
)
Float6E3M2: Final = _number(
    "Float6E3M2", 6, "float", "3 exponent and 2 mantissa bits, to 28, neither infinity nor NaN",
    aliases=("e3m2",), label="FP6_E3M2", source=_ML_DTYPES,
    safetensors=("F6_E3M2",), numpy=("float6_e3m2fn",), jax=("float6_e3m2fn",), onnx=("FLOAT6E3M2", 28),
)
Float4E2M1: Final = _number(
    "Float4E2M1", 4, "float", "2 exponent and 1 mantissa bits: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives",
    aliases=("e2m1",), label="FP4_E2M1", source=_ML_DTYPES,
    # torch counts bytes, each of two weights
    safetensors=("F4",), torch=("float4_e2m1fn_x2",), numpy=("float4_e2m1fn",), jax=("float4_e2m1fn",),
    onnx=("FLOAT4E2M1", 23), tensorrt=("kFP4", "FP4", 10), openvino=("f4e2m1",),
)
# ml_dtypes' int1: one bit of two's complement is 0 or -1, not 0 or 1
Int1: Final = _number(
    "Int1", 1, "int", "-1 and 0, two's complement",
    aliases=("i1",), source=_ML_DTYPES,
    torch=("int1",), numpy=("int1",), jax=("int1",), triton=("int1",),
)
Int2: Final = _number(
    "Int2", 2, "int", "-2 to 1",
    aliases=("i2",), source=_ML_DTYPES,
    torch=("int2",), numpy=("int2",), jax=("int2",), onnx=("INT2", 26),
)
Int3: Final = _number("Int3", 3, "int", "-4 to 3", aliases=("i3",), source=_TORCH, torch=("int3",))
Int5: Final = _number("Int5", 5, "int", "-16 to 15", aliases=("i5",), source=_TORCH, torch=("int5",))
Int6: Final = _number("Int6", 6, "int", "-32 to 31", aliases=("i6",), source=_TORCH, torch=("int6",))
Int7: Final = _number("Int7", 7, "int", "-64 to 63", aliases=("i7",), source=_TORCH, torch=("int7",))
Int16: Final = _number(
    "Int16", 16, "int", "-32768 to 32767",
    aliases=("i16",), source=_SAFETENSORS,
    safetensors=("I16",), torch=("int16", "short"), numpy=("int16", "short", "<i2", ">i2"), jax=("int16",),
    mlx=("int16",), onnx=("INT16", 5), ggml=("I16", 25), openvino=("i16", "int16_t"), triton=("int16", "TYPE_INT16"),
    arrow=("int16",), ctranslate2=("int16",),
)
Int32: Final = _number(
    "Int32", 32, "int", "32-bit integers; schemes pack eight 4-bit codes in one",
    aliases=("i32",), source=_SAFETENSORS,
    safetensors=("I32",), torch=("int32", "int", "qint32"), numpy=("int32", "intc", "<i4", ">i4"), jax=("int32",),
    mlx=("int32",), onnx=("INT32", 6), ggml=("I32", 26), tensorrt=("kINT32", "INT32", 3), openvino=("i32", "int32_t"),
    triton=("int32", "TYPE_INT32"), arrow=("int32",), ctranslate2=("int32",),
)
Int64: Final = _number(
    "Int64", 64, "int", "64-bit integers",
    aliases=("i64",), source=_SAFETENSORS,
    safetensors=("I64",), torch=("int64", "long"), numpy=("int64", "longlong", "<i8", ">i8"), jax=("int64",),
    mlx=("int64",), onnx=("INT64", 7), ggml=("I64", 27), tensorrt=("kINT64", "INT64", 8), openvino=("i64", "int64_t"),
    triton=("int64", "TYPE_INT64"), arrow=("int64",),
)
UInt1: Final = _number(
    "UInt1", 1, "uint", "0 and 1",
    aliases=("u1",), source=_ML_DTYPES,
    torch=("uint1", "bit"), numpy=("uint1",), jax=("uint1",), openvino=("u1", "uint1_t"),
)
UInt2: Final = _number(
    "UInt2", 2, "uint", "0 to 3",
    aliases=("u2",), source=_ML_DTYPES,
    torch=("uint2", "quint2x4"), numpy=("uint2",), jax=("uint2",), onnx=("UINT2", 25), openvino=("u2", "uint2_t"),
)
UInt3: Final = _number(
    "UInt3", 3, "uint", "0 to 7",
    aliases=("u3",), source=_TORCH,
    torch=("uint3",), openvino=("u3", "uint3_t"),
)
UInt4: Final = _number(
    "UInt4", 4, "uint", "0 to 15",
    aliases=("u4",), source=_ML_DTYPES,
    torch=("uint4", "quint4x2"), numpy=("uint4",), jax=("uint4",), onnx=("UINT4", 21), openvino=("u4", "uint4_t"),
)
UInt5: Final = _number("UInt5", 5, "uint", "0 to 31", aliases=("u5",), source=_TORCH, torch=("uint5",))
UInt6: Final = _number(
    "UInt6", 6, "uint", "0 to 63",
    aliases=("u6",), source=_TORCH,
    torch=("uint6",), openvino=("u6", "uint6_t"),
)
UInt7: Final = _number("UInt7", 7, "uint", "0 to 127", aliases=("u7",), source=_TORCH, torch=("uint7",))
UInt8: Final = _number(
    "UInt8", 8, "uint", "0 to 255; schemes pack narrower codes into such bytes",
    aliases=("u8",), source=_SAFETENSORS,
    safetensors=("U8",), torch=("uint8", "quint8"), numpy=("uint8", "ubyte", "|u1"), jax=("uint8",), mlx=("uint8",),
    onnx=("UINT8", 2), tensorrt=("kUINT8", "UINT8", 5), openvino=("u8", "uint8_t"), triton=("uint8", "TYPE_UINT8"),
    arrow=("uint8",),
)
UInt16: Final = _number(
    "UInt16", 16, "uint", "0 to 65535",
    aliases=("u16",), source=_SAFETENSORS,
    safetensors=("U16",), torch=("uint16",), numpy=("uint16", "ushort", "<u2", ">u2"), jax=("uint16",),
    mlx=("uint16",), onnx=("UINT16", 4), openvino=("u16", "uint16_t"), triton=("uint16", "TYPE_UINT16"),
    arrow=("uint16",),
)
UInt32: Final = _number(
    "UInt32", 32, "uint", "unsigned 32-bit integers",
    aliases=("u32",), source=_SAFETENSORS,
    safetensors=("U32",), torch=("uint32",), numpy=("uint32", "uintc", "<u4", ">u4"), jax=("uint32",),
    mlx=("uint32",), onnx=("UINT32", 12), openvino=("u32", "uint32_t"), triton=("uint32", "TYPE_UINT32"),
    arrow=("uint32",),
)
UInt64: Final = _number(
    "UInt64", 64, "uint", "unsigned 64-bit integers",
    aliases=("u64",), source=_SAFETENSORS,
    safetensors=("U64",), torch=("uint64",), numpy=("uint64", "ulonglong", "<u8", ">u8"), jax=("uint64",),
    mlx=("uint64",), onnx=("UINT64", 13), openvino=("u64", "uint64_t"), triton=("uint64", "TYPE_UINT64"),
    arrow=("uint64",),
)
# one bit of information, but safetensors, ONNX and torch all store a byte
Bool: Final = _number(
    "Bool", 1, "bool", "true or false, one byte each in every container",
    stored=8, source=_SAFETENSORS,
    safetensors=("BOOL",), torch=("bool",), numpy=("bool", "bool_", "|b1"), jax=("bool_", "bool"),
    mlx=("bool_", "bool"), onnx=("BOOL", 9), tensorrt=("kBOOL", "BOOL", 4), openvino=("boolean",),
    triton=("TYPE_BOOL",), arrow=("bool",),
)
Complex32: Final = _number(
    "Complex32", 32, "complex", "two FP16: real and imaginary part",
    aliases=("c32",), source=_TORCH,
    torch=("complex32", "chalf"), numpy=("complex32",),
)
BComplex32: Final = _number(
    "BComplex32", 32, "complex", "two BF16: real and imaginary part",
    source="torch 2.14 tensor attributes",
    torch=("bcomplex32",), numpy=("bcomplex32",),
)
Complex64: Final = _number(
    "Complex64", 64, "complex", "two FP32: real and imaginary part",
    aliases=("c64",), source=_SAFETENSORS,
    safetensors=("C64",), torch=("complex64", "cfloat"), numpy=("complex64", "csingle", "<c8", ">c8"),
    jax=("complex64", "csingle"), mlx=("complex64",), onnx=("COMPLEX64", 14),
)
Complex128: Final = _number(
    "Complex128", 128, "complex", "two FP64: real and imaginary part",
    aliases=("c128",), source="onnx 1.23.2 onnx.proto",
    torch=("complex128", "cdouble"), numpy=("complex128", "cdouble", "<c16", ">c16"), jax=("complex128", "cdouble"),
    onnx=("COMPLEX128", 15),
)
# fmt: on

Ternary: Final = QuantizationLevel(
    name="Ternary",
    label="TERNARY",
    bits_per_param=2,
    kind="ternary",
    summary="-1, 0 and 1 in 2 bits each, as BitNet packs them; log2(3) = 1.58 bits of information",
    source="transformers 5.23.0 integrations/bitnet.py",
)
