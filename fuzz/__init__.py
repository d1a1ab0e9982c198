"""Fuzzing of all that reads what others wrote: each target takes bytes, and lets out nothing but a failure.

``python -m fuzz gguf --seconds 1200`` runs one target, by atheris where that is installed, else by mutations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

#: targets, each a module of this package
TARGETS: Final = (
    *("safetensors", "gguf", "onnx", "pytorch"),
    *("ctranslate2", "openvino", "numpy_files", "mlc", "distributed", "legacy_ggml", "nemo"),
    *("configs", "folding"),
)


class Target(Protocol):
    """A module that defines a fuzz target."""

    #: inputs to start from
    SEEDS: Sequence[bytes]
    #: what must return for any bytes
    run: Callable[[bytes], None]


def target(name: str) -> Target:
    """The target of a name."""
    return cast("Target", import_module(f"fuzz.{name}"))
