"""The contract of a container: the record that its reader makes of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, final

from attrs import field, frozen

from quantlevels.findings import Finding
from quantlevels.vocabulary.level import QuantizationLevel

Format: TypeAlias = Literal["safetensors", "gguf", "onnx", "pytorch", "config"]
JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None


@final
@frozen
class UnknownType:
    """A storage type that no known level answers to: reported, never guessed.

    Args:
        dialect: the naming system it comes from.
        spelling: what the file says.
    """

    dialect: str
    spelling: str | int

    @property
    def name(self) -> str:
        """What a record has in the place of the name of a level."""
        return str(self)

    def __str__(self) -> str:
        return f"{self.dialect} type {self.spelling}"


class Tensor(NamedTuple):
    """One tensor as a header describes it."""

    name: str
    #: what one stored element is
    dtype: QuantizationLevel | UnknownType
    #: stored elements per axis, rows last (logical weights where the container counts those: GGUF, sub-byte types)
    shape: tuple[int, ...]
    #: its bytes in the file, exact
    nbytes: int


@final
@frozen
class Node:
    """An operator of a graph (ONNX)."""

    op_type: str
    domain: str
    #: names of the inputs in their order, stored tensors or not; empty where one is left out
    inputs: tuple[str, ...]
    #: names of the outputs in their order
    outputs: tuple[str, ...]
    #: the attributes that are numbers, short texts, or short lists of integers
    attributes: Mapping[str, int | float | str | tuple[int, ...]]


@final
@frozen
class File:
    """A file of a checkpoint: its path within the folder, and its size in bytes."""

    path: str
    nbytes: int


@final
@frozen(kw_only=True)
class Checkpoint:
    """What the headers of a checkpoint say, and the config files beside them."""

    path: Path
    format: Format
    tensors: Sequence[Tensor] = ()
    #: the container's own key-values, scalars only
    metadata: Mapping[str, str | int | float | bool] = field(factory=dict[str, str | int | float | bool])
    #: name of a config file (``config.json``, ``quantize_config.json`` ...) → the object in it
    configs: Mapping[str, Mapping[str, JSON]] = field(factory=dict[str, Mapping[str, JSON]])
    files: tuple[File, ...] = ()
    #: defects of the container: QL201 to QL206, and QL301 for types that no level answers to
    findings: tuple[Finding, ...] = ()
    #: the operators of a graph and its subgraphs, in their order
    nodes: tuple[Node, ...] = ()
    #: names of what shows elements of one of the tensors again (PyTorch)
    tied: tuple[str, ...] = ()
    #: the models of a folder that holds several which belong together (diffusers, sentence-transformers)
    components: tuple[Checkpoint, ...] = ()


#: Config files that may stand beside the weights and say something of their levels.
CONFIG_FILES: Final = (
    "config.json",
    "quantize_config.json",
    "quant_config.json",
    "quantization_config.json",
    "hf_quant_config.json",
    "quanto_qmap.json",
    "ort_config.json",
    "adapter_config.json",
)
