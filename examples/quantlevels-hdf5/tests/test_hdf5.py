from pathlib import Path

import h5py
import numpy as np
import pytest
from quantlevels_hdf5 import HDF5

from quantlevels import FP16, FP32, CheckpointError, inspect
from quantlevels.testing import check_container, check_plugin


def write(path: Path, arrays: dict[str, np.ndarray], **storage: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **storage)
        file.attrs["keras_version"] = "3.13.2"
    return path


ARRAYS = {
    "layers/dense/vars/0": np.ones((8, 16), np.float32),
    "layers/dense/vars/1": np.ones(16, np.float32),
    "layers/dense_1/vars/0": np.ones((16, 4), np.float16),
}
KINDS = {
    "float32": np.float32,
    "float16": np.float16,
    "float64": np.float64,
    "int8": np.int8,
}


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin("quantlevels-hdf5")


def test_the_reader_keeps_the_contract(tmp_path: Path) -> None:
    expected = {
        name.replace("/", "."): (FP16 if array.dtype == np.float16 else FP32, array.shape)
        for name, array in ARRAYS.items()
    }
    check_container(HDF5, write(tmp_path / "model.h5", ARRAYS), expected)


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"chunks": True}], ids=["plain", "gzip", "chunked"])
def test_every_array_is_counted(tmp_path: Path, storage: dict[str, object]) -> None:
    report = inspect(write(tmp_path / "model.weights.h5", ARRAYS, **storage))
    assert report.format == "hdf5"
    assert report.stored is not None
    assert report.stored.parameters == sum(array.size for array in ARRAYS.values())
    assert report.stored.tensor_bytes == sum(array.nbytes for array in ARRAYS.values())
    assert {level.level.name for level in report.stored.levels} == {"None", "Float16"}


def test_texts_are_not_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", ARRAYS)
    with h5py.File(path, "a") as file:
        file["config"] = "a text"
    report = inspect(path)
    assert report.stored is not None
    assert report.stored.tensors == len(ARRAYS)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_each_type(tmp_path: Path, kind: str) -> None:
    array = np.ones((4, 6), KINDS[kind])
    report = inspect(write(tmp_path / "model.h5", {"weight": array}))
    assert report.stored is not None
    assert report.stored.tensor_bytes == array.nbytes


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "other.h5", ARRAYS)
    path = write(tmp_path / "model.h5", {"weight": ARRAYS["layers/dense/vars/0"]})
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    report = inspect(path)
    assert report.stored is not None
    assert report.stored.tensors == 1


@pytest.mark.parametrize("kept", [8, 100, 1000])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "model.h5", ARRAYS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.h5: is not a valid HDF5 file"):
        inspect(path)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    assert inspect(write(tmp_path / "blob", ARRAYS)).format == "hdf5"
