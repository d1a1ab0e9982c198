"""NeMo archives: a tar file around a PyTorch file."""

from __future__ import annotations

import io
import tarfile

from tests.writers import torch_archive, torch_pickle

from fuzz.invariants import check_file


def _archive() -> bytes:
    weights = torch_archive(*torch_pickle({"encoder.weight": ("FloatStorage", [4, 4])}))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in {"model_config.yaml": b"target: a", "model_weights.ckpt": weights}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


SEEDS = (_archive(),)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.nemo", data)
