"""Checkpoints made of headers alone: the data after them is a hole in the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import frozen
from tests.writers import Tensors, write_safetensors

from quantlevels import Inspection, inspect
from quantlevels.inspection.totals import StoredTotals
from quantlevels.schemes.declaration import Declared

Write: TypeAlias = Callable[..., Path]
Look: TypeAlias = Callable[..., "Found"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a checkpoint: tensors, a ``quantization_config`` or a whole config, other config files by their names."""

    def write(
        tensors: Tensors | None,
        quantization: Mapping[str, Any] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str = "model.safetensors",
    ) -> Path:
        for old in tmp_path.iterdir():
            old.unlink()
        if tensors is not None:
            write_safetensors(tmp_path / name, tensors, metadata)
        whole = dict(config or {}) | ({"quantization_config": quantization} if quantization is not None else {})
        for other, content in {**({"config.json": whole} if whole else {}), **(files or {})}.items():
            (tmp_path / other).write_text(json.dumps(content))
        return tmp_path

    return write


@frozen
class Found:
    """What an inspection found, in few words."""

    inspection: Inspection

    @property
    def stored(self) -> StoredTotals:
        assert self.inspection.stored is not None
        return self.inspection.stored

    @property
    def declared(self) -> Declared:
        assert self.inspection.declared is not None
        return self.inspection.declared

    @property
    def quantized(self) -> list[tuple[str, int | None, bool | None, int]]:
        """Level, group size, symmetry and parameters of all that is quantized, the most bytes first."""
        return [
            (getattr(one.level, "name", str(one.level)), one.group_size, one.symmetric, one.parameters)
            for one in self.stored.levels
            if one.quantized
        ]

    @property
    def level(self) -> str:
        """The one level of all that is quantized."""
        (level,) = {level for level, *_ in self.quantized}
        return level

    @property
    def codes(self) -> list[str]:
        """The codes of all findings."""
        return [finding.code for finding in self.inspection.findings]

    @property
    def ambiguous(self) -> bool:
        """Whether nothing of it could be told, and it was said so."""
        return "QL303" in self.codes and not self.stored.parameters


@pytest.fixture
def look(write: Write) -> Look:
    """Write a checkpoint as ``write`` does, and inspect it."""
    return lambda *args, **options: Found(inspect(write(*args, **options)))
