"""Containers that plugins bring: found by suffix and magic, imported only if nothing here claims a file."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantlevels import levels
from quantlevels.container import Container, Contents, Place, Places, Source, Tensor, TypeLookup
from quantlevels.errors import CheckpointError
from quantlevels.testing import check_container

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Site

CONTAINER = """
import struct, sys
from quantlevels.container import Container, Contents, Places, Tensor

sys.stdout.write(f"imported {{__name__}}\\n")

def read(source, level_of):
    source.prefetch(4, 8)
    count, = struct.unpack("<Q", source.read(4, 8))
    tensors = [Tensor(f"w{{i}}", level_of("safetensors", "U8"), (4,), 4) for i in range(count)]
    places = Places.in_file(source.name, [12 + 4 * i for i in range(count)])
    return Contents(tensors=tensors, places=places, metadata={{"by": {by!r}}})

ACME = Container(name={name!r}, reader=read, suffixes={suffixes!r}, magic={magic!r})
"""
READ = """
import quantlevels
def inspected():
    report = quantlevels.inspect("model")
    return [report.format, report.stored and report.stored.tensors, [f.code for f in report.findings]]
answer(found=tried(inspected), states=states(), reasons=reasons())
"""


def install(
    site: Site,
    distribution: str = "acme",
    *,
    name: str = "acmefmt",
    suffixes: tuple[str, ...] = (".acme",),
    magic: bytes = b"ACME",
) -> None:
    source = CONTAINER.format(by=distribution, name=name, suffixes=suffixes, magic=magic)
    site.install(
        distribution,
        {name: f"{distribution}:ACME"},
        {f"{distribution}.py": source},
        group="quantlevels.containers",
    )


@pytest.fixture
def weights(site: Site) -> bytes:
    (site.path.parent / "model").mkdir(parents=True)
    return b"ACME" + struct.pack("<Q", 2) + bytes(8)


@pytest.mark.parametrize("name", ["weights.acme", "weights.anything"])
def test_a_container_is_found_by_suffix_and_by_magic(site: Site, weights: bytes, name: str) -> None:
    install(site, suffixes=(".acme", ".anything"))
    (site.path.parent / "model" / name).write_bytes(weights)
    assert site.run(READ)["found"][:2] == ["acmefmt", 2]


def test_a_file_named_by_the_user_is_found_by_magic_alone(site: Site, weights: bytes) -> None:
    install(site)
    (site.path.parent / "model" / "blob").write_bytes(weights)
    found = site.run(READ.replace('"model"', '"model/blob"'))["found"]
    assert found[:2] == ["acmefmt", 2]


def test_no_container_is_imported_for_a_file_read_here(site: Site, weights: bytes) -> None:
    install(site)
    save_file({"w": np.ones(4, np.float32)}, site.path.parent / "model" / "model.safetensors")
    assert site.run(READ).imported == []


def test_without_its_plugin_a_file_is_not_a_checkpoint(site: Site, weights: bytes) -> None:
    (site.path.parent / "model" / "blob").write_bytes(weights)
    found = site.run(READ.replace('"model"', '"model/blob"'))["found"]
    assert found.startswith("CheckpointError: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "gguf"}, "it uses 'gguf', which means a format that comes with quantlevels"),
        ({"suffixes": (".acme", ".bin")}, "it uses '.bin', which means files of a format that comes with quantlevels"),
        ({"suffixes": (".json",)}, "it uses '.json', which means files of a format that comes with quantlevels"),
        (
            {"magic": b"lmgg"},
            "it uses \"b'lmgg'\", which means the first bytes of a format that comes with quantlevels",
        ),
        ({"magic": b"GG"}, "it uses \"b'GG'\", which means the first bytes of a format that comes with quantlevels"),
    ],
)
def test_what_a_container_here_claims_is_taken(site: Site, changes: dict[str, object], reason: str) -> None:
    install(site, **changes)  # type: ignore[arg-type]
    code = "answer(reasons={p.name: p.reason for p in levels.plugins(load=True)})"
    assert list(site.run(code)["reasons"].values()) == [reason]


def test_two_containers_of_one_suffix_are_told(site: Site) -> None:
    install(site)
    install(site, "other", name="otherfmt", magic=b"OTHR")
    code = "answer(states={p.name: p.state for p in levels.plugins(load=True)})"
    assert set(site.run(code)["states"].values()) == {"conflicting"}


def read(source: Source, level_of: TypeLookup) -> Contents:
    """A header of one byte, the count of tensors, then four bytes each."""
    count = source.read(0, 1)[0]
    if count * 4 + 1 > source.size:
        raise CheckpointError(source.path, "truncated")
    dtype = level_of("safetensors", "U8")
    tensors = [Tensor(f"w{index}", dtype, (4,), 4) for index in range(count)]
    return Contents(tensors=tensors, places=Places.in_file(source.name, [1 + 4 * index for index in range(count)]))


def read_without_checks(source: Source, level_of: TypeLookup) -> Contents:
    contents = read(source, level_of)
    return Contents(tensors=contents.tensors[: {2: 2}[source.read(0, 1)[0]]], places=contents.places)


def read_past_the_end(source: Source, level_of: TypeLookup) -> Contents:
    tensors = read(source, level_of).tensors
    return Contents(tensors=tensors, places=Places.of([Place(source.name, source.size)] * len(tensors)))


UINT8 = levels["UInt8"]
EXPECTED = {"w0": (UINT8, (4,)), "w1": (UINT8, (4,))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.acme"
    path.write_bytes(b"\2" + bytes(8))
    return path


def test_a_good_container_passes(file: Path) -> None:
    check_container(Container(name="acme", reader=read, suffixes=(".acme",)), file, EXPECTED)


@pytest.mark.parametrize(
    ("reader", "problem"),
    [
        (read_without_checks, "on damaged copies it raises KeyError"),
        (read_past_the_end, "tensor 'w0' ends after the file"),
    ],
)
def test_a_careless_reader_is_told(file: Path, reader: Callable[[Source, TypeLookup], Contents], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_container(Container(name="acme", reader=reader, suffixes=(".acme",)), file, EXPECTED)


def test_what_is_not_expected_of_a_file_is_told(file: Path) -> None:
    container = Container(name="acme", reader=read, suffixes=(".acme",), magic=b"ACME")
    with pytest.raises(AssertionError) as caught:
        check_container(container, file, {"w0": (UINT8, (5,)), "w2": (UINT8, (4,))})
    for problem in (
        "does not begin with the magic",
        "'w2' is missing",
        "'w1' is not expected",
        "(5,)",
    ):
        assert problem in str(caught.value)


def test_arrays_that_are_compressed_may_be_larger_than_their_file(tmp_path: Path) -> None:
    path = tmp_path / "small.acme"
    path.write_bytes(b"1000")
    size = len(path.read_bytes())

    def read_compressed(source: Source, level_of: TypeLookup) -> Contents:
        if source.size < size:
            raise CheckpointError(source.path, "truncated")
        return Contents(tensors=[Tensor("w", level_of("safetensors", "U8"), (1000,), 1000)])

    container = Container(name="acme", reader=read_compressed, suffixes=(".acme",))
    check_container(container, path, {"w": (UINT8, (1000,))})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"reader": None}, "the reader of a container has to be a function, not NoneType"),
        ({"suffixes": ".acme"}, "the suffixes of a container have to be a tuple of texts, not '.acme'"),
        ({"names": ["acme"]}, "the names of a container have to be a tuple of texts"),
        ({"magic": "ACME"}, "the magic of a container has to be bytes, not 'ACME'"),
        ({"looks": re.compile("ACME")}, "has to be a pattern of bytes"),
        ({"looks": b"ACME"}, "has to be a pattern of bytes"),
        ({"suffixes": (".weights.acme",)}, "suffix '.weights.acme': write what follows the last dot alone"),
        ({"suffixes": (".ACME",)}, "suffix '.ACME': write it in lower case with its dot"),
        ({"suffixes": ("acme",)}, "suffix 'acme': write it in lower case with its dot"),
        ({"suffixes": ()}, "no file can match this container"),
    ],
)
def test_a_container_that_cannot_work_is_refused_when_it_is_made(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)):
        Container(**{"name": "acme", "reader": read, "suffixes": (".acme",), **arguments})


#: the body of a reader → what the error of the file says, after the name of the container
FAULTY = {
    "raise ValueError('boom\\nand more')": "failed with ValueError: boom and more",
    "sys.exit(3)": "failed with SystemExit: 3",
    "raise GeneratorExit": "failed with GeneratorExit",
    "return read(source, level_of)": "failed with RecursionError",
    "return None": "is wrong: it gives a NoneType, not Contents",
    "return Contents(tensors=[('w', U8)])": "failed with ValueError",
    "return Contents(tensors=[Tensor(3, U8, (4,), 4)])": "is wrong: a tensor is named 3, not by a text",
    "return Contents(tensors=[Tensor('w', 'U8', (4,), 4)])": "is wrong: tensor 'w' has the dtype 'U8'",
    "return Contents(tensors=[Tensor('w', U8, (-4,), 4)])": "is wrong: tensor 'w' has the shape (-4,)",
    "return Contents(tensors=[Tensor('w', U8, (4,), -4)])": "is wrong: tensor 'w' has -4 bytes",
    "return Contents(tensors=[Tensor('w', U8, (4,), 4.0)])": "is wrong: tensor 'w' has 4.0 bytes",
    "return Contents(tensors=[Tensor('w', U8, (4,), 5)])": "is wrong: tensor 'w' has 5 bytes: UINT8 of shape [4] has 4",
    "return Contents(tensors=[W, W])": "is wrong: two tensors have the same name",
    "return Contents(tensors=[W], places=Places.in_file(source.name, [1, 2]))": "is wrong: 2 places for 1 tensors",
    "return Contents(tensors=[W], places=Places.in_file(source.name, [17]))": "is wrong: tensor 'w' ends after the",
    "return Contents(tensors=[W], places=[None])": "is wrong: its places are a list, not Places",
    "return Contents(tensors=[W], findings=('QL301',))": "is wrong: its findings are not a tuple of Finding",
    "return Contents(tensors=[W], findings=None)": "is wrong: its findings are not a tuple of Finding",
    "return Contents(tensors=[W], files=3)": "is wrong: its files are not a tuple of File",
    "return Contents(tensors=[W], tied=(3,))": "is wrong: its tied are not a tuple of str",
    "return Contents(tensors=[W], metadata=3)": "is wrong: its metadata are not a mapping",
    "return Contents(tensors=[W], metadata={'a': []})": "is wrong: its metadata are not a mapping",
}


@pytest.mark.parametrize("body", FAULTY)
def test_a_faulty_reader_is_one_line_that_names_its_plugin(site: Site, weights: bytes, body: str) -> None:
    source = f"""
import sys
from quantlevels.container import Container, Contents, Places, Tensor

def read(source, level_of):
    U8 = level_of("safetensors", "U8")
    W = Tensor("w", U8, (4,), 4)
    {body}

ACME = Container(name="acmefmt", reader=read, suffixes=(".acme",))
"""
    site.install("acme", {"acmefmt": "acme:ACME"}, {"acme.py": source}, group="quantlevels.containers")
    (site.path.parent / "model" / "weights.acme").write_bytes(weights)
    found = site.run(READ)["found"]
    assert "weights.acme: is not read: the plugin for acmefmt " + FAULTY[body] in found
    assert found.startswith("CheckpointError: ")
    assert found.endswith("; please tell its author")
    assert "\n" not in found


def test_a_whole_name_finds_a_container_too(site: Site, weights: bytes) -> None:
    source = CONTAINER.format(by="acme", name="acmefmt", suffixes=(), magic=b"")
    source = source.replace("suffixes=()", 'names=("weights.anything",)')
    site.install("acme", {"acmefmt": "acme:ACME"}, {"acme.py": source}, group="quantlevels.containers")
    (site.path.parent / "model" / "weights.anything").write_bytes(weights)
    assert site.run(READ)["found"][:2] == ["acmefmt", 2]
