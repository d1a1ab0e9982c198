import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from quantlevels_hdf5 import HDF5, KERAS

from quantlevels import FP16, FP32, CheckpointError, Inspection, inspect
from quantlevels.checkpoint import read_checkpoint
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


def sizes(report: Inspection) -> tuple[int, int, int]:
    """Tensors, elements and bytes."""
    stored = report.stored
    assert stored is not None
    return stored.tensors, stored.parameters, stored.tensor_bytes


def test_links_to_other_files_are_not_followed_but_reported(tmp_path: Path) -> None:
    write(tmp_path / "other.h5", ARRAYS)
    path = write(tmp_path / "model.h5", {"weight": ARRAYS["layers/dense/vars/0"]})
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    report = inspect(path)
    assert sizes(report)[0] == 1
    (finding,) = report.findings
    assert (finding.code, finding.where) == ("QL202", "elsewhere")
    assert "is a link to 'other.h5', another file" in finding.message


def test_several_names_of_an_array_count_once(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"weight": np.ones((4, 4), np.float32)})
    with h5py.File(path, "a") as file:
        file["again"] = file["weight"]
        file["soft"] = h5py.SoftLink("/weight")
        file["dangling"] = h5py.SoftLink("/nothing")
    assert sizes(inspect(path)) == (1, 16, 64)


def test_an_array_without_a_shape_holds_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"weight": np.ones((4, 4), np.float32), "empty": np.ones((0, 4), np.float32)})
    with h5py.File(path, "a") as file:
        file["null"] = h5py.Empty("f4")
    assert sizes(inspect(path)) == (2, 16, 64)


@pytest.mark.parametrize("group", ["optimizer/vars", "optimizer_weights/adam"])
def test_the_state_of_an_optimizer_is_left_out(tmp_path: Path, group: str) -> None:
    arrays = {"layers/dense/vars/0": np.ones((4, 4), np.float32), f"{group}/0": np.ones((4, 4), np.float32)}
    assert sizes(inspect(write(tmp_path / "model.h5", arrays))) == (1, 16, 64)


def levels_of(report: Inspection) -> list[str]:
    assert report.stored is not None
    return [level.level.name for level in report.stored.levels]


def test_bfloat16_of_keras_is_read(tmp_path: Path) -> None:
    """Keras 3 writes two bytes without a type, and the name of the type beside them."""
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("layers/dense/vars/0", data=np.zeros((4, 6), "V2"))
        dataset.attrs["dtype"] = "bfloat16"
    report = inspect(path)
    assert levels_of(report) == ["BFloat16"]
    assert sizes(report) == (1, 24, 48)


def float_type(size: int, fields: tuple[int, int, int, int, int], bias: int) -> h5py.h5t.TypeFloatID:
    made = h5py.h5t.IEEE_F32LE.copy()
    made.set_fields(*fields)
    made.set_size(size)
    made.set_ebias(bias)
    return made


def test_types_that_numpy_lacks_keep_their_bytes(tmp_path: Path) -> None:
    """h5py shows each of them as the next wider type of NumPy."""
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((4, 4))
        h5py.h5d.create(file.id, b"half", float_type(2, (15, 7, 8, 0, 7), 127), space)
        h5py.h5d.create(file.id, b"quarter", float_type(1, (7, 3, 4, 0, 3), 7), space)
    report = inspect(path)
    assert report.stored is not None
    assert report.stored.tensor_bytes == 16 * 2 + 16 * 1
    assert "BFloat16" in levels_of(report)
    assert [finding.code for finding in report.findings] == ["QL301"]


@pytest.mark.parametrize("kind", [[("x", "f4"), ("y", "i8")], "V7", ("f4", (2, 2)), h5py.vlen_dtype("f4")], ids=str)
def test_types_that_are_not_numbers_are_unknown(tmp_path: Path, kind: object) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("weight", (3,), dtype=kind)
    assert [finding.code for finding in inspect(path).findings] == ["QL301"]


def test_references_are_not_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"weight": np.ones((4, 4), np.float32)})
    with h5py.File(path, "a") as file:
        file["reference"] = np.array([file["weight"].ref], dtype=h5py.ref_dtype)
    assert sizes(inspect(path))[0] == 1


def test_two_paths_that_differ_by_a_dot_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"a/b": np.ones(3, np.float32), "a.b": np.ones(4, np.float32)})
    with pytest.raises(CheckpointError, match="has two arrays whose paths are the same"):
        inspect(path)


def placed(path: Path) -> dict[str, bytes]:
    """The bytes at the place of each array that has one."""
    checkpoint = read_checkpoint(path)
    found = {}
    for tensor, place in zip(checkpoint.tensors, checkpoint.places, strict=True):
        if place:
            found[tensor.name] = path.read_bytes()[place.offset : place.offset + tensor.nbytes]
    return found


PLACED = {"weight": np.arange(16, dtype="<f4"), "bias": np.arange(7, dtype="<f2")}


@pytest.mark.parametrize("userblock", [0, 512])
def test_the_place_of_an_array_is_where_its_bytes_are(tmp_path: Path, userblock: int) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        for name, array in PLACED.items():
            file[name] = array
        file["big_endian"] = np.arange(16, dtype=">f4")
        file.create_dataset("unwritten", (16,), "f4")
        file.create_dataset("outside", (4,), "f4", external=[(str(tmp_path / "data"), 0, 16)])
        file.create_dataset("chunked", data=np.ones((4, 4), "f4"), chunks=(2, 2))
    assert placed(path) == {name: array.tobytes() for name, array in PLACED.items()}


def archive(path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """A ``.keras`` archive, as Keras writes it."""
    weights = write(path.with_name("weights.h5"), PLACED)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        file.writestr("config.json", "{}")
        file.write(weights, "model.weights.h5")
    weights.unlink()
    return path


def test_a_keras_archive_is_read_like_the_file_in_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras")
    report = inspect(path)
    assert report.format == "keras"
    assert sizes(report) == (2, 23, 78)
    assert placed(path) == {name: array.tobytes() for name, array in PLACED.items()}


def test_the_reader_of_archives_keeps_the_contract(tmp_path: Path) -> None:
    check_container(KERAS, archive(tmp_path / "model.keras"), {"bias": (FP16, (7,)), "weight": (FP32, (16,))})


def test_a_compressed_keras_archive_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is compressed; unzip it, and inspect the model\.weights\.h5 in it"):
        inspect(archive(tmp_path / "model.keras", zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_keras_archive_that_is_cut_is_one_clear_error(tmp_path: Path, share: float) -> None:
    path = archive(tmp_path / "model.keras")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"model\.keras: is not a valid Keras archive") as caught:
        inspect(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [8, 100, 1000])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "model.h5", ARRAYS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.h5: is not a valid HDF5 file"):
        inspect(path)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    assert inspect(write(tmp_path / "blob", ARRAYS)).format == "hdf5"
