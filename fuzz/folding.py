"""Modules of any suffixes, types and shapes, under any declared method."""

from __future__ import annotations

import math
from itertools import chain, product

from fuzz.choices import ODD_NUMBERS, Choices
from fuzz.invariants import check
from quantlevels.checkpoint.catalogue import SAFETENSORS
from quantlevels.container import JSON, Checkpoint, Tensor, UnknownType
from quantlevels.inspection.report import inspected
from quantlevels.scheme import COMMON_SIDES
from quantlevels.schemes import shipped_schemes
from quantlevels.schemes.catalogue import CATALOGUE
from quantlevels.vocabulary.level import BITS_PER_BYTE
from quantlevels.vocabulary.registry import levels

_PACKINGS = sorted({tuple(sorted(packing.suffixes)) for row in CATALOGUE for packing in row.packings()})
_SUFFIXES = sorted(
    set(chain.from_iterable(_PACKINGS))
    | COMMON_SIDES.keys()
    | {"bias", "weight", "down_proj_blocks", "down_proj_scales", "experts_weight_scale", "quant_state", ""}
)
_MODULES = ("model.layers.0.up", "model.layers.1.up", "lm_head", "centroids", "", ".", "a..b")
_DTYPES = ("Int32", "Float16", "BFloat16", "UInt8", "Int8", "Float8E4M3FN", "Float8E8M0FNU", "Float4E2M1", "Int64")
_METHODS = ("", *sorted(shipped_schemes()))
_LENGTHS = [length for length in ODD_NUMBERS if length <= 1 << 16]
_HUGE = [*_LENGTHS, 1 << 31, (1 << 31) - 1, 1 << 40]

SEEDS = tuple(bytes([method, 4, *[packing, 0, 1, 0, 2, 7, 8] * 3]) for method, packing in product(range(8), repeat=2))


def run(data: bytes) -> None:
    """Inspect a table of tensors that the bytes say."""
    choices = Choices(data)
    method = choices.one_of(_METHODS)
    bits, group_size = choices.one_of([4, 2, 3, 8, 1]), choices.one_of([128, -1, 8])
    config: dict[str, JSON] = {"quant_method": method, "bits": bits, "group_size": group_size}
    tensors: dict[str, Tensor] = {}
    for _ in range(choices.number(6) + 1):
        module = choices.one_of(_MODULES)
        suffixes = choices.one_of(_PACKINGS) if choices.number(4) else [choices.one_of(_SUFFIXES)]
        for suffix in suffixes:
            tensor = _tensor(f"{module}.{suffix}", choices)
            tensors[tensor.name] = tensor
    checkpoint = Checkpoint(
        path="model",
        container=SAFETENSORS,
        tensors=list(tensors.values()),
        configs={"config.json": {"quantization_config": config}} if method else {},
    )
    check(lambda: inspected(checkpoint))


def _tensor(name: str, choices: Choices) -> Tensor:
    lengths = _LENGTHS if choices.number(8) else _HUGE
    shape = tuple(choices.one_of(lengths) for _ in range(choices.number(4) or 2))
    if not choices.number(32):
        return Tensor(name, UnknownType("ggml", 4242), shape, choices.number(256))
    level = levels[choices.one_of(_DTYPES)]
    return Tensor(name, level, shape, math.prod(shape) * level.block.bits // BITS_PER_BYTE)
