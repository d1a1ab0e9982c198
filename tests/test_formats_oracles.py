"""The rows of the tables, derived once more from the packages that define them, where those are installed."""

from __future__ import annotations

import json
import re
import struct

import pytest

from quantlevels import Block, QuantizationLevel, levels
from quantlevels.llamacpp import FILE_TYPES, GUESSED
from quantlevels.vocabulary.formats import GGML_BLOCKS

ALL = list(levels)


def words(dialect: str) -> dict[str | int, QuantizationLevel]:
    return {word: level for level in ALL for word in level.spellings.get(dialect, ())}


class TestSafetensors:
    @staticmethod
    def read(dtype: str, shape: list[int], nbytes: int) -> list[tuple[str, dict[str, object]]]:
        safetensors = pytest.importorskip("safetensors")
        header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, nbytes]}}).encode()
        header += b" " * (-len(header) % 8)
        tensors: list[tuple[str, dict[str, object]]] = safetensors.deserialize(
            struct.pack("<Q", len(header)) + header + bytes(nbytes)
        )
        return tensors

    def test_all_its_dtypes_are_known(self) -> None:
        with pytest.raises(Exception, match="unknown variant") as caught:
            self.read("X", [1], 1)
        _, _, expected = str(caught.value).partition("expected one of")
        assert set(re.findall(r"`(\w+)`", expected)) <= words("safetensors").keys()

    @pytest.mark.parametrize("dtype", words("safetensors"))
    def test_size(self, dtype: str) -> None:
        level = levels.from_dialect("safetensors", dtype)
        shape = [3, 8]
        nbytes = level.nbytes(shape)
        assert len(self.read(dtype, shape, nbytes)) == 1
        for wrong in (nbytes - 1, nbytes + 1):
            with pytest.raises(Exception, match="deserializing"):
                self.read(dtype, shape, wrong)


class TestGguf:
    def test_tensor_types(self) -> None:
        gguf = pytest.importorskip("gguf")
        for kind in gguf.GGMLQuantizationType:
            level = levels.from_dialect("ggml", kind.value)
            assert levels.from_dialect("ggml", kind.name) is level
            assert level.spelling("ggml") == kind.name
            weights, nbytes = gguf.GGML_QUANT_SIZES[kind]
            if kind.name == "Q8_1" and nbytes == 40:
                nbytes = 36  # wrong in gguf to 0.19.0: the struct is two FP16 and 32 bytes
            assert GGML_BLOCKS[kind.value] == Block(weights, 8 * nbytes)

    @pytest.mark.parametrize("name", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"])
    def test_really_quantized_rows(self, name: str) -> None:
        gguf = pytest.importorskip("gguf")
        np = pytest.importorskip("numpy")
        rows = np.linspace(-1, 1, 3 * 512, dtype=np.float32).reshape(3, 512)
        quantized = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name])
        assert quantized.nbytes == levels.from_dialect("ggml", name).nbytes(rows.shape)

    def test_file_types(self) -> None:
        gguf = pytest.importorskip("gguf")
        for kind in gguf.LlamaFileType:
            if kind.name == "GUESSED":
                assert kind.value == GUESSED
            else:
                assert FILE_TYPES[kind.value][0] == kind.name


class TestNumpy:
    def test_all_of_ml_dtypes_is_known(self) -> None:
        np = pytest.importorskip("numpy")
        ml_dtypes = pytest.importorskip("ml_dtypes")
        for name in ml_dtypes.__all__:
            scalar = getattr(ml_dtypes, name)
            if isinstance(scalar, type) and issubclass(scalar, np.generic):
                assert levels.of_dtype(scalar) is levels.of_dtype(np.dtype(scalar)) is words("numpy")[name]

    def test_all_numbers_of_numpy_are_known(self) -> None:
        np = pytest.importorskip("numpy")
        for scalar in {*np.sctypeDict.values()} - {np.longdouble, np.clongdouble}:
            if issubclass(scalar, np.number | np.bool_) and scalar is not np.timedelta64:
                assert 8 * np.dtype(scalar).itemsize == levels.of_dtype(scalar).block.bits

    @pytest.mark.parametrize("word", words("numpy"))
    def test_bits_and_ranges(self, word: str) -> None:
        np = pytest.importorskip("numpy")
        ml_dtypes = pytest.importorskip("ml_dtypes")
        level = levels.from_dialect("numpy", word)
        scalar = getattr(ml_dtypes, word, None) or getattr(np, word, None) or np.dtype(word).type
        if level.kind == "float":
            info = ml_dtypes.finfo(scalar)
            assert info.bits == level.bits_per_param == level.block.bits
            if match := re.search(r"(\d) exponent and (\d) mantissa bits", level.summary):
                assert (info.nexp, info.nmant) == tuple(map(int, match.groups()))
            if match := re.search(r" to ([\d.]+),", level.summary):
                assert float(info.max) == float(match[1])
        elif level.kind in ("int", "uint"):
            info = ml_dtypes.iinfo(scalar)
            assert info.bits == level.bits_per_param == level.block.bits
            assert (info.min < 0) == (level.kind == "int")
            if match := re.match(r"(-?\d+) (?:to|and) (-?\d+)", level.summary):
                assert {info.min, info.max} == {int(match[1]), int(match[2])}
        else:
            assert 8 * np.dtype(scalar).itemsize == level.block.bits


class TestOnnx:
    def test_every_number_and_name(self) -> None:
        onnx = pytest.importorskip("onnx")
        types = dict(onnx.TensorProto.DataType.items())
        for name, number in types.items():
            if name not in ("UNDEFINED", "STRING"):
                level = levels.from_dialect("onnx", number)
                assert levels.from_dialect("onnx", name) is level
                assert level.spelling("onnx") == name
                assert levels.of_dtype(onnx.helper.tensor_dtype_to_np_dtype(number)) is level


class TestTorch:
    #: opaque bits, and the dtypes of torch's own quantized tensors: second words of the levels of their codes
    FOREIGN = re.compile(r"bits\w+|q(u)?int\w+")

    def test_every_dtype(self) -> None:
        torch = pytest.importorskip("torch")
        for name, dtype in vars(torch).items():
            if isinstance(dtype, torch.dtype) and not self.FOREIGN.fullmatch(name):
                level = levels.from_dialect("torch", name)
                assert levels.of_dtype(dtype) is level
                assert str(dtype) == f"torch.{level.spelling('torch')}"
                assert 8 * dtype.itemsize == level.block.bits or level.bits_per_param < 8

    def test_no_word_is_invented(self) -> None:
        torch = pytest.importorskip("torch")
        newer = {"bcomplex32"}  # torch 2.14
        assert all(hasattr(torch, str(word)) for word in words("torch").keys() - newer)


class TestJax:
    def test_every_scalar_type(self) -> None:
        jnp = pytest.importorskip("jax.numpy")
        for word, level in words("jax").items():
            assert levels.of_dtype(getattr(jnp, str(word))) is level


class TestOpenVino:
    def test_every_element_type(self) -> None:
        openvino = pytest.importorskip("openvino")
        types = [value for value in vars(openvino.Type).values() if isinstance(value, openvino.Type)]
        assert len(types) > 20
        for type_ in types:
            word = type_.to_string()
            if word not in ("dynamic", "string", "boolean"):  # OpenVINO prints its boolean as char
                assert levels.from_dialect("openvino", word) is levels.of_dtype(type_) is levels[str(type_)]


class TestArrow:
    def test_every_number(self) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        for word in words("arrow"):
            type_ = pyarrow.type_for_alias(str(word))
            level = levels.of_dtype(type_)
            assert level is levels.from_dialect("arrow", word)
            assert type_.bit_width in (level.bits_per_param, level.block.bits)
