"""Words that people use: dtypes as libraries print them, words of dialects, and recipes, which are not levels."""

from __future__ import annotations

import pickle

import pytest

from quantlevels import (
    BF16,
    FP16,
    FP32,
    INT4,
    INT8,
    AmbiguousLevelError,
    QuantizationLevel,
    Registry,
    UnknownLevelError,
    levels,
)

#: as a library prints a dtype → the name of the level
PRINTED = {
    "torch.float16": "Float16",
    "torch.qint8": "Int8",
    "torch.quint4x2": "UInt4",
    "torch.bcomplex32": "BComplex32",
    "numpy.float32": "None",
    "np.float64": "Float64",
    "<class 'numpy.float32'>": "None",
    "<class 'ml_dtypes.bfloat16'>": "BFloat16",
    "<class 'jax.numpy.bfloat16'>": "BFloat16",
    "dtype('float16')": "Float16",
    "dtype('>f4')": "None",
    "<f4": "None",
    "|i1": "Int8",
    "ml_dtypes.float8_e4m3fn": "Float8E4M3FN",
    "jax.numpy.bool_": "Bool",
    "mlx.core.bfloat16": "BFloat16",
    "mx.uint8": "UInt8",
    "tensor(float)": "None",
    "tensor(float16)": "Float16",
    "tensor(float8e4m3fn)": "Float8E4M3FN",
    "TensorProto.BFLOAT16": "BFloat16",
    "GGML_TYPE_Q4_K": "Q4_K",
    "GGMLQuantizationType.IQ4_NL": "IQ4_NL",
    "DataType.HALF": "Float16",
    "trt.DataType.FP8": "Float8E4M3FN",
    "DataType.int8_float16": "Int8",
    "DataType(halffloat)": "Float16",
    "<dtype: 'bfloat16'>": "BFloat16",
    "<Type: 'float16'>": "Float16",
    "<Type: 'int8_t'>": "Int8",
    "<Type: 'f8e4m3'>": "Float8E4M3FN",
    "Type.f16": "Float16",
    "tl.float8e4nv": "Float8E4M3FN",
    "TYPE_FP16": "Float16",
    "float8e5m2": "Float8E5M2",
    "fp8e5m2": "Float8E5M2",
    "fp8e4m3": "Float8E4M3FN",
    "f8E4M3FNUZ": "Float8E4M3FNUZ",
    "f8e8m0": "Float8E8M0FNU",
    "f6e2m3": "Float6E2M3",
    "f4E2M1FN": "Float4E2M1",
}


@pytest.mark.parametrize("printed", PRINTED)
def test_a_printed_dtype_is_a_spelling(printed: str) -> None:
    assert levels[printed].name == PRINTED[printed]


@pytest.mark.parametrize(
    "word",
    ["torch.", "torch.q4_k", "numpy.f4x", "tensor()", "tensor(string)", "<class 'str'>", "dtype('", "GGML_TYPE_Q4_K_M"],
)
def test_printed_types_that_are_not_levels_are_unknown(word: str) -> None:
    with pytest.raises(UnknownLevelError):
        levels[word]


def test_a_long_word_is_unknown_at_once() -> None:
    for word in ("dtype('" * 100_000, "torch." * 100_000, "mostly_" * 100_000):
        with pytest.raises(UnknownLevelError):
            Registry(plugins="off").from_dialect("torch", word)
        with pytest.raises(UnknownLevelError):
            Registry(plugins="off")[word]


#: dialect, word → the name of the level
DIALECTS = {
    ("openvino", "f8e4m3"): "Float8E4M3FN",
    ("openvino", "boolean"): "Bool",
    ("openvino", "nf4"): "NF4",
    ("mlx", "bfloat16"): "BFloat16",
    ("mlx", "nvfp4"): "NVFP4",
    ("tensorrt", "kBF16"): "BFloat16",
    ("tensorrt", "BF16"): "BFloat16",
    ("tensorrt", "FP8"): "Float8E4M3FN",
    ("gguf", "Q4_K"): "Q4_K",
    ("gguf", 12): "Q4_K",
    ("ggml", "GGML_TYPE_Q4_K"): "Q4_K",
    ("ctranslate2", "int8_float16"): "Int8",
    ("triton", "fp8e4nv"): "Float8E4M3FN",
    ("triton", "TYPE_BF16"): "BFloat16",
    ("arrow", "halffloat"): "Float16",
    ("arrow", "float"): "None",
    ("arrow", "double"): "Float64",
    ("jax", "bool"): "Bool",
    ("numpy", "<f4"): "None",
    ("torch", "torch.float16"): "Float16",
    ("onnx", "tensor(float)"): "None",
    ("numpy", "dtype('float32')"): "None",
}


@pytest.mark.parametrize(("dialect", "word"), DIALECTS)
def test_a_dialect_s_word(dialect: str, word: str | int) -> None:
    assert levels.from_dialect(dialect, word).name == DIALECTS[dialect, word]


def test_gguf_is_another_name_of_the_dialect_ggml() -> None:
    assert levels["Q4_K"].spelling("gguf") == levels["Q4_K"].spelling("ggml") == "Q4_K"
    level = QuantizationLevel(name="Fork4", bits_per_param=4, spellings={"gguf": ("FORK4", 900)})
    registry = Registry(plugins="off")
    registry.register(level)
    assert registry.from_dialect("ggml", 900) is registry.from_dialect("gguf", "FORK4") is level
    assert level.spelling("ggml") == "FORK4"


class Dtype:
    """Stands for a dtype of a library that is not installed: its class and what it prints are all that is read."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("module", "name", "text", "level"),
    [
        ("mlx.core", "Dtype", "mlx.core.bfloat16", BF16),
        ("tensorflow.python.framework.dtypes", "DType", "<dtype: 'float32'>", FP32),
        ("pyarrow.lib", "DataType", "halffloat", FP16),
        ("pyarrow.lib", "DataType", "float", FP32),
        ("tensorrt_bindings.tensorrt", "DataType", "DataType.INT8", INT8),
        ("openvino._pyopenvino", "Type", "<Type: 'int8_t'>", INT8),
    ],
)
def test_dtype_objects_of_other_libraries(module: str, name: str, text: str, level: QuantizationLevel) -> None:
    class_ = type(name, (Dtype,), {"__module__": module})
    assert levels.of_dtype(class_(text)) is level
    with pytest.raises(UnknownLevelError):
        levels.of_dtype(class_("string"))


# Recipes

#: a word → what the error has to say
RECIPES = {
    "W4A16": ("recipe", "4-bit weights", "'Int4'"),
    "w4a16_g128": ("recipe", "'Int4'"),
    "W8A8": ("recipe", "'Int8' or 'Float8E4M3FN'"),
    "W4AFP8": ("recipe", "'Int4'"),
    "FP8_DYNAMIC": ("recipe", "'Float8E4M3FN'"),
    "NVFP4A16": ("recipe", "'NVFP4'"),
    "8da4w": ("4-bit weights", "at run time", "'Int4'"),
    "int4wo": ("recipe", "'Int4'"),
    "int8_weight_only": ("recipe", "'Int8'"),
    "Q4_K_M": ("recipe of llama.cpp", "mostly Q4_K", "'Q4_K'", "--recipe Q4_K_M"),
    "MOSTLY_Q4_K_M": ("recipe of llama.cpp", "--recipe Q4_K_M"),
    "LLAMA_FTYPE_MOSTLY_Q3_K_L": ("recipe of llama.cpp", "'Q3_K'"),
    "MOSTLY_Q8_0": ("recipe of llama.cpp", "'Q8_0'"),
    "MOSTLY_BF16": ("file type", "'BFloat16'"),
    "IQ3_M": ("recipe of llama.cpp", "'IQ3_XXS' or 'IQ3_S'"),
    "UD-Q4_K_XL": ("varies per model", "'Q4_K'", "quantlevels inspect"),
    "UD-IQ1_S": ("varies per model", "'IQ1_S'"),
    "Q6_K_L": ("varies per model", "'Q6_K'"),
    "Q8_K_XL": ("varies per model", "'Q8_0'"),
    "i1-Q4_K_M": ("varies per model", "'Q4_K'"),
    "Q4_0_4_8": ("removed", "'Q4_0'"),
    "q4f16": ("4-bit weights", "FP16", "'Int4' or 'UInt4'"),
    "q4f16_1": ("4-bit weights", "'Int4' or 'UInt4'"),
    "q0f32": ("quantizes nothing", "'None'"),
    "4bit": ("width", "Int4, ", "quantlevels list --bits 4"),
    "8-bit": ("width", "Int8, "),
    "bnb-4bit": ("bitsandbytes", "'NF4' or 'BNB_FP4'"),
    "4.5bpw": ("average", "--max-bits-per-weight 4.5"),
    "gptq": ("method", "level of the weights"),
    "gguf": ("container", "level of the weights"),
}


@pytest.mark.parametrize("word", RECIPES)
def test_recipe_errors_say_which_levels_to_ask_for(word: str) -> None:
    with pytest.raises(UnknownLevelError) as caught:
        levels[word]
    text = str(caught.value)
    assert text.startswith(f"{word!r} is not a level but a")
    assert [part for part in RECIPES[word] if part not in text] == []
    assert all(name in levels for name in caught.value.suggestions)
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    assert levels.get(word) is None


@pytest.mark.parametrize("word", ["W99A16", "17bit", "q9f16", "Q4_Z_M", "w4a", "UD-", "IQ9_M"])
def test_what_only_looks_like_a_recipe_is_unknown(word: str) -> None:
    with pytest.raises(UnknownLevelError) as caught:
        levels[word]
    assert not caught.value.explanation


def test_no_known_spelling_is_a_recipe() -> None:
    from quantlevels.vocabulary.recipes import explain_word  # here: it is private

    for level in levels:
        for word in (level.name, level.label, *level.aliases):
            assert levels[word] is level
    assert explain_word("Int4") is None


def test_an_ambiguous_word_says_labels_and_names() -> None:
    with pytest.raises(AmbiguousLevelError) as caught:
        levels["float"]
    assert str(caught.value) == "'float' can mean FP32 ('None') or FP64 ('Float64'); choose one"
    assert caught.value.candidates == ("None", "Float64")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_registered_levels_may_have_names_of_recipes() -> None:
    registry = Registry(plugins="off")
    level = registry.register(QuantizationLevel(name="W4A16", bits_per_param=4))
    assert registry["w4a16"] is level
    assert INT4.name == "Int4"
