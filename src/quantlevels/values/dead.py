"""Scales of zero whose codes vary: the weights of such a group all decode to zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from quantlevels.values.encodings import F16
from quantlevels.values.records import Damage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quantlevels.values.reading import FileReader
    from quantlevels.values.state import TensorState
    from quantlevels.values.subjects import Subject

#: widths of codes that fill a byte, so that equal codes make equal bytes
_WHOLE_WIDTHS: Final = (1, 2, 4, 8)
#: bytes of a group that are read at most: codes that vary do so soon
_MOST_READ: Final = 64 << 10


def dead_groups(reader: FileReader, states: Iterable[TensorState]) -> Iterator[tuple[TensorState, Damage]]:
    """QL604: scales of which some are zero although the codes of their group vary, in one file.

    Not asked of scales in FP8 and FP16 that come near to the smallest number: a group of tiny weights has such a scale.
    """
    states = list(states)  # walked twice
    codes = {state.subject.module: state.subject for state in states if state.subject.role == "codes"}
    for state in states:
        floats, owner = state.floats, codes.get(state.subject.module)
        if state.subject.role != "scale" or floats is None or owner is None or floats.is_zero or not floats.zeros:
            continue
        if floats.encoding.nbytes == 1 or (floats.encoding is F16 and floats.has_subnormal):
            continue
        dead = [element for element in floats.zeros if _codes_vary(reader, owner, state.subject, element)]
        if dead:
            yield state, _damage(state, owner, dead)


def _damage(state: TensorState, owner: Subject, dead: list[int]) -> Damage:
    subject = state.subject
    first = subject.index(dead[0])
    return Damage(
        code="QL604",
        tensor=subject.name,
        message=f"{len(dead):,} scales are zero, first at {list(first)}, but packed values of {owner.name} there vary",
        count=len(dead),
        first=first,
        offset=subject.place.offset + dead[0] * subject.block_nbytes,
        values_read=subject.values_in(state.bytes_read),
    )


def _codes_vary(reader: FileReader, codes: Subject, scale: Subject, element: int) -> bool:
    """Whether the codes that a scale belongs to differ; False if it cannot be told which these are."""
    rows, columns = math.prod(codes.shape[:-1]), codes.shape[-1]
    bands, groups = scale.elements, 1  # one scale per row, or per band of rows
    if len(scale.shape) > 1:
        bands, groups = math.prod(scale.shape[:-1]), scale.shape[-1]
    row_nbytes = codes.nbytes // (rows or 1)
    # scales that do not tile the codes belong to a layout with another order, such as interleaved rows
    whole = rows and bands and groups and not (rows % bands or row_nbytes % groups or codes.nbytes % rows)
    if not whole or columns == 0 or codes.weight.code_bits not in _WHOLE_WIDTHS:
        return False
    band, group = divmod(element, groups)
    height, width = rows // bands, row_nbytes // groups
    first = codes.place.offset + band * height * row_nbytes + group * width
    lines = min(height, max(_MOST_READ // row_nbytes, 2))
    seen = [reader.read(first + line * row_nbytes, min(width, _MOST_READ)) for line in range(lines)]
    return np.unique(np.concatenate(seen)).size > 1
