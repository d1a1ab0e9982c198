"""Names, widths, dialects and dtype objects → level; what may be registered; what a look-up loads."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import (
    BF16,
    FP16,
    FP32,
    INT4,
    INT8,
    AmbiguousLevelError,
    DuplicateLevelError,
    QuantizationLevel,
    Registry,
    ReservedLevelError,
    UnknownLevelError,
    levels,
)

FIVE = (FP32, FP16, BF16, INT8, INT4)


def custom(name: str = "Acme5", **fields: object) -> QuantizationLevel:
    return QuantizationLevel(**{"name": name, "bits_per_param": 5, **fields})  # type: ignore[arg-type]


#: What the command line of the enum that the five come from accepts for them, and the two words added here.
ORIGINAL = {
    FP32: "fp32 FP32 Fp32 f32 F32 none None NONE float32",
    FP16: "fp16 FP16 f16 float16 Float16 FLOAT16 half",
    BF16: "bf16 BF16 bfloat16 BFloat16 bFlOaT16",
    INT8: "int8 INT8 Int8 i8 I8 q8 Q8",
    INT4: "int4 INT4 Int4 i4 I4 q4 Q4",
}

#: What it refuses; none of these may come to name one of the five, though some name other levels.
NONE_OF_THE_FIVE = [
    *["null", "0", "4", "8", "16", "32", "K", "q8_0", "q4_0", "fp-16", "fp_16", "int-4", "int_4", "s8", "S8", "uint8"],
    *["f64", "fp8", "nf4", "mxfp4", "gptq", "awq", "w4a16", "4bit"],
    *("", " int4", " fp16", "fp16 ", "BFLOAT16 ", "Int 4", "int4\n", "INT8\0", "int4.", "torch.", "torch.int"),
    *("\uff46\uff5016", "INT\u01308", "\u0130NT8", "\u0131nt8", "b\u017f16", "\u212a"),  # fold to ASCII elsewhere
]


@pytest.mark.parametrize(("level", "word"), [(level, word) for level in ORIGINAL for word in ORIGINAL[level].split()])
def test_the_words_of_the_five(level: QuantizationLevel, word: str) -> None:
    assert levels[word] is level
    assert levels.get(word) is level
    assert word in levels


@pytest.mark.parametrize("word", NONE_OF_THE_FIVE)
def test_words_that_are_none_of_the_five(word: str) -> None:
    try:
        found = levels[word]
    except LookupError as error:
        assert isinstance(error, UnknownLevelError | AmbiguousLevelError)  # noqa: PT017
        assert error.value == word  # noqa: PT017
    else:
        assert found not in FIVE


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("q4_k", "Q4_K"),
        ("Q4-K", "Q4_K"),
        ("iq2-xxs", "IQ2_XXS"),
        ("torch.bfloat16", "BFloat16"),
        ("Torch.BFloat16", "BFloat16"),
        ("torch.float", "None"),
        ("torch.long", "Int64"),
        ("torch.float8_e4m3fn", "Float8E4M3FN"),
        ("torch.float8-e4m3fn", "Float8E4M3FN"),
        ("F8_E4M3", "Float8E4M3FN"),
        ("FLOAT8E4M3FN", "Float8E4M3FN"),
        ("fp8", "Float8E4M3FN"),
        ("fp8_e4m3", "Float8E4M3FN"),
        ("fp8-e4m3fn", "Float8E4M3FN"),
        ("e5m2", "Float8E5M2"),
        ("f64", "Float64"),
        ("double", "Float64"),
        ("single", "None"),
        ("u8", "UInt8"),
        ("kHALF", "Float16"),
        ("bool_", "Bool"),
        ("F4", "Float4E2M1"),
        ("nf4", "NF4"),
        ("bnb-fp4", "BNB_FP4"),
    ],
)
def test_spellings(word: str, name: str) -> None:
    assert levels[word] is levels[name]
    assert levels[word].name == name


@pytest.mark.parametrize(
    "word", ["torch.fp32", "torch.F32", "torch.q4_k", "torch.torch.float32", "torch.None", "torch"]
)
def test_the_torch_prefix_takes_only_torch_words(word: str) -> None:
    assert word not in levels


@pytest.mark.parametrize(
    ("word", "candidates"),
    [
        ("fp4", {"Float4E2M1", "BNB_FP4"}),
        ("FP4", {"Float4E2M1", "BNB_FP4"}),
        ("float8_e4m3", {"Float8E4M3", "Float8E4M3FN"}),
        ("float8-E4M3", {"Float8E4M3", "Float8E4M3FN"}),
        ("e4m3", {"Float8E4M3", "Float8E4M3FN"}),
        ("float", {"None", "Float64"}),
        ("int", {"Int32", "Int64"}),
        ("mxfp6", {"MXFP6_E2M3", "MXFP6_E3M2"}),
    ],
)
def test_ambiguous_words_are_refused_with_both_meanings(word: str, candidates: set[str]) -> None:
    with pytest.raises(AmbiguousLevelError) as caught:
        levels[word]
    assert caught.value.value == word
    assert set(caught.value.candidates) == candidates
    assert all(name in str(caught.value) for name in candidates)
    with pytest.raises(AmbiguousLevelError):
        levels.get(word)
    assert word not in levels


@pytest.mark.parametrize("key", [4, 4.0, True, None, b"int4", ("int4",)])
def test_what_is_no_word_names_no_level(key: object) -> None:
    with pytest.raises(UnknownLevelError) as caught:
        levels[key]  # type: ignore[index]
    assert caught.value.value == key
    assert levels.get(key) is None  # type: ignore[call-overload]
    assert key not in levels


@given(st.text() | st.text("fintbqu48_-816", max_size=8))
def test_the_five_answer_to_their_words_only(text: str) -> None:
    try:
        found = levels[text]
    except LookupError:
        return
    words = {found.name, found.label, *found.aliases, *(w for ws in found.spellings.values() for w in ws)}
    folded = {str(word).lower().replace("-", "_") for word in words}
    assert text.isascii()
    assert text.lower().replace("-", "_").removeprefix("torch.") in folded


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("in4", "Int4"),
        ("Q4_KM", "Q4_K"),
        ("float15", "Float16"),
        ("nf5", "NF4"),
        ("fp23", "FP32"),
        ("bloat16", "BFloat16"),
        ("mxpf4", "MXFP4"),
        ("iq2xxs", "IQ2_XXS"),
        ("torch.flot16", "Float16"),
    ],
)
def test_a_miss_suggests_the_closest_spelling_first(word: str, first: str) -> None:
    with pytest.raises(UnknownLevelError) as caught:
        levels[word]
    assert caught.value.value == word
    assert caught.value.suggestions[0] == first
    assert str(caught.value).startswith(f"unknown level {word!r}; did you mean {first!r}")
    assert all(suggestion in levels for suggestion in caught.value.suggestions)
    assert len(caught.value.suggestions) <= 3


@pytest.mark.parametrize("word", ["", "gptq", "no such thing", "x" * 100_000])
def test_words_close_to_nothing_get_no_suggestion(word: str) -> None:
    with pytest.raises(UnknownLevelError) as caught:
        levels[word]
    assert caught.value.suggestions == ()


def test_in_process_levels_are_suggested_too() -> None:
    registry = Registry()
    registry.register(custom(aliases=("acme-five",)))
    with pytest.raises(UnknownLevelError) as caught:
        registry["acme_fife"]
    assert caught.value.suggestions == ("acme-five",)


def test_from_bits() -> None:
    assert [levels.from_bits(bits) for bits in (32, 16, 8, 4)] == [FP32, FP16, INT8, INT4]
    for bits in (
        True,
        False,
        8.0,
        "8",
        None,
        -1,
        0,
        -8,
        1,
        2,
        3,
        5,
        6,
        7,
        9,
        15,
        17,
        31,
        33,
        64,
        2**32,
        2**64,
        2**64 + 8,
    ):
        with pytest.raises(UnknownLevelError) as caught:
            levels.from_bits(bits)  # type: ignore[arg-type]
        assert caught.value.value is bits


def test_from_bits_is_closed_to_registered_levels() -> None:
    registry = Registry()
    registry.register(custom())
    with pytest.raises(UnknownLevelError, match="unknown width in bits 5"):
        registry.from_bits(5)
    assert registry["acme5"] in registry.with_bits(5)


def test_with_bits() -> None:
    four = [level.name for level in levels.with_bits(4)]
    assert four[0] == "Int4"
    assert {"UInt4", "Float4E2M1", "NF4", "BNB_FP4", "MXFP4", "NVFP4", "Q4_0", "Q4_K", "IQ4_NL"} < set(four)
    assert levels.with_bits(16)[:2] == (FP16, BF16)
    assert levels.with_bits(1_000) == levels.with_bits(0) == ()


@pytest.mark.parametrize(
    ("dialect", "word", "name"),
    [
        ("ggml", 12, "Q4_K"),
        ("ggml", "Q4_K", "Q4_K"),
        ("ggml", 0, "None"),
        ("ggml", 1, "Float16"),
        ("safetensors", "BF16", "BFloat16"),
        ("safetensors", "F8_E4M3", "Float8E4M3FN"),
        ("onnx", 1, "None"),
        ("onnx", "FLOAT", "None"),
        ("onnx", 22, "Int4"),
        ("numpy", "float8_e4m3", "Float8E4M3"),
        ("jax", "float8_e4m3", "Float8E4M3"),
        ("torch", "float", "None"),
        ("hf", "bfloat16", "BFloat16"),
        ("tensorrt", "kFP8", "Float8E4M3FN"),
        ("bitsandbytes", "fp4", "BNB_FP4"),
    ],
)
def test_from_dialect(dialect: str, word: str | int, name: str) -> None:
    assert levels.from_dialect(dialect, word) is levels[name]


@pytest.mark.parametrize(
    ("dialect", "word"),
    [
        ("safetensors", "bf16"),  # letter by letter
        ("safetensors", "I4"),
        ("ggml", True),  # no 1
        ("ggml", 1.0),
        ("ggml", "12"),
        ("ggml", 4),  # removed
        ("ggml", 2**40),
        ("onnx", 0),
        ("onnx", None),
        ("nobody", "float32"),
        ("numpy", ["float32"]),
    ],
)
def test_from_dialect_misses(dialect: str, word: object) -> None:
    with pytest.raises(UnknownLevelError, match=f"unknown {dialect} type") as caught:
        levels.from_dialect(dialect, word)  # type: ignore[arg-type]
    assert caught.value.value == word


class TestDtypeObjects:
    def test_numpy(self) -> None:
        np = pytest.importorskip("numpy")
        for dtype, name in (
            (np.dtype("float16"), "Float16"),
            (np.dtype(">f4"), "None"),
            (np.float64, "Float64"),
            (np.double, "Float64"),
            (np.longlong, "Int64"),
            (np.intc, "Int32"),
            (np.bool_, "Bool"),
            (np.uint8, "UInt8"),
            (np.complex64, "Complex64"),
        ):
            assert levels.of_dtype(dtype) is levels[name]

    def test_numpy_dtypes_that_are_no_level(self) -> None:
        np = pytest.importorskip("numpy")
        no_levels = (np.floating, np.generic, np.str_, np.object_, np.dtype("datetime64[s]"), np.dtype([("a", "f4")]))
        for dtype in (*no_levels, np.dtype(("f4", 2)), np.longdouble):
            with pytest.raises(UnknownLevelError):
                levels.of_dtype(dtype)

    def test_ml_dtypes(self) -> None:
        np = pytest.importorskip("numpy")
        ml_dtypes = pytest.importorskip("ml_dtypes")
        assert levels.of_dtype(ml_dtypes.bfloat16) is BF16
        assert levels.of_dtype(np.dtype(ml_dtypes.bfloat16)) is BF16
        assert levels.of_dtype(ml_dtypes.int4) is INT4
        assert levels.of_dtype(ml_dtypes.float8_e4m3) is levels["Float8E4M3"]
        assert levels.of_dtype(np.dtype(ml_dtypes.float8_e4m3fn)) is levels["Float8E4M3FN"]

    def test_torch(self) -> None:
        torch = pytest.importorskip("torch")
        assert levels.of_dtype(torch.bfloat16) is BF16
        assert levels.of_dtype(torch.half) is FP16
        assert levels.of_dtype(torch.float) is FP32
        assert levels.of_dtype(torch.float8_e4m3fn) is levels["Float8E4M3FN"]
        for dtype in (torch.qint8, torch.dtype, torch.Tensor, torch.zeros(1)):
            with pytest.raises(UnknownLevelError):
                levels.of_dtype(dtype)

    def test_jax(self) -> None:
        jnp = pytest.importorskip("jax.numpy")
        assert levels.of_dtype(jnp.bfloat16) is BF16
        assert levels.of_dtype(jnp.dtype("float32")) is FP32
        assert levels.of_dtype(jnp.bool_) is levels["Bool"]
        assert levels.of_dtype(jnp.int4) is INT4

    def test_what_is_no_dtype(self) -> None:
        for thing in (None, float, int, "float32", 16, object(), SimpleNamespace(name="float32"), INT4):
            with pytest.raises(UnknownLevelError, match="unknown dtype object") as caught:
                levels.of_dtype(thing)
            assert caught.value.value is thing


class TestRegister:
    def test_a_registered_level_is_found_everywhere(self) -> None:
        registry = Registry()
        level = custom(label="A5", aliases=("acme-5",), spellings={"acme": ("Five", 5)})
        before = len(registry)
        assert registry.register(level) is level
        for word in ("Acme5", "acme5", "ACME5", "a5", "Acme-5", "acme_5", "five"):
            assert registry[word] is level
        assert registry.from_dialect("acme", "Five") is registry.from_dialect("acme", 5) is level
        assert level in registry
        assert [*registry][-1] is level
        assert len(registry) == before + 1 == len([*registry])
        assert registry.canonical(attrs.evolve(level)) is level
        assert level not in Registry()

    def test_again_and_equal_is_fine(self) -> None:
        registry = Registry()
        level = registry.register(custom())
        assert registry.register(attrs.evolve(level)) is level
        assert registry.register(INT4) is INT4
        assert registry.register(attrs.evolve(levels["Q4_K"])) is levels["Q4_K"]
        assert len(registry) == len(levels) + 1

    @pytest.mark.parametrize(
        ("fields", "owner"),
        [
            ({"name": "Int4"}, "Int4"),
            ({"name": "INT4"}, "Int4"),
            ({"name": "Q4"}, "Int4"),
            ({"name": "Half"}, "Float16"),
            ({"name": "nf4"}, "NF4"),
            ({"name": "F8_E4M3"}, "Float8E4M3FN"),  # a word of safetensors
            ({"name": "FP4"}, "Float4E2M1 or BNB_FP4"),
            ({"label": "BF16"}, "BFloat16"),
            ({"aliases": ("mine", "fp16")}, "Float16"),
            ({"aliases": ("Q4-K",)}, "Q4_K"),
            ({"spellings": {"ggml": ("ACME", 12)}}, "Q4_K"),
            ({"spellings": {"torch": ("int8",)}}, "Int8"),
            ({"spellings": {"acme": ("int8",)}}, "Int8"),  # the word alone would mean two things
        ],
    )
    def test_shipped_words_are_protected(self, fields: dict[str, object], owner: str) -> None:
        registry = Registry()
        with pytest.raises(ReservedLevelError) as caught:
            registry.register(custom(**fields))  # type: ignore[arg-type]
        assert caught.value.owner == owner
        assert len(registry) == len(levels)

    @pytest.mark.parametrize(
        "fields",
        [
            {"bits_per_param": 6},
            {"name": "ACME5"},
            {"name": "Other", "aliases": ("acme5",)},
            {"name": "Other", "label": "Acme_Five"},
            {"name": "Other", "spellings": {"acme": ("A5",)}},
            {"name": "Other", "spellings": {"acme": (5,)}},
            {"name": "A5"},
        ],
    )
    def test_so_are_registered_ones(self, fields: dict[str, object]) -> None:
        registry = Registry()
        level = registry.register(custom(aliases=("acme-five",), spellings={"acme": ("A5", 5)}))
        with pytest.raises(DuplicateLevelError) as caught:
            registry.register(custom(**fields))  # type: ignore[arg-type]
        assert caught.value.owner == "Acme5"
        assert registry["a5"] is level

    def test_all_or_none(self) -> None:
        registry = Registry()
        with pytest.raises(DuplicateLevelError):
            registry.register_all([custom("One"), custom("Two"), custom("ONE")])
        assert len(registry) == len(levels)
        assert registry.register_all([custom("One"), INT4, custom("One")]) == (registry["one"], INT4, registry["one"])

    def test_only_levels(self) -> None:
        with pytest.raises(TypeError, match="a QuantizationLevel is needed, not 'Int4'"):
            Registry().register("Int4")  # type: ignore[arg-type]

    def test_threads(self) -> None:
        registry = Registry()
        start = threading.Barrier(8)
        outcomes: list[object] = []

        def work(number: int) -> None:
            start.wait()
            for step in range(20):
                registry.register(custom(f"Own{number}_{step}"))
                assert registry[f"own{number}-{step}"].bits_per_param == 5
            try:
                outcomes.append(registry.register(custom("Shared", bits_per_param=number + 1)))
            except DuplicateLevelError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(registry) == len(levels) + 8 * 20 + 1
        assert [outcome for outcome in outcomes if isinstance(outcome, QuantizationLevel)] == [registry["Shared"]]
        assert len(outcomes) == 8


def test_the_collection() -> None:
    assert [*levels][:5] == [*FIVE]
    assert len(levels) == len([*levels]) == len(set(levels))
    assert all(level in levels for level in levels)
    assert attrs.evolve(INT4) in levels
    assert attrs.evolve(INT4, label="I4") not in levels
    assert levels.get("nothing") is None
    assert levels.get("nothing", INT8) is INT8
    assert levels.get("nothing", 3) == 3
    assert repr(Registry()) == f"<Registry of {len(levels)} levels>"
    with pytest.raises(TypeError, match="Registry of your own"):
        type("Mine", (type(levels),), {})


def loaded_after(code: str) -> set[str]:
    """Modules of a fresh process after ``code`` has run in it."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import quantlevels",
        "from quantlevels import INT4; repr(INT4), f'{INT4}', hash(INT4), INT4.nbytes((3, 3)), INT4.spelling('torch')",
        "from quantlevels import INT4; INT4.grouped(128).bits_per_weight",
        "from quantlevels import levels; levels['Int8'], levels['NONE'], levels['BFLOAT16'], levels['q4']",
        "from quantlevels import levels; levels.from_bits(16), 'half' in levels, levels.get('FLOAT32')",
        "from quantlevels import Registry; Registry()['int8']",
    ],
)
def test_nothing_of_formats_is_loaded_for_the_five(code: str) -> None:
    loaded = loaded_after(code)
    assert "quantlevels" in loaded
    assert not [name for name in loaded if name.startswith("quantlevels.vocabulary.formats")]


def test_shipped_levels_load_with_the_first_other_name() -> None:
    loaded = loaded_after("from quantlevels import levels; levels['Q4_K'], levels.from_dialect('ggml', 12)")
    assert "quantlevels.vocabulary.formats" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"cattrs", "importlib_metadata", "numpy", "torch", "json"}


def test_dtype_objects_import_no_library() -> None:
    code = (
        "from quantlevels import levels, UnknownLevelError\ntry: levels.of_dtype(float)\nexcept UnknownLevelError: pass"
    )
    assert not loaded_after(code) & {"numpy", "torch", "ml_dtypes", "jax"}


def test_a_hit_runs_no_python() -> None:
    calls: list[object] = []
    levels["Q4_K"]  # a name is a hit from its second use on
    sys.setprofile(lambda frame, event, argument: calls.append(frame) if event == "call" else None)
    try:
        levels["Int8"], levels["int4"], levels["FP32"], levels["Q4_K"]
    finally:
        sys.setprofile(None)
    assert not [frame for frame in calls if frame.f_code.co_filename.endswith("registry.py")]  # type: ignore[attr-defined]
