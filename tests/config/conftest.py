from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

SHAPES = Path(__file__).with_name("shapes.py")


def shapes_module(name: str, future: bool) -> ModuleType:
    """A copy of `shapes.py`, with its annotations as types or as text."""
    module = ModuleType(name)
    sys.modules[name] = module  # where annotations as text are looked up
    source = "from __future__ import annotations\n" * future + SHAPES.read_text(encoding="utf-8")
    exec(compile(source, str(SHAPES), "exec", dont_inherit=True), vars(module))
    return module


@pytest.fixture(scope="session", params=["types", "text"])
def shapes(request: pytest.FixtureRequest) -> ModuleType:
    """The classes and values of `shapes.py`, twice."""
    return shapes_module(f"shapes_with_annotations_as_{request.param}", request.param == "text")
