"""Pickles of every protocol, read without building what they say."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlevels import CheckpointError
from quantlevels.checkpoint.pickle import Global, Object, Value, interpret
from quantlevels.checkpoint.source import LocalFolder

ORDERED = Global("collections", "OrderedDict")


def read(tmp_path: Path, content: bytes, known: Container[Global] = frozenset()) -> Value:
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with LocalFolder(path.parent).open(path.name) as source:
        pickled = interpret(source, 0, source.size, known)
        assert pickled.end == len(content)
        return pickled.value


def plain(value: Value) -> object:
    """A symbolic value as what it stands for."""
    if isinstance(value, Object):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if type(value) is tuple:
        return tuple(plain(part) for part in value)
    return value


scalars = st.none() | st.booleans() | st.integers(-(1 << 200), 1 << 200) | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=values, protocol=st.integers(2, 5))
def test_plain_values_come_back(tmp_path: Path, value: object, protocol: int) -> None:
    assert plain(read(tmp_path, pickle.dumps(value, protocol))) == value


def test_values_kept_are_the_same_value(tmp_path: Path) -> None:
    shared = ["x"]
    value = read(tmp_path, pickle.dumps([shared, shared]))
    assert isinstance(value, list)
    assert value[0] is value[1]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_calls_are_not_made(tmp_path: Path, protocol: int) -> None:
    value = read(tmp_path, pickle.dumps(OrderedDict(a=1), protocol), {ORDERED})
    assert isinstance(value, Object)
    assert (value.function, value.arguments, list(value.items())) == (ORDERED, (), [("a", 1)])


@pytest.mark.parametrize("protocol", range(2, 6))
def test_names_that_are_not_known_are_refused_by_name(tmp_path: Path, protocol: int) -> None:
    name = Global(os.system.__module__, "system")
    with pytest.raises(CheckpointError, match=rf"a\.bin: wants the global .{name}.*\(at byte \d+\)"):
        read(tmp_path, pickle.dumps(os.system, protocol), {ORDERED})


def test_bytes_that_stand_as_texts_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NumPy's arrays are in protocol 2, a text of their code points, and by Python 2, a text of their bytes."""
    assert read(tmp_path, b"\x80\x02](U\x03w\xff\x00K\x01e.") == ["w\ufffd\0", 1]
    monkeypatch.setattr("quantlevels.checkpoint.pickle._LONGEST_TEXT", 3)
    assert read(tmp_path, pickle.dumps(["abc", "abcd", 1], 2)) == ["abc", None, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"\x80\x02", "truncated"),
        (b"\x80\xff}.", "protocol 255"),
        (b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + b"}.", "a frame of"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f", "an integer of"),
        (b"\x80\x02X\xff\xff\xff\xff", "truncated"),
        (b"\x80\x02X\x10\x00\x00\x00ab.", "truncated"),
        (b"\x80\x02B\x10\x00\x00\x00ab.", "truncated"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"\x80\x02.", "from an empty stack"),
        (b"\x80\x02(.", "from an empty stack"),
        (b"\x80\x02t.", "from an empty stack"),
        (b"\x80\x02\x85.", "from an empty stack"),
        (b"\x80\x02N(0.", "from an empty stack"),
        (b"\x80\x02h\x07.", "it reads memo entry 7"),
        (b"\x80\x02NNa.", "other than a list"),
        (b"\x80\x02NNNs.", "other than a dict"),
        (b"\x80\x02}(Nu.", "other than a dict"),
        (b"\x80\x02NNb.", "cannot have one"),
        (b"\x80\x02NNR.", "other than a global"),
        (b"\x80\x04NN\x93.", "not a text"),
        (b"\x80\x02\x82\x01.", "not one that tensors need"),
        (b"(S'x'\nios\nsystem\n.", "not one that tensors need"),
        (b"\x80\x02c" + b"x" * 5000, "does not end"),
    ],
)
def test_what_is_malformed_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read(tmp_path, content)


def test_nesting_exhausts_nothing() -> None:
    """In a process of its own: neither Python's stack nor C's may overflow, not even when it is all freed."""
    program = """
import sys, pathlib, tempfile
from quantlevels.checkpoint.pickle import interpret
from quantlevels.checkpoint.source import LocalFolder
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "deep.bin")
    for wrap in (b"\\x85", b"Q", b"q\\x00]h\\x00a"):
        path.write_bytes(b"\\x80\\x02]" + wrap * 300_000 + b".")
        with LocalFolder(path.parent).open(path.name) as source:
            value = interpret(source, 0, source.size, frozenset())
        del value
print("freed")
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "freed\n"
    )


@pytest.mark.parametrize("value", [b"}", b"]", b"(", b")\x85", b"}NNs", b"K\x01\x85\x94"])
def test_memory_is_limited_by_the_bytes_of_a_pickle(
    tmp_path: Path, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantlevels.checkpoint.pickle._LEAST_MEMORY", 1 << 20)  # a small file takes less time
    content = b"\x80\x04" + value * (200_000 // len(value)) + b"."
    tracemalloc.start()
    try:
        with suppress(CheckpointError):
            read(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < (4 << 20) + 16 * len(content)
    finally:
        tracemalloc.stop()


def test_a_pickle_of_empty_dicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"its values take over \d+ MiB of memory, far more than its bytes"):
        read(tmp_path, b"\x80\x04" + b"}" * 1_500_000 + b".")


def test_a_memo_counted_from_one_is_read(tmp_path: Path) -> None:
    # as cPickle of Python 2 writes it: {"a": [], "b": the same list}
    content = b"\x80\x02}q\x01(U\x01aq\x02]q\x03U\x01bq\x04h\x03u."
    assert plain(read(tmp_path, content)) == pickle.loads(content) == {"a": [], "b": []}
    with pytest.raises(CheckpointError, match="it reads memo entry 0, which was never written"):
        read(tmp_path, b"\x80\x02}q\x01h\x00.")


def test_a_memo_entry_far_beyond_the_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it writes memo entry 4000000000 after 0 others"):
        read(tmp_path, b"\x80\x02]r" + struct.pack("<I", 4_000_000_000) + b".")


def test_memo_entries_are_not_passed_over_again_and_again(tmp_path: Path) -> None:
    puts = b"".join(b"r" + struct.pack("<I", number << 15) for number in range(1, 100))
    with pytest.raises(CheckpointError, match="it writes memo entry 98304 after 65537 others"):
        read(tmp_path, b"\x80\x02]" + puts + b".")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(content=st.binary(max_size=200), protocol=st.integers(2, 5), edits=st.data())
def test_damage_is_read_or_refused(tmp_path: Path, content: bytes, protocol: int, edits: st.DataObject) -> None:
    with suppress(CheckpointError, AssertionError):  # what stops early leaves bytes behind
        read(tmp_path, b"\x80\x02" + content)
    damaged = bytearray(pickle.dumps(OrderedDict(a=[1.5, "x" * 300, {}, (2, 3)], b=1 << 70), protocol))
    place = edits.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = edits.draw(st.integers(0, 255))
    with suppress(CheckpointError, AssertionError):
        read(tmp_path, bytes(damaged), {ORDERED})
