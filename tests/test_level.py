"""The record of a level: what it accepts, how it compares, prints, pickles, and what it counts."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlevels import BF16, FP16, FP32, INT4, INT8, Block, Layout, QuantizationLevel, UntranslatableLevelError, levels

FIVE = (FP32, FP16, BF16, INT8, INT4)
ACME = QuantizationLevel(
    name="Acme5",
    bits_per_param=5,
    block=Block(64, 336),
    aliases=("acme-5",),
    spellings={"acme": ("A5", 5)},
    summary="five bits of Acme",
    source="acme.example",
)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize(
    ("level", "name", "label", "bits", "factor"),
    [
        (FP32, "None", "FP32", 32, 1.0),
        (FP16, "Float16", "FP16", 16, 2.0),
        (BF16, "BFloat16", "BF16", 16, 2.0),
        (INT8, "Int8", "INT8", 8, 4.0),
        (INT4, "Int4", "INT4", 4, 8.0),
    ],
)
def test_the_five(level: QuantizationLevel, name: str, label: str, bits: int, factor: float) -> None:
    assert (level.name, str(level), level.label, level.bits_per_param) == (name, label, label, bits)
    assert level.memory_reduction_factor == factor
    assert level.block == Block(1, bits)
    assert level.bits_per_weight == bits


def test_only_a_name_and_a_width_are_required() -> None:
    level = QuantizationLevel(name="Tiny", bits_per_param=3)
    assert (level.label, level.block, level.aliases, level.kind) == ("Tiny", Block(1, 3), (), "custom")
    assert (dict(level.spellings), level.summary, level.source) == ({}, "", "")
    with pytest.raises(TypeError):
        QuantizationLevel("Tiny", 3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"name": ""}, ValueError, "name must be ASCII letters, digits and underscores, no digit first, not ''"),
        ({"name": "4bit"}, ValueError, "name must be ASCII letters"),
        ({"name": "Q4.5"}, ValueError, "name must be ASCII letters"),
        ({"name": "Int\uff14"}, ValueError, "name must be ASCII letters"),
        ({"name": 4}, TypeError, "name must be a string, not 4"),
        ({"bits_per_param": 0}, ValueError, "bits_per_param must be at least 1, not 0"),
        ({"bits_per_param": -4}, ValueError, "bits_per_param must be at least 1, not -4"),
        ({"bits_per_param": 1025}, ValueError, "bits_per_param must be at most 1024, not 1025"),
        ({"bits_per_param": 4.0}, TypeError, "bits_per_param must be an integer, not 4.0"),
        ({"bits_per_param": True}, TypeError, "bits_per_param must be an integer, not True"),
        ({"bits_per_param": None, "block": Block(1, 4)}, TypeError, "bits_per_param must be an integer, not None"),
        ({"label": ""}, ValueError, "label must not be empty"),
        ({"label": "A\x1b[2J"}, ValueError, "label must be printable"),
        ({"label": 5}, TypeError, "label must be a string, not 5"),
        ({"block": (32, 144)}, TypeError, r"block must be a Block, not \(32, 144\)"),
        ({"block": Block(32, 128)}, ValueError, "a block of 32 weights in 128 bits is too small for codes of 5 bits"),
        ({"aliases": "a5"}, TypeError, "aliases must be a tuple of strings, not 'a5'"),
        ({"aliases": (5,)}, TypeError, "aliases must be strings, not 5"),
        ({"aliases": ("",)}, ValueError, "aliases must be printable ASCII words, not ''"),
        ({"aliases": ("a 5",)}, ValueError, "aliases must be printable ASCII words, not 'a 5'"),
        ({"spellings": ("torch", "a5")}, TypeError, "spellings must be a mapping"),
        ({"spellings": {"torch": "a5"}}, TypeError, "spellings in 'torch' must be a tuple of at least one"),
        ({"spellings": {"torch": ()}}, TypeError, "spellings in 'torch' must be a tuple of at least one"),
        ({"spellings": {"torch": (True,)}}, TypeError, "spellings in 'torch' must be strings, not True"),
        ({"spellings": {"": ("a5",)}}, ValueError, "dialects must be printable ASCII words, not ''"),
        ({"kind": "magic"}, ValueError, "kind must be one of .*, not 'magic'"),
        ({"kind": ["int"]}, ValueError, "kind must be one of"),
        ({"summary": "two\nlines"}, ValueError, "summary must be printable"),
        ({"source": None}, TypeError, "source must be a string, not None"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        QuantizationLevel(**{"name": "Acme5", "bits_per_param": 5, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "bits", "error", "text"),
    [
        (0, 4, ValueError, "weights must be at least 1, not 0"),
        (32, 0, ValueError, "bits must be at least 1, not 0"),
        (32, -1, ValueError, "bits must be at least 1, not -1"),
        (32.0, 144, TypeError, "weights must be an integer, not 32.0"),
        (True, 144, TypeError, "weights must be an integer, not True"),
    ],
)
def test_a_block_is_two_positive_integers(weights: int, bits: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Block(weights, bits)


def test_row_bits_are_counted_once_per_row() -> None:
    block = Block(256, 1088, row_bits=32)
    assert block.bits_per_weight == Fraction(17, 4)
    assert block.nbytes((3, 2, 512)) == 6 * (2 * 136 + 4)
    assert block.nbytes((3, 0)) == block.nbytes((0, 256)) == 0
    assert Block(256, 64, row_bits=4).nbytes((2, 256)) == 2 * 9
    level = QuantizationLevel(name="Rows4", bits_per_param=4, block=block)
    assert (level.bits_per_weight, level.nbytes((256,))) == (Fraction(17, 4), 140)
    assert repr(block) == "Block(weights=256, bits=1088, row_bits=32)"
    assert block != Block(256, 1088)


@pytest.mark.parametrize(("row_bits", "error"), [(-1, ValueError), (True, TypeError), (1.0, TypeError)])
def test_row_bits_are_not_negative(row_bits: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="row_bits must"):
        Block(256, 1088, row_bits=row_bits)


def test_reduction_is_nominal_or_exact() -> None:
    level = levels["Q4_K"]
    assert (level.memory_reduction_factor, level.exact_reduction_factor) == (8.0, 32 / 4.5)
    assert INT8.exact_reduction_factor == INT8.memory_reduction_factor == 4.0


def test_a_level_is_immutable_and_sealed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        INT4.bits_per_param = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        INT4.spellings["torch"] = ("int4",)  # type: ignore[index]
    with pytest.raises(TypeError, match="sealed"):
        type("Mine", (QuantizationLevel,), {})
    assert not hasattr(INT4, "__dict__")
    words = {"acme": ("A5",)}
    level = attrs.evolve(ACME, spellings=words)
    words["acme"] = ("A6",)
    assert level.spelling("acme") == "A5"


def test_equality_is_over_all_fields() -> None:
    same = attrs.evolve(ACME)
    assert same is not ACME
    assert same == ACME
    assert hash(same) == hash(ACME)
    for change in (
        {"bits_per_param": 6}, {"label": "A5"}, {"block": Block(64, 337)}, {"aliases": ()}, {"kind": "int"},
        {"spellings": {"acme": ("A5",)}}, {"summary": ""}, {"source": ""},
    ):  # fmt: skip
        other = attrs.evolve(ACME, **change)
        assert other != ACME
        assert hash(other) == hash(ACME)
    assert FP16 != BF16
    assert len({*FIVE, *map(attrs.evolve, FIVE)}) == 5
    assert INT4 != "Int4"
    assert {INT4: 1}.get("Int4") is None  # type: ignore[call-overload]


def test_matching_and_printing() -> None:
    match ACME:
        case QuantizationLevel("Acme5", bits):
            assert bits == 5
        case _:
            pytest.fail("no match")
    assert repr(INT4) == "QuantizationLevel(name='Int4', bits_per_param=4)"
    assert repr(ACME) == "QuantizationLevel(name='Acme5', bits_per_param=5, block=Block(weights=64, bits=336))"
    assert f"{FP32}|{FP32:>8}|{FP32:<6}|{FP32!s:.2}" == "FP32|    FP32|FP32  |FP"


def test_spelling() -> None:
    assert ACME.spelling("acme") == "A5"
    assert INT8.spelling("ggml") == "I8"
    numbered = attrs.evolve(ACME, spellings={"acme": (5,)})
    for level, dialect in ((INT4, "safetensors"), (numbered, "acme"), (INT4, "")):
        with pytest.raises(UntranslatableLevelError) as caught:
            level.spelling(dialect)
        assert (caught.value.level, caught.value.dialect) == (level.name, dialect)
        assert set(caught.value.known) == set(level.spellings)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickling_keeps_known_levels_and_other_values(protocol: int) -> None:
    for level in levels:
        assert pickle.loads(pickle.dumps(level, protocol)) is level
    restored = pickle.loads(pickle.dumps(ACME, protocol))
    assert restored == ACME
    assert type(restored.spellings) is type(ACME.spellings)
    impostor = attrs.evolve(INT4, summary="not the one")
    assert pickle.loads(pickle.dumps(impostor, protocol)) == impostor != INT4


def test_copies_are_the_level_itself() -> None:
    for level in (*FIVE, ACME, levels["Q4_K"]):
        assert copy.copy(level) is level
        assert copy.deepcopy(level) is level
        assert copy.deepcopy({"a": [level]})["a"][0] is level


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_load_in_a_fresh_process(protocol: int) -> None:
    known = [*FIVE, levels["Q4_K"], levels["NVFP4"], levels["Bool"]]
    code = (
        f"import pickle; *known, acme = pickle.loads({pickle.dumps([*known, ACME], protocol)!r})\n"
        "from quantlevels import Block, QuantizationLevel, levels\n"
        "assert all(level is levels[level.name] for level in known), known\n"
        "assert (acme.name, acme.block, acme.spellings['acme']) == ('Acme5', Block(64, 336), ('A5', 5)), acme\n"
        "assert acme not in levels\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


#: pickles that users may have by now; the path in them must stay importable
PINNED = {
    "None": b"cquantlevels\n_shipped_level\np0\n(VNone\np1\ntp2\nRp3\n.",
    "Float16": b"\x80\x02cquantlevels\n_shipped_level\nq\x00X\x07\x00\x00\x00Float16q\x01\x85q\x02Rq\x03.",
    "BFloat16": b"\x80\x03cquantlevels\n_shipped_level\nq\x00X\x08\x00\x00\x00BFloat16q\x01\x85q\x02Rq\x03.",
    "Int4": b"\x80\x04\x95-\x00\x00\x00\x00\x00\x00\x00\x8c\x0bquantlevels\x94\x8c\x0e_shipped_level"
    b"\x94\x93\x94\x8c\x04Int4\x94\x85\x94R\x94.",
    "Int8": b"\x80\x05\x95-\x00\x00\x00\x00\x00\x00\x00\x8c\x0bquantlevels\x94\x8c\x0e_shipped_level"
    b"\x94\x93\x94\x8c\x04Int8\x94\x85\x94R\x94.",
}


@pytest.mark.parametrize("name", PINNED)
def test_pickles_made_by_earlier_code_still_load(name: str) -> None:
    assert pickle.loads(PINNED[name]) is levels[name]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_name_no_inner_module(protocol: int) -> None:
    for level in (INT4, levels["Q4_K"], ACME):
        assert b"quantlevels." not in pickle.dumps(level, protocol)


def test_a_pickle_of_a_later_level_names_it() -> None:
    later = PINNED["Int8"].replace(b"Int8", b"Int0")
    with pytest.raises(LookupError, match="unknown level 'Int0'"):
        pickle.loads(later)


@pytest.mark.parametrize(
    ("layout", "bits_per_weight"),
    [
        (INT4.grouped(128), Fraction(33, 8)),
        (INT4.grouped(128, zero_point=INT4), Fraction(133, 32)),
        (INT4.grouped(128, scale=FP16, zero_point=4), Fraction(133, 32)),
        (INT4.grouped(64, scale=BF16, zero_point=BF16), Fraction(9, 2)),
        (INT8.grouped(32, scale=FP32), Fraction(9)),
        (FP16.grouped(1, scale=0), Fraction(16)),
    ],
)
def test_bits_per_weight_of_layouts_are_exact(layout: Layout, bits_per_weight: Fraction) -> None:
    assert layout.bits_per_weight == bits_per_weight
    assert isinstance(layout.bits_per_weight, Fraction)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"group_size": 0}, ValueError, "group_size must be at least 1, not 0"),
        ({"group_size": -1}, ValueError, "group_size must be at least 1, not -1"),
        ({"group_size": 128.0}, TypeError, "group_size must be an integer, not 128.0"),
        ({"group_size": 128, "scale": -16}, ValueError, "scale must not be negative, not -16"),
        ({"group_size": 128, "zero_point": 4.0}, TypeError, "zero_point must be a level or a number of bits, not 4.0"),
    ],
)
def test_a_layout_names_what_is_wrong(options: dict[str, int], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        INT4.grouped(**options)


@pytest.mark.parametrize(
    ("level", "shape", "nbytes"),
    [
        (INT4, (4096, 4096), 8_388_608),
        (INT4, (3, 3), 6),  # each row takes whole bytes
        (INT4, (), 1),
        (INT4, (1,), 1),
        (INT4, (0,), 0),
        (FP32, (), 4),
        (FP32, (5, 0), 0),
        (FP32, (0, 5), 0),
        (FP32, (2, 3, 5), 120),
        (levels["Q4_K"], (4096, 4096), 9_437_184),
        (levels["Q4_K"], (10, 257), 10 * 2 * 144),  # a last block that is not full is a whole one
        (levels["Bool"], (3, 3), 9),
        (levels["NVFP4"], (1, 17), 18),
        (levels["TF32"], (4,), 16),
    ],
)
def test_nbytes_of_a_level(level: QuantizationLevel, shape: tuple[int, ...], nbytes: int) -> None:
    assert level.nbytes(shape) == nbytes
    assert level.block.nbytes(shape) == nbytes


@pytest.mark.parametrize(
    ("layout", "shape", "nbytes"),
    [
        (INT4.grouped(128), (4096, 4096), 4096 * (2048 + 32 * 2)),
        (INT4.grouped(128, zero_point=INT4), (4096, 4096), 4096 * (2048 + 32 * 2 + 16)),
        (INT4.grouped(128), (2, 129), 2 * (65 + 2 * 2)),  # the 129th weight has a scale of its own
        (INT4.grouped(128, zero_point=4), (2, 129), 2 * (65 + 2 * 2 + 1)),
        (INT4.grouped(128, zero_point=4), (2, 128), 2 * (64 + 2 + 1)),  # a lone zero point of 4 bits takes a byte
        (INT8.grouped(32), (), 1 + 2),
        (INT8.grouped(32), (0, 64), 0),
        (INT8.grouped(32), (64, 0), 0),
    ],
)
def test_nbytes_of_a_layout(layout: Layout, shape: tuple[int, ...], nbytes: int) -> None:
    assert layout.nbytes(shape) == nbytes


@pytest.mark.parametrize("shape", [(-3, 4), (3, -4), (3.0, 4), (3, 4.0), ("3", 4), (3, None)])
@pytest.mark.parametrize("stored", [INT4, INT4.block, INT4.grouped(128)], ids=["level", "block", "layout"])
def test_nbytes_of_what_is_no_shape_is_refused(stored: Any, shape: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"no negative sizes|as an integer"):
        stored.nbytes(shape)


@given(st.sampled_from(list(levels)), st.integers(1, 64), st.integers(1, 50), st.integers(0, 16))
def test_full_groups_cost_exactly_bits_per_weight(level: QuantizationLevel, rows: int, cells: int, zero: int) -> None:
    group = level.block.weights * 8
    layout = level.grouped(group, scale=16, zero_point=8 * zero)
    shape = (rows, cells * group)
    assert Fraction(8 * layout.nbytes(shape), rows * cells * group) == layout.bits_per_weight
    assert Fraction(8 * level.nbytes(shape), rows * cells * group) == level.bits_per_weight
