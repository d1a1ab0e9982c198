"""Plain number formats: floats, integers, booleans, complex numbers; one code a weight, nothing beside it."""

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
    """A row: ``stored`` bits where an element takes more than its code; ``spellings`` by dialect, preferred first."""
    if "torch" in spellings:  # transformers writes `str(dtype)` without its `torch.`
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
FLOATS: Final[tuple[QuantizationLevel, ...]] = (
    _number(
        "Float64", 64, "float", "IEEE 754 binary64: 11 exponent and 52 mantissa bits",
        aliases=("f64",), label="FP64", source=_IEEE,
        safetensors=("F64",), torch=("float64", "double"), numpy=("float64", "double"), jax=("float64", "double"),
        onnx=("DOUBLE", 11), ggml=("F64", 28),
    ),
    _number(
        "TF32", 19, "float", "TensorFloat-32: 8 exponent and 10 mantissa bits in 32; computed in, never stored",
        aliases=("tensorfloat32",), stored=32, source="Wikipedia, TensorFloat-32",
    ),
    _number(
        "Float8E4M3FN", 8, "float", "4 exponent and 3 mantissa bits, to 448, no infinity; what `fp8` means for weights",
        aliases=("fp8", "fp8_e4m3", "e4m3fn"), label="FP8_E4M3FN", source=_ML_DTYPES,
        safetensors=("F8_E4M3",), torch=("float8_e4m3fn",), numpy=("float8_e4m3fn",), jax=("float8_e4m3fn",),
        onnx=("FLOAT8E4M3FN", 17), tensorrt=("kFP8", 6),
    ),
    _number(
        "Float8E5M2", 8, "float", "5 exponent and 2 mantissa bits, to 57344, infinities as in IEEE 754",
        aliases=("e5m2",), label="FP8_E5M2", source=_ML_DTYPES,
        safetensors=("F8_E5M2",), torch=("float8_e5m2",), numpy=("float8_e5m2",), jax=("float8_e5m2",),
        onnx=("FLOAT8E5M2", 19),
    ),
    _number(
        "Float8E4M3FNUZ", 8, "float", "4 exponent and 3 mantissa bits, bias 8, to 240, one zero, no infinity",
        aliases=("e4m3fnuz",), label="FP8_E4M3FNUZ", source=_ML_DTYPES,
        safetensors=("F8_E4M3FNUZ",), torch=("float8_e4m3fnuz",), numpy=("float8_e4m3fnuz",),
        jax=("float8_e4m3fnuz",), onnx=("FLOAT8E4M3FNUZ", 18),
    ),
    _number(
        "Float8E5M2FNUZ", 8, "float", "5 exponent and 2 mantissa bits, bias 16, to 57344, one zero, no infinity",
        aliases=("e5m2fnuz",), label="FP8_E5M2FNUZ", source=_ML_DTYPES,
        safetensors=("F8_E5M2FNUZ",), torch=("float8_e5m2fnuz",), numpy=("float8_e5m2fnuz",),
        jax=("float8_e5m2fnuz",), onnx=("FLOAT8E5M2FNUZ", 20),
    ),
    _number(
        "Float8E4M3", 8, "float", "4 exponent and 3 mantissa bits, to 240, infinities as in IEEE 754",
        label="FP8_E4M3_IEEE", source=_ML_DTYPES,
        numpy=("float8_e4m3",), jax=("float8_e4m3",),
    ),
    _number(
        "Float8E4M3B11FNUZ", 8, "float", "4 exponent and 3 mantissa bits, bias 11, to 30, one zero, no infinity",
        aliases=("e4m3b11fnuz",), label="FP8_E4M3B11FNUZ", source=_ML_DTYPES,
        numpy=("float8_e4m3b11fnuz",), jax=("float8_e4m3b11fnuz",),
    ),
    _number(
        "Float8E3M4", 8, "float", "3 exponent and 4 mantissa bits, to 15.5, infinities as in IEEE 754",
        aliases=("e3m4",), label="FP8_E3M4", source=_ML_DTYPES,
        numpy=("float8_e3m4",), jax=("float8_e3m4",),
    ),
    _number(
        "Float8E8M0FNU", 8, "float", "8 exponent bits alone: powers of two, no sign, no zero; scales of MX blocks",
        aliases=("e8m0", "ue8m0", "e8m0fnu"), label="FP8_E8M0FNU", source=_ML_DTYPES,
        safetensors=("F8_E8M0",), torch=("float8_e8m0fnu",), numpy=("float8_e8m0fnu",), jax=("float8_e8m0fnu",),
        onnx=("FLOAT8E8M0", 24), tensorrt=("kE8M0", 11),
    ),
    _number(
        "Float6E2M3", 6, "float", "2 exponent and 3 mantissa bits, to 7.5, neither infinity nor NaN",
        aliases=("e2m3",), label="FP6_E2M3", source=_ML_DTYPES,
        safetensors=("F6_E2M3",), numpy=("float6_e2m3fn",), jax=("float6_e2m3fn",), onnx=("FLOAT6E2M3", 27),
    ),
    _number(
        "Float6E3M2", 6, "float", "3 exponent and 2 mantissa bits, to 28, neither infinity nor NaN",
        aliases=("e3m2",), label="FP6_E3M2", source=_ML_DTYPES,
        safetensors=("F6_E3M2",), numpy=("float6_e3m2fn",), jax=("float6_e3m2fn",), onnx=("FLOAT6E3M2", 28),
    ),
    _number(
        "Float4E2M1", 4, "float", "2 exponent and 1 mantissa bits: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives",
        aliases=("e2m1",), label="FP4_E2M1", source=_ML_DTYPES,
        # torch counts bytes, each of two weights
        safetensors=("F4",), torch=("float4_e2m1fn_x2",), numpy=("float4_e2m1fn",), jax=("float4_e2m1fn",),
        onnx=("FLOAT4E2M1", 23), tensorrt=("kFP4", 10),
    ),
)

INTEGERS: Final[tuple[QuantizationLevel, ...]] = (
    _number(
        "Int1", 1, "int", "-1 and 0, two's complement",
        aliases=("i1",), source=_ML_DTYPES,
        torch=("int1",), numpy=("int1",), jax=("int1",),
    ),
    _number(
        "Int2", 2, "int", "-2 to 1",
        aliases=("i2",), source=_ML_DTYPES,
        torch=("int2",), numpy=("int2",), jax=("int2",), onnx=("INT2", 26),
    ),
    _number("Int3", 3, "int", "-4 to 3", aliases=("i3",), source=_TORCH, torch=("int3",)),
    _number("Int5", 5, "int", "-16 to 15", aliases=("i5",), source=_TORCH, torch=("int5",)),
    _number("Int6", 6, "int", "-32 to 31", aliases=("i6",), source=_TORCH, torch=("int6",)),
    _number("Int7", 7, "int", "-64 to 63", aliases=("i7",), source=_TORCH, torch=("int7",)),
    _number(
        "Int16", 16, "int", "-32768 to 32767",
        aliases=("i16",), source=_SAFETENSORS,
        safetensors=("I16",), torch=("int16", "short"), numpy=("int16", "short"), jax=("int16",),
        onnx=("INT16", 5), ggml=("I16", 25),
    ),
    _number(
        "Int32", 32, "int", "32-bit integers; eight 4-bit codes where a scheme packs them",
        aliases=("i32",), source=_SAFETENSORS,
        safetensors=("I32",), torch=("int32", "int"), numpy=("int32", "intc"), jax=("int32",),
        onnx=("INT32", 6), ggml=("I32", 26), tensorrt=("kINT32", 3),
    ),
    _number(
        "Int64", 64, "int", "64-bit integers",
        aliases=("i64",), source=_SAFETENSORS,
        safetensors=("I64",), torch=("int64", "long"), numpy=("int64", "longlong"), jax=("int64",),
        onnx=("INT64", 7), ggml=("I64", 27), tensorrt=("kINT64", 8),
    ),
    _number(
        "UInt1", 1, "uint", "0 and 1",
        aliases=("u1",), source=_ML_DTYPES,
        torch=("uint1", "bit"), numpy=("uint1",), jax=("uint1",),
    ),
    _number(
        "UInt2", 2, "uint", "0 to 3",
        aliases=("u2",), source=_ML_DTYPES,
        torch=("uint2",), numpy=("uint2",), jax=("uint2",), onnx=("UINT2", 25),
    ),
    _number("UInt3", 3, "uint", "0 to 7", aliases=("u3",), source=_TORCH, torch=("uint3",)),
    _number(
        "UInt4", 4, "uint", "0 to 15",
        aliases=("u4",), source=_ML_DTYPES,
        torch=("uint4",), numpy=("uint4",), jax=("uint4",), onnx=("UINT4", 21),
    ),
    _number("UInt5", 5, "uint", "0 to 31", aliases=("u5",), source=_TORCH, torch=("uint5",)),
    _number("UInt6", 6, "uint", "0 to 63", aliases=("u6",), source=_TORCH, torch=("uint6",)),
    _number("UInt7", 7, "uint", "0 to 127", aliases=("u7",), source=_TORCH, torch=("uint7",)),
    _number(
        "UInt8", 8, "uint", "0 to 255; bytes of packed codes where a scheme packs them",
        aliases=("u8",), source=_SAFETENSORS,
        safetensors=("U8",), torch=("uint8",), numpy=("uint8", "ubyte"), jax=("uint8",),
        onnx=("UINT8", 2), tensorrt=("kUINT8", 5),
    ),
    _number(
        "UInt16", 16, "uint", "0 to 65535",
        aliases=("u16",), source=_SAFETENSORS,
        safetensors=("U16",), torch=("uint16",), numpy=("uint16", "ushort"), jax=("uint16",), onnx=("UINT16", 4),
    ),
    _number(
        "UInt32", 32, "uint", "unsigned 32-bit integers",
        aliases=("u32",), source=_SAFETENSORS,
        safetensors=("U32",), torch=("uint32",), numpy=("uint32", "uintc"), jax=("uint32",), onnx=("UINT32", 12),
    ),
    _number(
        "UInt64", 64, "uint", "unsigned 64-bit integers",
        aliases=("u64",), source=_SAFETENSORS,
        safetensors=("U64",), torch=("uint64",), numpy=("uint64", "ulonglong"), jax=("uint64",), onnx=("UINT64", 13),
    ),
)

OTHERS: Final[tuple[QuantizationLevel, ...]] = (
    _number(
        "Bool", 1, "bool", "true or false, a byte each in every container",
        stored=8, source=_SAFETENSORS,
        safetensors=("BOOL",), torch=("bool",), numpy=("bool", "bool_"), jax=("bool_",),
        onnx=("BOOL", 9), tensorrt=("kBOOL", 4),
    ),
    _number(
        "Complex32", 32, "complex", "two FP16: real and imaginary part", aliases=("c32",), source=_TORCH,
        torch=("complex32", "chalf"), numpy=("complex32",),
    ),
    _number(
        "Complex64", 64, "complex", "two FP32: real and imaginary part",
        aliases=("c64",), source=_SAFETENSORS,
        safetensors=("C64",), torch=("complex64", "cfloat"), numpy=("complex64", "csingle"),
        jax=("complex64", "csingle"), onnx=("COMPLEX64", 14),
    ),
    _number(
        "Complex128", 128, "complex", "two FP64: real and imaginary part",
        aliases=("c128",), source="onnx 1.23.2 onnx.proto",
        torch=("complex128", "cdouble"), numpy=("complex128", "cdouble"), jax=("complex128", "cdouble"),
        onnx=("COMPLEX128", 15),
    ),
)
# fmt: on

TERNARY: Final[tuple[QuantizationLevel, ...]] = (
    QuantizationLevel(
        name="Ternary",
        label="TERNARY",
        bits_per_param=2,
        kind="ternary",
        summary="-1, 0 and 1 in 2 bits each, as BitNet packs them; log2(3) = 1.58 bits of information",
        source="transformers 5.23.0 integrations/bitnet.py",
    ),
)
