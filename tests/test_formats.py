"""Laws that every shipped level keeps."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import AmbiguousLevelError, Block, QuantizationLevel, formats, is_builtin_name, levels
from quantlevels.llamacpp import FILE_TYPES, GUESSED
from quantlevels.vocabulary.formats import AMBIGUOUS, GGML_BLOCKS, GGML_REMOVED, codebook, ggml, microscaling, numbers

ALL = list(levels)
BY_NAME = {level.name: level for level in ALL}
#: (dialect, word, level) of every row
SPELLINGS = [
    (dialect, word, level) for level in ALL for dialect in level.spellings for word in level.spellings[dialect]
]


def folded(word: str) -> str:
    return word.lower().replace("-", "_")


def test_no_word_belongs_to_two_levels() -> None:
    words = Counter(
        word for level in ALL for word in {folded(word) for word in (level.name, level.label, *level.aliases)}
    )
    assert not [word for word, count in words.items() if count > 1]
    assert not words.keys() & AMBIGUOUS.keys()
    dialects = Counter((dialect, word) for dialect, word, _ in SPELLINGS)
    assert not [word for word, count in dialects.items() if count > 1]


@pytest.mark.parametrize(("dialect", "word", "level"), SPELLINGS)
def test_every_spelling_leads_back(dialect: str, word: str | int, level: QuantizationLevel) -> None:
    assert levels.from_dialect(dialect, word) is level
    if isinstance(word, int):
        return
    if folded(word) in AMBIGUOUS:
        assert level.name in AMBIGUOUS[folded(word)]
    else:
        assert levels[word] is level


@given(st.data())
def test_own_words_match_any_case_and_dash(data: st.DataObject) -> None:
    level = data.draw(st.sampled_from(ALL))
    word = data.draw(st.sampled_from([level.name, level.label, *level.aliases]))
    variant = "".join(data.draw(st.sampled_from("-_" if c in "-_" else c.lower() + c.upper())) for c in word)
    assert levels[variant] is level


@pytest.mark.parametrize("level", ALL, ids=lambda level: level.name)
def test_every_row_is_complete(level: QuantizationLevel) -> None:
    assert level.summary
    assert level.source
    assert level.kind != "custom"
    assert level.summary[-1] != "."
    assert re.fullmatch(r"[A-Z][A-Za-z0-9_]*", level.name)
    assert level.bits_per_weight >= min(level.bits_per_param, Fraction(3, 2))
    assert level.bits_per_weight <= level.bits_per_param + 2 or level.name in ("Bool", "TF32")
    assert level.memory_reduction_factor == 32 / level.bits_per_param
    torch = level.spellings.get("torch")
    assert torch is None or level.spellings["hf"] == torch[:1]


def test_ambiguous_words() -> None:
    for word, names in AMBIGUOUS.items():
        assert word == folded(word)
        assert len(set(names)) > 1
        with pytest.raises(AmbiguousLevelError) as caught:
            levels[word.upper()]
        assert caught.value.candidates == names
        assert set(names) <= BY_NAME.keys()


@pytest.mark.parametrize(
    ("name", "bits", "block"),
    [
        ("Bool", 1, Block(1, 8)),
        ("TF32", 19, Block(1, 32)),
        ("Int3", 3, Block(1, 3)),
        ("UInt64", 64, Block(1, 64)),
        ("Complex64", 64, Block(1, 64)),
        ("Ternary", 2, Block(1, 2)),
        ("NF4", 4, Block(1, 4)),
        ("BNB_FP4", 4, Block(1, 4)),
        ("MXFP8_E5M2", 8, Block(32, 264)),
        ("MXFP6_E2M3", 6, Block(32, 200)),
        ("MXFP4", 4, Block(32, 136)),
        ("MXINT8", 8, Block(32, 264)),
        ("NVFP4", 4, Block(16, 72)),
        ("Q4_K", 4, Block(256, 1152)),
        ("Q8_0", 8, Block(32, 272)),
        ("Q8_1", 8, Block(32, 288)),
        ("TQ1_0", 2, Block(256, 432)),
        ("IQ1_S", 2, Block(256, 400)),
        ("IQ2_XXS", 2, Block(256, 528)),
        ("Q1_0", 1, Block(128, 144)),
    ],
)
def test_widths_and_blocks(name: str, bits: int, block: Block) -> None:
    assert (levels[name].bits_per_param, levels[name].block) == (bits, block)


def test_ggml_blocks() -> None:
    assert len(GGML_BLOCKS) >= 35
    assert not GGML_BLOCKS.keys() & GGML_REMOVED.keys()
    for type_id, block in GGML_BLOCKS.items():
        level = levels.from_dialect("ggml", type_id)
        assert block.bits_per_weight == level.bits_per_weight
        assert block.bits % 8 == 0
        assert block == level.block or level.name == "NVFP4"
    assert GGML_BLOCKS[40] == Block(64, 288)
    for type_id, name in GGML_REMOVED.items():
        for word in (type_id, name):
            with pytest.raises(LookupError):
                levels.from_dialect("ggml", word)


def test_ggml_file_types() -> None:
    assert GUESSED not in FILE_TYPES
    assert set(range(42)) == set(FILE_TYPES)
    for name, level in FILE_TYPES.values():
        assert level is None or levels[level].spelling("ggml") == BY_NAME[level].spelling("ggml")
        _, _, plain = name.partition("_")
        if plain in BY_NAME:  # a file type with the name of a tensor type; llama.cpp makes IQ2_S of IQ2_XS
            assert level == ("IQ2_XS" if plain == "IQ2_S" else plain)


# The typed constants


def test_each_shipped_level_has_a_constant() -> None:
    for level in ALL:
        name = level.label if is_builtin_name(level.name) else level.name
        assert getattr(formats, name) is level
    assert len(formats.__all__) == len(ALL)
    assert set(formats.__all__) <= set(dir(formats))


def test_every_constant_is_assigned_to_its_own_name() -> None:
    for module in (codebook, ggml, microscaling, numbers):
        for name, value in vars(module).items():
            assert not isinstance(value, QuantizationLevel) or value.name == name


def test_an_unknown_constant_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'quantlevels\.formats' has no attribute 'Q4_L'"):
        getattr(formats, "Q4_L")  # noqa: B009  # unknown to type checkers


def test_importing_the_constants_builds_no_table() -> None:
    code = "import sys, quantlevels.formats; print('quantlevels.vocabulary.formats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
