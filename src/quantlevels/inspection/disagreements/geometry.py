"""The shapes of a text model against its config: QL115, and QL303 where only its width tells two readings apart.

Only rules that gave no false alarm on 202 public folders: per-layer shapes, more layers than declared, and tied heads
are not judged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.container import UnknownType
from quantlevels.findings import Finding, pluralize
from quantlevels.inspection.disagreements.evidence import and_others, unnumbered
from quantlevels.inspection.disagreements.text_model import EMBEDDING, LAYER, TextModel, text_model, width_axis

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence

_GGUF_LAYER: Final = r"(blk)\.(\d{1,9})\."
#: how many missing layers a message lists, and how many of the modules that are alike are looked at
_LISTED: Final = 5
#: how often modules that are alike stand in a layer, if they are not experts
_USUAL_PER_LAYER: Final = 8


class _Stack(NamedTuple):
    """The layers that something declares."""

    layers: int
    file: str
    key: str
    pattern: str


def layers(evidence: Evidence) -> Iterator[Finding]:
    """QL115: fewer layers than declared, or a gap in their numbers."""
    stack = None if evidence.is_partial else _declared_stack(evidence)
    if stack is None:
        return
    found = _numbers(evidence, stack)
    if not found:
        return
    # up to the highest number found, if that is above the declared ones: further layers must follow without a gap
    missing = sorted(set(range(max(stack.layers, max(found) + 1))) - found)
    if missing:
        listed = ", ".join(map(str, missing[:_LISTED]))
        if len(missing) > _LISTED:
            listed += ", ..."
        verb = "is" if len(missing) == 1 else "are"
        message = f"{stack.key} is {stack.layers}, but {pluralize(len(missing), 'layer')} {verb} missing"
        yield Finding("QL115", f"{message}: {listed}", stack.file)


def _declared_stack(evidence: Evidence) -> _Stack | None:
    if evidence.is_gguf:
        return _gguf_stack(evidence)
    text = text_model(evidence)
    if text is None or text.layers is None:
        return None
    return _Stack(text.layers, text.file, "num_hidden_layers", LAYER)


def _gguf_stack(evidence: Evidence) -> _Stack | None:
    """The layers of a GGUF, without those that predict tokens ahead, which converters may leave out."""
    metadata = evidence.checkpoint.metadata
    architecture = metadata.get("general.architecture")
    count = metadata.get(f"{architecture}.block_count")
    ahead = metadata.get(f"{architecture}.nextn_predict_layers", 0)
    is_model = metadata.get("general.type", "model") == "model"  # an adapter has some layers only
    if type(count) is not int or type(ahead) is not int or count <= ahead or not is_model:
        return None
    return _Stack(count - ahead, evidence.checkpoint.files[0].path, "block_count", _GGUF_LAYER)


def _numbers(evidence: Evidence, stack: _Stack) -> set[int]:
    """The numbers of the layers, of the stack that has the most.

    Norms and projections stand a few times in each layer, experts hundreds of times: these are only looked at if the
    others leave a gap.
    """
    kinds = [modules for _, modules in evidence.folding.alike]
    few = [modules for modules in kinds if stack.layers <= len(modules) <= _USUAL_PER_LAYER * stack.layers]
    numbers = _longest_stack(few, stack.pattern)
    if len(numbers) >= stack.layers and numbers == set(range(len(numbers))):
        return numbers
    return _longest_stack(kinds, stack.pattern)


def _longest_stack(kinds: list[list[str]], pattern: str) -> set[int]:
    numbered = re.compile(pattern)
    stacks: dict[str, set[int]] = defaultdict(set)
    for modules in kinds:
        for module in modules:
            match = numbered.match(f"{module}.")
            if match:
                stacks[match[1]].add(int(match[2]))
    return max(stacks.values(), key=len, default=set())


def shapes(evidence: Evidence) -> Iterator[Finding]:
    """QL115: an embedding with fewer rows than the vocabulary, or matrices of another width than the model's."""
    text = None if evidence.is_partial or evidence.is_gguf else text_model(evidence)
    if text is None or text.width is None:
        return
    of_embedding = list(_embeddings(evidence, text))
    yield from of_embedding or _projections(evidence, text.width)


def _embeddings(evidence: Evidence, text: TextModel) -> Iterator[Finding]:
    for name, (rows, width) in _matrices(evidence):
        if not re.fullmatch(EMBEDDING, name):
            continue
        if width != text.embedding_width:
            message = f"has the shape [{rows}, {width}], but rows of {text.embedding_width:,} are declared"
            yield Finding("QL115", message, name)
        elif text.vocabulary and rows < text.vocabulary:
            yield Finding("QL115", f"has {rows:,} rows, but vocab_size is {text.vocabulary:,}", name)


def _projections(evidence: Evidence, width: int) -> Iterator[Finding]:
    """One finding, if most projections are of another width, or some are and the same projections elsewhere are not.

    One kind that is of another width in all layers is usual: attention that several layers share, over two inputs.
    """
    agreeing: set[str] = set()
    of_other: dict[str, str] = {}
    for name, shape in _matrices(evidence):
        axis = width_axis(name)
        if axis is not None and shape[axis] == width:
            agreeing.add(name)
        elif axis is not None:
            of_other[name] = f"has the shape {list(shape)}, but hidden_size is {width:,}"
    agreeing_kinds = set(map(unnumbered, agreeing))
    odd = [name for name in of_other if unnumbered(name) in agreeing_kinds]
    if len(of_other) > len(agreeing):
        odd = list(of_other)
    if odd:
        yield Finding("QL115", of_other[odd[0]], odd[0])


def _matrices(evidence: Evidence) -> Iterator[tuple[str, tuple[int, int]]]:
    """A few modules of each kind with the shape of their logical weight; stacks of experts are left out."""
    for found in (evidence.plain_matrices(), evidence.quantized()):
        for weight, modules in found:
            if len(weight.shape) == 2:
                rows, columns = weight.shape
                yield from ((module, (rows, columns)) for module in modules[:_LISTED])


#: methods whose shapes only fix the product of bits and group size
_PRODUCT_METHODS: Final = ("mlx", "metal")


def row_lengths(evidence: Evidence) -> Iterator[Finding]:
    """QL303: words of MLX whose declared bits make rows that the model cannot have, and other bits rows that it has."""
    declared = evidence.declared
    if evidence.is_partial or declared is None or declared.method not in _PRODUCT_METHODS:
        return
    text = text_model(evidence)
    if text is None or text.width is None:
        return
    from quantlevels.schemes.mlx import equal_readings  # here: only these methods need it

    for judged in evidence.judged:
        weight = judged.weight
        modules = [module for module in judged.modules if width_axis(module) == -1]
        if isinstance(weight.level, UnknownType) or not (modules and weight.shape and weight.group_size):
            continue
        columns, group_size = weight.shape[-1], weight.group_size
        for bits, group in equal_readings(weight.level.bits_per_param, group_size):
            # columns and group sizes are both words * 32 / bits: every reading has the same ratio of the two
            if columns != text.width and columns * group == text.width * group_size:
                message = (
                    f"{weight.level} in groups of {group_size} has rows of {columns:,}, but {bits} bits in groups of "
                    f"{group} has rows of {text.width:,}, the hidden_size"
                )
                yield Finding("QL303", message + and_others(modules[1:]), modules[0])
