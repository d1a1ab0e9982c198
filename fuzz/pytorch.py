"""PyTorch files: as bytes, and as pickles within a sound archive."""

from __future__ import annotations

from tests.writers import torch_archive, torch_pickle

from fuzz.invariants import check_file

_PICKLE, _STORAGES = torch_pickle(
    {
        "model.embed_tokens.weight": ("BFloat16Storage", [8, 4]),
        "model.layers.0.up.weight": ("CharStorage", [4, 4]),
        "model.norm.weight": ("FloatStorage", [4]),
    }
)
_RAW, _ARCHIVED = b"\0", b"\1"

SEEDS = (
    _RAW + torch_archive(_PICKLE, _STORAGES),
    _RAW + _PICKLE,
    _ARCHIVED + _PICKLE,
    _ARCHIVED + b"cos\nsystem\n(Vecho\ntR.",
)


def run(data: bytes) -> None:
    """Inspect a file whose first byte says whether it is a pickle yet to be archived."""
    check_file("model.bin", torch_archive(data[1:], _STORAGES) if data[:1] == _ARCHIVED else data[1:])
