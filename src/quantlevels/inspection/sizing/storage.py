"""The storage rules of all schemes by name, and the bytes they give a matrix."""

from __future__ import annotations

import math
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from quantlevels.errors import SizingError, UnknownLevelError
from quantlevels.schemes import find_scheme, shipped_schemes
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.scheme import Matrix, Storage, TensorRule

#: The scheme whose rules are those of llama.cpp, not of one record.
GGUF = "gguf"


def scheme_names() -> tuple[str, ...]:
    """The names of the schemes that say how they store, and gguf."""
    return (*dict.fromkeys(scheme.method for scheme in shipped_schemes().values() if scheme.storage), GGUF)


def rules_of(name: str) -> tuple[Storage, ...]:
    """How a scheme, or one of its formats by name, stores all that it stores; a plugin's scheme too.

    Raises:
        UnknownLevelError: if no scheme or format is called so.
        SizingError: if it is not known exactly how the scheme stores weights.
    """
    found = find_scheme(name)
    if found and found.storage:
        return found.storage
    # several names may stand for one scheme (gptq, gptq_marlin), whose rules are to count once
    schemes = dict.fromkeys(shipped_schemes().values())
    rules = list(chain.from_iterable(scheme.storage for scheme in schemes))
    by_format = tuple(rule for rule in rules if rule.format == name)
    if by_format:
        return by_format
    formats = {rule.format for rule in rules}
    names = scheme_names()
    if found:
        raise SizingError(
            f"what {found.method} stores is not known exactly before it has run; quantize the model and inspect the "
            f"result, or choose one of {', '.join(names)}"
        )
    raise UnknownLevelError(name, tuple(get_close_matches(name, {*names, *formats})) or names, "scheme")


def storage_for(scheme: str, level: QuantizationLevel) -> Storage:
    """How a scheme, or one of its formats by name, stores a level.

    Raises:
        UnknownLevelError: if no scheme is called so.
        SizingError: if the scheme does not store that level; it names those it does.
    """
    rules = rules_of(scheme)
    for rule in rules:
        if level.name in rule.levels:
            return rule
    held = ", ".join(sorted(set(chain.from_iterable(rule.levels for rule in rules))))
    raise SizingError(f"{scheme} does not store {level.name}; it stores {held}")


def module_bytes(storage: Storage, matrix: Matrix, scale: QuantizationLevel, zero_bits: int) -> int:
    """Bytes of all tensors that a scheme makes of one matrix.

    Args:
        storage: how it stores the level.
        matrix: the matrix, with the bits of a code.
        scale: the type of scales, if that is a choice.
        zero_bits: bits of a zero point, if that is a choice; 0 for none.
    """
    return sum(_tensor_bytes(rule, storage, matrix, scale, zero_bits) for rule in storage.tensors)


def _tensor_bytes(rule: TensorRule, storage: Storage, matrix: Matrix, scale: QuantizationLevel, zero_bits: int) -> int:
    if rule.nbytes:
        return rule.nbytes(matrix)
    bits = matrix.bits
    if rule.role == "zero_point" and storage.zero_point == "choice":
        if not zero_bits:
            return 0
        bits = zero_bits
    element = levels[rule.dtypes[0]]
    if rule.role == "scale" and storage.grouped and scale.name in rule.dtypes:
        element = scale
    lengths = (matrix.length(axis, element.block.bits, bits) for axis in rule.axes[0])
    return math.prod(lengths) * element.block.bits // BITS_PER_BYTE
