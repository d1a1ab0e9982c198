"""Small archives of NumPy arrays, by mlx and by numpy: ``python make.py`` beside them (mlx 0.32.4, numpy 2.4.6).

``expected.json`` holds the elements and bytes of the arrays, by the count of the library that wrote them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlx.core as mx
import numpy as np

HERE = Path(__file__).parent
ROWS, COLUMNS = 32, 128


def quantized(group_size: int, bits: int) -> dict[str, mx.array]:
    """A linear layer as mlx quantizes it, and a norm."""
    mx.random.seed(0)
    weight, scales, biases = mx.quantize(mx.random.normal((ROWS, COLUMNS)), group_size, bits)
    names = {"weight": weight, "scales": scales, "biases": biases}
    layer = {f"layers.0.mlp.up_proj.{name}": array for name, array in names.items()}
    return {**layer, "norm.weight": mx.ones((COLUMNS,), mx.float16)}


def archives() -> dict[str, tuple[dict[str, mx.array], dict[str, object]]]:
    """name of a folder → the arrays of ``weights.npz``, and the config beside them."""
    plain = {"up_proj.weight": mx.ones((ROWS, COLUMNS), mx.float32), "norm.weight": mx.ones((COLUMNS,))}
    found: dict[str, tuple[dict[str, mx.array], dict[str, object]]] = {
        "float32": (plain, {}),
        "float16": ({name: array.astype(mx.float16) for name, array in plain.items()}, {"torch_dtype": "float16"}),
    }
    for group_size, bits in ((64, 2), (64, 4), (32, 4), (128, 4), (64, 8)):
        config = {"model_type": "llama", "quantization": {"group_size": group_size, "bits": bits}}
        found[f"q{bits}_g{group_size}"] = quantized(group_size, bits), config
    return found


def main() -> None:
    """Write each archive anew."""
    expected = {}
    for name, (arrays, config) in archives().items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        mx.savez(str(folder / "weights.npz"), **arrays)
        (folder / "config.json").write_text(json.dumps(config) + "\n")
        expected[name] = {"bytes": sum(array.nbytes for array in arrays.values()), "arrays": len(arrays)}
    weights = {"a": np.ones((4, 6), np.float32), "b/c": np.ones(5, ">f2"), "d": np.asfortranarray(np.ones((2, 3)))}
    for name, save in {"numpy": np.savez, "compressed": np.savez_compressed}.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        save(folder / "weights.npz", **weights)
        expected[name] = {"bytes": sum(array.nbytes for array in weights.values()), "arrays": len(weights)}
    np.save(HERE / "array.npy", np.ones((3, 4), np.float16))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
