"""What names of files say: one numbered part of a model, weights that loaders look for, leftovers of training.

Expressions that few names are held against are texts, which `re` compiles on their first use.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

INDEX_SUFFIX: Final = ".index.json"

#: the names that loaders look for in a folder, in the order in which they do
STANDARD_NAMES: Final[tuple[str, ...]] = (
    "model.safetensors.index.json",
    "model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "tensor-cache.json",
    "ndarray-cache.json",
    ".metadata",
    "openvino_model.xml",
)
#: another copy of a model, as Mistral and Meta put it beside the sharded one
_COPY: Final = r"consolidated(\.\d+)?\.(safetensors|pth)"
#: one process's share of a model
_RANK: Final = (
    r"(?:rank|model-rank-|consolidated\.|model)(\d{1,5})(?:-part-(\d{1,5})|-mp\d{1,5})?\.(?:safetensors|pth|pt|bin)"
)
#: pickles that training leaves beside the weights, statistics that llama.cpp measured of them, tokenizers of OpenVINO,
#: arrays that are more often data than weights
NOT_WEIGHTS: Final = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state).*\.(bin|pt|pth)|.*imatrix.*\.gguf"
    r"|openvino_(de)?tokenizer\.(xml|bin)|.*\.ncnn\.bin|.*\.npy"
)
#: in the name of a file that llama.cpp loads beside a model, for its images and sounds
PROJECTOR: Final = "mmproj"
#: a numbered part of a model, such as ``model-00001-of-00003.gguf``
_PART: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)", re.ASCII)


class ShardName(NamedTuple):
    """What the name of a numbered part says, such as ``model-00001-of-00003.gguf``."""

    stem: str
    number: int
    total: int
    suffix: str

    @property
    def all_names(self) -> list[str]:
        """The names of all parts, in their order."""
        return [f"{self.stem}-{number:05}-of-{self.total:05}{self.suffix}" for number in range(1, self.total + 1)]


def numbered(name: str) -> ShardName | None:
    """The number in the name of a numbered part; None for any other name."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    stem, number, count, suffix = match.groups()
    if not 1 <= int(number) <= int(count):
        return None
    return ShardName(stem, int(number), int(count), suffix)


def rank_of(name: str) -> tuple[int, ...] | None:
    """The numbers in the name of one rank's file of a model that was saved by several processes; None for others.

    Such names are ``rank0.safetensors`` (TensorRT-LLM), ``model-rank-0-part-0.safetensors`` (vLLM),
    ``consolidated.00.pth`` (Meta) and ``model0-mp8.safetensors`` (DeepSeek).
    """
    match = re.fullmatch(_RANK, name)
    return tuple(int(number) for number in match.groups() if number) if match else None


def is_standard(name: str) -> bool:
    """Whether loaders take weights of this name for a whole model or a numbered part of one."""
    part = numbered(name)
    unnumbered = part.stem + part.suffix if part else name
    return unnumbered in STANDARD_NAMES or re.fullmatch(_COPY, name) is not None


def suffix_of(name: str) -> str:
    """The ending of a name in lower case, with its dot; empty if it has none."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""
