"""The strict reader of plain data: what it takes, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from attrs import Factory, define, field, validators

from quantlevels.config.reader import RefusedError, mistakes_in, read
from quantlevels.config.words import place


@define
class Inner:
    bits: int = field(validator=validators.in_([2, 4, 8]))
    mode: Literal["fast", "safe"] = "fast"


@define
class Outer:
    inner: Inner
    ratio: float = 1.0
    names: tuple[str, ...] = ()
    shape: tuple[int, int] | None = None
    layers: Mapping[str, Inner | bool] = Factory(dict)
    anything: Any = None


def refused(data: object, type_: Any) -> list[str]:
    """The mistakes in data, each with its place."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # validators raise what they like
        read(data, type_)
    return [f"{place(mistake.keys)}: {mistake.text}" for mistake in mistakes_in(caught.value)]


def test_data_become_an_instance() -> None:
    data = {
        "inner": {"bits": 4, "ignored": 1},
        "ratio": 2,
        "names": ["a"],
        "shape": [1, 2],
        "layers": {"x": {"bits": 8, "mode": "safe"}, "y": False},
        "anything": {"a": [1]},
    }
    assert read(data, Outer) == Outer(Inner(4), 2.0, ("a",), (1, 2), {"x": Inner(8, "safe"), "y": False}, {"a": [1]})


def test_every_mistake_has_its_place() -> None:
    data = {
        "ratio": "2",
        "names": ["a", 1],
        "shape": [1],
        "layers": {"x": {"bits": 4, "mode": "fats"}, "y": 1},
    }
    assert refused(data, Outer) == [
        "$.inner: missing, expected a table",
        "$.ratio: expected a number, got '2'",
        "$.names[1]: expected text, got 1",
        "$.shape: expected 2 values, got 1",
        "$.layers.x.mode: expected 'fast' or 'safe', got 'fats'; did you mean 'fast'?",
        "$.layers.y: expected a table or true or false, got 1",
    ]


def test_errors_of_a_class_keep_their_words() -> None:
    (mistake,) = refused({"inner": {"bits": 3}}, Outer)
    assert mistake.startswith("$.inner: 'bits' must be in [2, 4, 8]")


def test_a_type_that_cannot_be_read_is_named() -> None:
    with pytest.raises(TypeError, match="bytearray"):
        read("x", bytearray)


def test_a_deep_document_is_refused() -> None:
    @define
    class Tree:
        child: Any = None

    data: object = None
    for _ in range(100_000):
        data = {"child": data}
    assert read(data, Tree)
    with pytest.raises(RefusedError):
        read([data], tuple[int, ...])
