"""What PyTorch files keep beside the tensors of a module says how its bytes are read."""

from __future__ import annotations

import pytest

from quantlevels import Inspection, levels
from quantlevels.checkpoint.catalogue import PYTORCH
from quantlevels.container import Checkpoint, File, Scalar, Tensor
from quantlevels.inspection.report import inspected


def look(tensors: dict[str, tuple[str, tuple[int, ...], int]], metadata: dict[str, Scalar]) -> Inspection:
    return inspected(
        Checkpoint(
            path="model.pt",
            container=PYTORCH,
            files=(File("model.pt", 1 << 20),),
            tensors=[Tensor(name, levels[dtype], shape, nbytes) for name, (dtype, shape, nbytes) in tensors.items()],
            metadata=metadata,
        )
    )


@pytest.mark.parametrize(("nbits", "level", "rows"), [(8, "Int8", 128), (4, "Int4", 64), (2, "Int2", 32)])
def test_settings_that_hqq_pickles_tell_bits_and_groups(nbits: int, level: str, rows: int) -> None:
    tensors: dict[str, tuple[str, tuple[int, ...], int]] = {
        "up.W_q": ("UInt8", (rows, 256), rows * 256),
        "up.scale": ("Float16", (1, 256), 512),
        "up.zero": ("Float16", (1, 256), 512),
    }
    found = look(tensors, {"up.nbits": nbits, "up.group_size": 128, "up.axis": 0})
    assert found.findings == ()
    assert found.declared is not None
    assert found.declared.method == "hqq"
    assert found.stored is not None
    (stored,) = found.stored.levels
    assert (str(getattr(stored.level, "name", "")), stored.group_size, stored.parameters) == (level, 128, 128 * 256)


@pytest.mark.parametrize(("dtype", "level"), [("int4", "Int4"), ("int2", "Int2")])
def test_pickled_dtypes_of_torchao_give_the_bits(dtype: str, level: str) -> None:
    tensors: dict[str, tuple[str, tuple[int, ...], int]] = {
        "up._weight_qdata": ("Int8", (64, 128), 64 * 128),
        "up._weight_scale": ("BFloat16", (64, 4), 512),
        "up._weight_zero_point": ("Int8", (64, 4), 256),
    }
    found = look(tensors, {"up._weight_target_dtype": dtype})
    assert found.stored is not None
    (stored,) = found.stored.levels
    assert (str(getattr(stored.level, "name", "")), stored.group_size, stored.parameters) == (level, 32, 64 * 128)
