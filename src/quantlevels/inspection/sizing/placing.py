"""What becomes of one tensor: stored plain, as a scheme packs it, or as llama.cpp does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from quantlevels.errors import SizingError, UntranslatableLevelError
from quantlevels.inspection.sizing.storage import GGUF, module_bytes, rules_of, storage_for
from quantlevels.llamacpp import LEFT_AS_THEY_ARE, WIDENED_ON_CONVERSION, row_fallback
from quantlevels.scheme import Matrix, TensorInfo
from quantlevels.schemes.buffers import is_buffer as is_buffer_of
from quantlevels.vocabulary.builtin import FP32
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.container import Tensor, UnknownType
    from quantlevels.inspection.sizing.targets import Target
    from quantlevels.scheme import Storage

#: By how much quantizers narrow groups until they tile a row (optimum-quanto 0.2.7 begins with 128).
_GROUP_STEP: Final = 32


class Placed(NamedTuple):
    """What becomes of one tensor; ``wanted`` is set if it could not have the level it should."""

    level: QuantizationLevel | UnknownType
    group_size: int | None
    nbytes: int
    wanted: QuantizationLevel | None = None


#: (tensor, the level it is to have whatever it is) → what becomes of it
Placer: TypeAlias = "Callable[[Tensor, QuantizationLevel | None], Placed]"


def placer(target: Target) -> Placer:
    """What becomes of tensors under a target."""
    if target.scheme is None:
        return lambda tensor, kept: _place_plain(tensor, kept, target)
    if target.scheme == GGUF:
        return lambda tensor, kept: _place_in_gguf(tensor, kept, target)
    return _by_scheme(target, target.scheme)


def is_cast(level: QuantizationLevel) -> bool:
    """Whether a level is a float that is not narrower than 16 bits: nothing stands beside such weights."""
    return level.kind == "float" and level.bits_per_param > BITS_PER_BYTE


def is_buffer(tensor: Tensor) -> bool:
    """Whether it holds no weights whatever its shape: masks, positions, rotary caches."""
    module, _, suffix = tensor.name.rpartition(".")
    return is_buffer_of(module, suffix, TensorInfo(tensor.dtype, tensor.shape, tensor.nbytes))


def _is_skipped(tensor: Tensor, globs: Iterable[str] = ()) -> bool:
    """Whether a tensor is not a matrix of weights, or is of a module that is left alone.

    Raises:
        SizingError: if it is a matrix of what can only be codes.
    """
    if len(tensor.shape) < 2 or is_buffer(tensor):
        return True
    level = tensor.dtype
    if isinstance(level, QuantizationLevel) and level.kind in ("int", "uint", "float") and not is_cast(level):
        raise SizingError(
            f"{tensor.name} is already quantized ({level}); take the shapes of the unquantized checkpoint"
        )
    module = tensor.name.removesuffix(".weight")
    return any(fnmatchcase(module, glob) for glob in globs)


def _unchanged(tensor: Tensor, wanted: QuantizationLevel | None = None) -> Placed:
    return Placed(tensor.dtype, None, tensor.nbytes, wanted)


def _place_plain(tensor: Tensor, kept: QuantizationLevel | None, target: Target) -> Placed:
    """Codes, scales and zero points as rows, each padded to whole bytes; a cast takes norms and biases as well."""
    if kept:
        return Placed(kept, None, kept.nbytes(tensor.shape))
    is_float = isinstance(tensor.dtype, QuantizationLevel) and tensor.dtype.kind == "float"
    if _is_skipped(tensor) and not (is_float and is_cast(target.level)):
        return _unchanged(tensor)
    return Placed(target.level, target.group_size, target.layout.nbytes(tensor.shape))


def _by_scheme(target: Target, scheme: str) -> Placer:
    """As a scheme stores it; a level that the scheme does not store is stored plain."""
    stored_levels = frozenset(chain.from_iterable(rule.levels for rule in rules_of(scheme)))
    storage_of = cache(lambda level: storage_for(scheme, level))

    def place(tensor: Tensor, kept: QuantizationLevel | None) -> Placed:
        if kept and kept.name not in stored_levels:
            return Placed(kept, None, kept.nbytes(tensor.shape))
        level = kept or target.level
        storage: Storage = storage_of(level)
        if _is_skipped(tensor, () if kept else storage.keeps):
            return _unchanged(tensor)
        return _place_in_scheme(tensor, level, storage, target)

    return place


def _place_in_scheme(tensor: Tensor, level: QuantizationLevel, storage: Storage, target: Target) -> Placed:
    *stack, rows, columns = tensor.shape
    matrices = math.prod(stack)
    if stack and tensor.name.removesuffix(".weight").endswith("gate_up_proj"):
        matrices, rows = 2 * matrices, rows // 2  # quantizers take the experts' two apart
    group = _group_size(level, storage, target, columns)
    if group and columns % group and storage.ragged == "keeps":
        return _unchanged(tensor, level)
    if group and columns % group and storage.ragged == "refuses":
        raise SizingError(
            f"{tensor.name}: rows of {columns:,} are not a multiple of {group}, which {target.scheme} refuses; "
            f"keep it with --keep '{tensor.name}=...'"
        )
    # torch's name for the dtype, as some rules store scales in the dtype of the weights; plain codes have none
    source_dtype = ""
    if isinstance(tensor.dtype, QuantizationLevel):
        try:
            source_dtype = tensor.dtype.spelling("torch")
        except UntranslatableLevelError as error:  # a block type of ggml, which no scheme of torch quantizes again
            raise SizingError(
                f"{tensor.name} is already quantized ({tensor.dtype}), and {target.scheme} starts from weights that "
                "are not; name the unquantized checkpoint of this model"
            ) from error
    matrix = Matrix(
        rows=rows,
        columns=columns,
        bits=level.bits_per_param,
        group_size=group,
        block=storage.block,
        source_dtype=source_dtype,
    )
    zero_bits = target.zero_point.bits_per_param if target.zero_point else 0
    nbytes = matrices * module_bytes(storage, matrix, target.scale, zero_bits)
    if level.block.weights > 1:
        group = None  # the level says it
    return Placed(level, group, nbytes)


def _group_size(level: QuantizationLevel, storage: Storage, target: Target, columns: int) -> int | None:
    """Weights that share a scale: as asked for, usual in the scheme, or fixed by the level; None for whole rows."""
    group = storage.group_size
    if storage.grouped and target.group_size:
        group = target.group_size
    elif not group and level.block.weights > 1:
        group = level.block.weights
    if group and storage.ragged == "narrows":
        tiling = (size for size in range(group, 0, -_GROUP_STEP) if columns % size == 0)
        return next(tiling, columns)
    return group


def _place_in_gguf(tensor: Tensor, kept: QuantizationLevel | None, target: Target) -> Placed:
    """Whole blocks per row, another type if a row is not whole blocks, vectors and routers as FP32."""
    if is_buffer(tensor) or (not kept and _is_skipped(tensor, LEFT_AS_THEY_ARE) and len(tensor.shape) > 1):
        return _unchanged(tensor)
    if not kept and _is_skipped(tensor, WIDENED_ON_CONVERSION):
        return Placed(FP32, None, FP32.nbytes(tensor.shape))
    if target.recipe and not kept:  # the recipe leaves it as it is
        return _unchanged(tensor)
    wanted = kept or target.level
    columns = tensor.shape[-1] if tensor.shape else 1
    given = row_fallback(wanted, columns)
    if given is None:
        raise SizingError(
            f"{tensor.name}: rows of {columns:,} are not whole blocks of {wanted.name}, and llama.cpp has no other "
            "type for them"
        )
    return Placed(given, None, given.nbytes(tensor.shape), None if given is wanted else wanted)


def alike(tensors: Iterable[Tensor]) -> Sequence[tuple[Tensor, int]]:
    """One tensor of each kind that is stored alike under any target without globs, and how many there are."""
    # `fit` sizes a checkpoint at every level: a hundred kinds of tensors are counted instead of thousands of tensors
    counts: dict[tuple[object, ...], tuple[Tensor, int]] = {}
    for tensor in tensors:
        key = (tensor.dtype, tensor.shape, tensor.nbytes, is_buffer(tensor))
        first, count = counts.get(key, (tensor, 0))
        counts[key] = (first, count + 1)
    return list(counts.values())
