"""One GGUF file and split ones: what is read, and what the format's rules refuse."""

from __future__ import annotations

import math
import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlevels import CheckpointError, levels
from quantlevels.checkpoint import read_checkpoint
from quantlevels.container import UnknownType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

U32, STRING, ARRAY = 4, 8, 9


class Writer:
    """The pieces of a GGUF file as bytes."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def number(self, code: str, value: float) -> bytes:
        return struct.pack(self.order + code, value)

    def string(self, text: str | bytes) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return self.number("Q", len(raw)) + raw

    def pair(self, key: str | bytes, type: int, value: bytes) -> bytes:
        return self.string(key) + self.number("I", type) + value

    def strings(self, key: str, words: Sequence[bytes]) -> bytes:
        head = self.number("I", STRING) + self.number("Q", len(words))
        return self.pair(key, ARRAY, head + b"".join(map(self.string, words)))

    def info(self, name: str | bytes, dims: Sequence[int], type: int, offset: int) -> bytes:
        numbers = b"".join(self.number("Q", length) for length in dims)
        tail = self.number("I", type) + self.number("Q", offset)
        return self.string(name) + self.number("I", len(dims)) + numbers + tail

    def file(
        self,
        pairs: Sequence[bytes] = (),
        infos: Sequence[bytes] = (),
        data: int = 0,
        *,
        version: int = 3,
        align: int = 32,
    ) -> bytes:
        counts = self.number("Q", len(infos)) + self.number("Q", len(pairs))
        header = b"GGUF" + self.number("I", version) + counts + b"".join((*pairs, *infos))
        return header + bytes(-len(header) % align + data)


LITTLE = Writer()
ARCHITECTURE = LITTLE.pair("general.architecture", STRING, LITTLE.string("llama"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused(file: Path, raw: bytes) -> str:
    file.write_bytes(raw)
    return refusal(file)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(file: Path, order: str, version: int) -> None:
    writer = Writer(order)
    pairs = [
        writer.pair("general.architecture", STRING, writer.string("llama")),
        writer.pair("general.file_type", U32, writer.number("I", 15)),
        writer.strings("tokenizer.ggml.tokens", [b"a", b"", b"\xff", b"word" * 100]),
        writer.pair("scores", ARRAY, writer.number("I", 6) + writer.number("Q", 3) + bytes(12)),
        writer.pair("eps", 6, writer.number("f", 0.5)),
        writer.pair("flag", 7, b"\x07"),
        writer.pair("odd", STRING, writer.string(b"\xff")),
    ]
    infos = [writer.info("norm", [5], 0, 0), writer.info("up", [256, 2], 12, 32), writer.info("end", [], 30, 320)]
    file.write_bytes(writer.file(pairs, infos, 322, version=version))
    found = read_checkpoint(file)
    assert found.format == "gguf"
    assert list(found.tensors) == [
        ("norm", levels["FP32"], (5,), 20),
        ("up", levels["Q4_K"], (2, 256), 288),
        ("end", levels["BF16"], (), 2),
    ]
    assert found.metadata == {
        "general.architecture": "llama",
        "general.file_type": 15,
        "eps": 0.5,
        "flag": True,
        "odd": "\N{REPLACEMENT CHARACTER}",
    }
    assert not found.findings
    assert not found.configs


def test_config_files_beside_it_are_not_its_own(file: Path) -> None:
    file.write_bytes(LITTLE.file([ARCHITECTURE]))
    file.with_name("config.json").write_text("{}")
    assert not read_checkpoint(file).configs


WORDS = st.lists(st.binary(max_size=12) | st.binary(min_size=120, max_size=300), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(WORDS, st.sampled_from([1, 500, 2000]), st.sampled_from("<>"))
def test_vocabularies_of_any_words_are_passed_over(file: Path, words: list[bytes], times: int, order: str) -> None:
    writer = Writer(order)
    after = writer.pair("after", U32, writer.number("I", 7))
    file.write_bytes(writer.file([writer.strings("tokens", words * times), after]))
    assert read_checkpoint(file).metadata == {"after": 7}


def test_strings_beyond_the_end_of_the_file_are_refused(file: Path) -> None:
    words = [b"word"] * 10_000
    whole = LITTLE.file([LITTLE.strings("tokens", words)])
    start = whole.index(b"word") - 8
    for place in (0, 5_000, 9_999):
        for length in (1 << 20, 1 << 62, (1 << 64) - 8, 0x104):
            at = start + 12 * place
            raw = whole[:at] + struct.pack("<Q", length) + whole[at + 8 :]
            file.write_bytes(raw)
            with pytest.raises(CheckpointError):
                read_checkpoint(file)


def test_what_is_cut_anywhere_is_refused(file: Path) -> None:
    whole = LITTLE.file([ARCHITECTURE], [LITTLE.info("a", [32], 8, 0)], 34)
    for size in range(len(whole)):
        refused(file, whole[:size])


def array(type: int, count: int, rest: bytes = b"") -> bytes:
    return LITTLE.pair("k", ARRAY, struct.pack("<IQ", type, count) + rest)


BAD_HEADERS = {
    "magic": (b"GGML" + bytes(20), "does not begin with 'GGUF'"),
    "version 1": (b"GGUF" + struct.pack("<III", 1, 0, 0), "version 1"),
    "version 4": (LITTLE.file(version=4), "version 4"),
    "version 0": (LITTLE.file(version=0), "version 0"),
    "key-value count": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), "key-values"),
    "tensor count": (b"GGUF" + struct.pack("<IQQ", 3, (1 << 64) - 1, 0), "tensors"),
    "empty key": (LITTLE.file([LITTLE.pair("", U32, bytes(40))]), "empty key"),
    "long key": (LITTLE.file([LITTLE.pair("k" * 70_000, U32, bytes(4))]), "65,535"),
    "key not UTF-8": (LITTLE.file([LITTLE.pair(b"\xff\xfe", U32, bytes(4))]), "not UTF-8"),
    "repeated key": (LITTLE.file([ARCHITECTURE, ARCHITECTURE]), "'general.architecture' is repeated"),
    "type of a value": (LITTLE.file([LITTLE.pair("k", 13, bytes(40))]), "unknown type 13"),
    "array count": (LITTLE.file([array(0, 1 << 62)]), "cannot be in"),
    "string count": (LITTLE.file([array(STRING, 1 << 62)]), "cannot be in"),
    "array type": (LITTLE.file([array(77, 0)]), "type 77"),
    "deep arrays": (LITTLE.file([array(ARRAY, 1, struct.pack("<IQ", ARRAY, 1) * 20_000)]), "too deep"),
    "alignment 0": (LITTLE.file([LITTLE.pair("general.alignment", U32, struct.pack("<I", 0))]), "power of two"),
    "alignment 24": (LITTLE.file([LITTLE.pair("general.alignment", U32, struct.pack("<I", 24))]), "power of two"),
    "alignment type": (LITTLE.file([LITTLE.pair("general.alignment", 10, struct.pack("<Q", 32))]), "32-bit"),
}


@pytest.mark.parametrize(("raw", "reason"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_malformed_headers_are_refused_by_name(file: Path, raw: bytes, reason: str) -> None:
    assert reason in refused(file, raw)


BAD_TENSORS = {
    "rank": ([("a", [1, 1, 1, 1, 1], 0, 0)], "5 dimensions"),
    "dimension": ([("a", [1 << 63], 0, 0)], "63 bits"),
    "product": ([("a", [1 << 32, 1 << 32], 0, 0)], "63 bits"),
    "bytes": ([("a", [1 << 62], 28, 0)], "truncated"),
    "row": ([("a", [33], 8, 0)], "blocks of 32"),
    "row of NVFP4": ([("a", [32], 40, 0)], "blocks of 64"),
    "scalar in blocks": ([("a", [], 8, 0)], "blocks of 32"),
    "unaligned": ([("a", [8], 0, 4)], "begins at byte 4"),
    "beyond": ([("a", [8], 0, 1 << 40)], "begins at byte"),
    "overlap": ([("a", [8], 0, 0), ("b", [8], 0, 0)], "begins at byte 0 of the data, not 32"),
    "hole": ([("a", [8], 0, 0), ("b", [8], 0, 64)], "begins at byte 64"),
    "order": ([("b", [8], 0, 32), ("a", [8], 0, 0)], "begins at byte 32"),
    "before an unknown type": ([("a", [8], 999, 32), ("b", [8], 0, 0)], "begins at byte 32"),
    "unknown type reversed": ([("a", [8], 0, 0), ("b", [8], 999, 32), ("c", [8], 0, 0)], "begins at byte 0"),
    "unknown type beyond": ([("a", [1 << 40], 0, 0), ("b", [8], 999, 1 << 42)], "truncated"),
    "twice": ([("a", [8], 0, 0), ("a", [8], 0, 32)], "two tensors are named 'a'"),
    "name not UTF-8": ([(b"\xff", [8], 0, 0)], "not UTF-8"),
    "short": ([("a", [64], 0, 0)], "truncated: its tensors take 256 bytes, but the file holds only 128 of them"),
}


@pytest.mark.parametrize(("infos", "reason"), BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_malformed_tensors_are_refused_by_name(file: Path, infos: list[Any], reason: str) -> None:
    assert reason in refused(file, LITTLE.file([ARCHITECTURE], [LITTLE.info(*info) for info in infos], 128))


def test_dimensions_may_be_zero(file: Path) -> None:
    file.write_bytes(LITTLE.file([], [LITTLE.info("a", [0, 1 << 40], 12, 0), LITTLE.info("b", [1], 24, 0)], 1))
    assert [(tensor.shape, tensor.nbytes) for tensor in read_checkpoint(file).tensors] == [((1 << 40, 0), 0), ((1,), 1)]


def test_a_vocabulary_alone_needs_no_data(file: Path) -> None:
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ARCHITECTURE)
    assert list(read_checkpoint(file).tensors) == []


def test_alignment_is_obeyed(file: Path) -> None:
    pairs = [LITTLE.pair("general.alignment", U32, struct.pack("<I", 1024))]
    infos = [LITTLE.info("a", [8], 0, 0), LITTLE.info("b", [8], 0, 1024)]
    file.write_bytes(LITTLE.file(pairs, infos, 1056, align=1024))
    assert [tensor.nbytes for tensor in read_checkpoint(file).tensors] == [32, 32]


@pytest.mark.parametrize(("type", "hint"), [(4242, "a plugin can name it"), (36, "IQ4_NL_4_4"), (0xFFFFFFFF, "plugin")])
def test_unknown_types_keep_their_bytes_and_are_reported(file: Path, type: int, hint: str) -> None:
    infos = [LITTLE.info("a", [64], type, 0), LITTLE.info("b", [8], 0, 96), LITTLE.info("c", [64], type, 128)]
    file.write_bytes(LITTLE.file([], infos, 128 + 77))
    found = read_checkpoint(file)
    unknown = UnknownType("ggml", type)
    assert [(tensor.dtype, tensor.nbytes) for tensor in found.tensors] == [
        (unknown, 96),
        (levels["FP32"], 32),
        (unknown, 77),
    ]
    (finding,) = found.findings
    assert (finding.code, finding.where) == ("QL301", "a")
    assert f"ggml type {type}" in finding.message
    assert "2 tensors in 173 bytes" in finding.message
    assert hint in finding.message


@pytest.mark.parametrize(("weights", "nbytes"), [(64, 18), (128, 34)])
def test_type_42_has_the_block_that_fits_between_the_offsets(file: Path, weights: int, nbytes: int) -> None:
    size = 4096 // weights * nbytes
    infos = [LITTLE.info("a", [4096], 42, 0), LITTLE.info("b", [4096], 42, -(-size // 32) * 32)]
    file.write_bytes(LITTLE.file([], infos, -(-size // 32) * 32 + size))
    found = read_checkpoint(file)
    assert not found.findings
    assert [(tensor.dtype, tensor.nbytes) for tensor in found.tensors] == [(levels["Q2_0"], size)] * 2


def test_type_42_of_which_no_block_fits_is_ambiguous(file: Path) -> None:
    infos = [LITTLE.info("a", [4096], 42, 0), LITTLE.info("b", [8], 0, 1504)]
    file.write_bytes(LITTLE.file([], infos, 1536))
    found = read_checkpoint(file)
    assert [finding.code for finding in found.findings] == ["QL303"]
    assert found.tensors[0] == ("a", UnknownType("ggml", 42), (4096,), 1504)


def parts(folder: Path, tensors: Sequence[Sequence[str]], claim: int | None = None) -> list[Path]:
    """A split model, each part with these tensors."""
    paths = []
    for number, names in enumerate(tensors):
        pairs = [
            LITTLE.pair("split.no", 2, struct.pack("<H", number)),
            LITTLE.pair("split.count", 2, struct.pack("<H", len(tensors))),
            LITTLE.pair(
                "split.tensors.count", 5, struct.pack("<i", sum(map(len, tensors)) if claim is None else claim)
            ),
        ]
        infos = [LITTLE.info(name, [8], 0, 32 * place) for place, name in enumerate(names)]
        path = folder / f"model-{number + 1:05}-of-{len(tensors):05}.gguf"
        path.write_bytes(LITTLE.file([*(pairs if number else [ARCHITECTURE, *pairs])], infos, 32 * len(names)))
        paths.append(path)
    return paths


def codes(path: Path) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in read_checkpoint(path).findings]


@pytest.mark.parametrize("target", [lambda paths: paths[0], lambda paths: paths[0].parent, lambda paths: paths[2]])
def test_any_part_of_a_split_model_stands_for_all(tmp_path: Path, target: Callable[[list[Path]], Path]) -> None:
    paths = parts(tmp_path, [["a"], ["b", "c"], ["d"]])
    found = read_checkpoint(target(paths))
    assert [tensor.name for tensor in found.tensors] == ["a", "b", "c", "d"]
    assert [entry.path for entry in found.files] == [path.name for path in paths]
    assert found.metadata["general.architecture"] == "llama"
    assert found.metadata["split.no"] == 0
    assert not found.findings


def test_defects_of_split_models_are_findings(tmp_path: Path) -> None:
    paths = parts(tmp_path, [["a"], ["b", "c"], ["a"]], claim=5)
    assert sorted(codes(tmp_path)) == [("QL202", ""), ("QL203", "a")]
    paths[0].unlink()
    assert codes(tmp_path) == [("QL201", paths[0].name)]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    assert codes(tmp_path) == [("QL206", paths[1].name), ("QL201", paths[0].name)]


def test_a_renamed_part_misses_the_others(tmp_path: Path) -> None:
    part = parts(tmp_path, [["a"], ["b"]])[0].rename(tmp_path / "renamed.gguf")
    assert codes(part) == [("QL201", "renamed.gguf")]


def test_a_part_that_says_it_is_another_is_found(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path, [["a"], ["b"], ["c"]])
    second.rename(tmp_path / "kept")
    third.rename(second)
    (tmp_path / "kept").rename(third)
    assert codes(tmp_path) == [("QL201", second.name), ("QL201", third.name)]
    third.write_bytes(second.read_bytes())
    assert ("QL203", "c") in codes(tmp_path)
    assert ("QL201", second.name) in codes(first)


@pytest.mark.parametrize("name", ["m-00001-of-00000.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf"])
def test_an_impossible_part_number_is_only_a_name(tmp_path: Path, name: str) -> None:
    part = parts(tmp_path, [["a"], ["b"]])[1].rename(tmp_path / name)
    found = read_checkpoint(part)
    assert [tensor.name for tensor in found.tensors] == ["b"]
    assert [(finding.code, finding.where) for finding in found.findings] == [("QL201", name)]
    part.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError):
        read_checkpoint(part)


def test_a_huge_sparse_file_costs_little_memory(file: Path) -> None:
    vocabulary = LITTLE.strings("tokenizer.ggml.tokens", [b"token%d" % number for number in range(100_000)])
    rows = 10_000_000_000
    raw = LITTLE.file([ARCHITECTURE, vocabulary], [LITTLE.info("a", [4, rows], 24, 0)])
    with file.open("wb") as opened:
        opened.write(raw)
        opened.truncate(len(raw) + 4 * rows)
    tracemalloc.start()
    try:
        found = read_checkpoint(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tensors[0].nbytes == 4 * rows
    assert peak < 8 << 20


@pytest.mark.parametrize("type", [STRING, ARRAY])
def test_zeros_without_end_are_not_walked_over(file: Path, type: int) -> None:
    with file.open("wb") as opened:
        opened.write(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + array(type, 1 << 30))
        opened.truncate(40_000_000_000)
    assert "more than 4,194,304 strings" in refusal(file)


def test_arrays_in_arrays_cost_more_than_strings(file: Path) -> None:
    with file.open("wb") as opened:
        opened.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array(ARRAY, 1 << 20))
        opened.truncate(20_000_000)
    assert "more than 4,194,304 strings" in refusal(file)


QUANTIZED = [type for type in gguf.GGMLQuantizationType if type.name not in ("Q8_1", "Q8_K")]
SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(st.sampled_from(QUANTIZED), SHAPES), max_size=5),
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        st.text(min_size=1, max_size=5) | st.booleans() | st.lists(st.text(max_size=9), min_size=1),
    ),
    st.sampled_from(gguf.GGUFEndian),
    st.sampled_from([None, 8, 64, 4096]),
)
def test_what_gguf_py_writes_is_read(
    file: Path,
    tensors: dict[str, tuple[gguf.GGMLQuantizationType, list[int]]],
    pairs: dict[str, Any],
    order: gguf.GGUFEndian,
    alignment: int | None,
) -> None:
    writer = gguf.GGUFWriter(file, "llama", endianess=order)
    if alignment:
        writer.add_custom_alignment(alignment)
    for key, value in pairs.items():
        add = (
            writer.add_array
            if isinstance(value, list)
            else writer.add_bool
            if isinstance(value, bool)
            else writer.add_string
        )
        add(f"x.{key}", value)
    expected = []
    for name, (type, dims) in tensors.items():
        weights, nbytes = gguf.GGML_QUANT_SIZES[type]
        *outer, blocks = dims
        writer.add_tensor(name, np.zeros([*outer, blocks * nbytes], np.uint8), raw_dtype=type)
        expected.append(
            (name, levels.from_dialect("ggml", int(type)), (*outer, blocks * weights), math.prod(dims) * nbytes)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_checkpoint(file)
    assert list(found.tensors) == expected
    assert {key: value for key, value in found.metadata.items() if key.startswith("x.")} == {
        f"x.{key}": value for key, value in pairs.items() if not isinstance(value, list)
    }
