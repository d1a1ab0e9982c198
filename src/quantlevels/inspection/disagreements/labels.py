"""Labels of GGUF files, ``general.file_type`` and the name, against the types on the tensors: QL106, QL110, QL114."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from quantlevels.container import Tensor, UnknownType
from quantlevels.findings import Finding, pluralize
from quantlevels.llamacpp import FALLBACKS, FILE_TYPES, GUESSED, UNLABELLED, WIDENED_BY_MIXTURES
from quantlevels.scheme import UNQUANTIZED_BITS
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence

#: What llama.cpp takes where no fallback fits a row either.
_LAST_RESORT: Final = "Float16"

_METADATA_KEY: Final = "general.file_type"
#: recipe as file names spell it → the level that most weights have under it; None if that varies
_RECIPES: Final[dict[str, str | None]] = {
    name.removeprefix("MOSTLY_").removeprefix("ALL_"): level for name, level in FILE_TYPES.values()
}
#: A recipe or a type in a file name. The recipes of others (Q4_K_L, Q3_K_XL) go by the type they begin with.
_WORD: Final = re.compile(
    r"(?<![a-z0-9])(ud[-_])?((?:q\d_(?:\d|k)|iq\d_(?:xxs|xs|s|m|nl)|tq\d_0|mxfp4|nvfp4|bf16|f16|f32)"
    r"(?:_(?:xxl|xl|l|m|s|xs|xxs|moe))?)(?![a-z0-9])",
    re.IGNORECASE,
)


def label_mismatch(evidence: Evidence) -> Iterator[Finding]:
    """QL106: the label names a level that other levels outweigh.

    Not counted against it: wider types that mixtures give to some tensors, what is not an expert under MXFP4_MOE, and
    rows that blocks of the level do not tile (QL110).
    """
    expected = _labelled(evidence)
    if expected is None or evidence.is_partial or not evidence.declared or not _is_read_as_quantized(evidence):
        return
    counts = _covered(evidence, expected)
    # compared with the largest other level, not with half of all: a mixture may have three types
    ((level, most),) = counts.most_common(1) or [(expected, 0)]
    if counts[expected] < most:
        rest = f"{counts[expected]:,} are"
        if not counts[expected]:
            rest = "none is"
        covered = f"{most:,} of the {counts.total():,} parameters that this label covers"
        message = f"{_METADATA_KEY} says {expected}, but {covered} are {level}, and {rest} {expected}"
        yield Finding("QL106", message, evidence.declared.source)


def _is_read_as_quantized(evidence: Evidence) -> bool:
    """Whether QL103 does not say already that nothing is quantized."""
    declared = evidence.declared
    return not (declared and declared.method) or bool(evidence.stored.quantized_parameters)


def _labelled(evidence: Evidence) -> QuantizationLevel | None:
    """The level that the label of a GGUF names."""
    declared = evidence.declared
    if not evidence.is_gguf or declared is None:
        return None
    return declared.levels[0].level if declared.levels else declared.dtype


def _covered(evidence: Evidence, expected: QuantizationLevel) -> Counter[QuantizationLevel | UnknownType]:
    """Parameters by type, of the tensors that the label covers; of those it excuses, if it covers no others."""
    covered: Counter[QuantizationLevel | UnknownType] = Counter()
    excused: Counter[QuantizationLevel | UnknownType] = Counter()
    is_ragged = False
    for tensor in evidence.checkpoint.tensors:
        if _is_unquantized(tensor, expected):
            continue
        if not _tiles(tensor, expected):
            is_ragged = True
        elif _is_excused(tensor, expected):
            excused[tensor.dtype] += math.prod(tensor.shape)
        else:
            covered[tensor.dtype] += math.prod(tensor.shape)
    return covered if covered or is_ragged else excused


def _is_unquantized(tensor: Tensor, expected: QuantizationLevel) -> bool:
    level = tensor.dtype
    if isinstance(level, UnknownType):
        return False
    return level.bits_per_param >= UNQUANTIZED_BITS > expected.bits_per_param


def _tiles(tensor: Tensor, expected: QuantizationLevel) -> bool:
    return bool(tensor.shape) and tensor.shape[-1] % expected.block.weights == 0


def _is_excused(tensor: Tensor, expected: QuantizationLevel) -> bool:
    level = tensor.dtype
    is_wider = isinstance(level, QuantizationLevel) and level.bits_per_weight > expected.bits_per_weight
    is_widened = is_wider and any(part in tensor.name for part in WIDENED_BY_MIXTURES)
    is_no_expert = expected.name == "MXFP4" and len(tensor.shape) <= 2
    return tensor.name.startswith(UNLABELLED) or is_widened or is_no_expert


def row_fallback(evidence: Evidence) -> Iterator[Finding]:
    """QL110: rows are not a multiple of the label's block size, so llama.cpp took its fallback type."""
    expected = _labelled(evidence)
    if expected is None or expected.bits_per_param >= UNQUANTIZED_BITS:
        return
    types = {*FALLBACKS.values(), _LAST_RESORT}
    ragged = [
        tensor
        for tensor in evidence.checkpoint.tensors
        if len(tensor.shape) > 1 and not _tiles(tensor, expected) and tensor.dtype.name in types
    ]
    if any(tensor.dtype.name != _LAST_RESORT for tensor in ragged):
        kinds = ", ".join(sorted({str(tensor.dtype) for tensor in ragged}))
        rows = ", ".join(f"{row:,}" for row in sorted({tensor.shape[-1] for tensor in ragged}))
        message = (
            f"{pluralize(len(ragged), 'tensor')} cannot be {expected}, which stores rows in blocks of "
            f"{expected.block.weights}: rows of {rows} weights became {kinds}"
        )
        yield Finding("QL110", message, ragged[0].name)


def file_name(evidence: Evidence) -> Iterator[Finding]:
    """QL114: the file's name says another recipe than its label and its tensors."""
    if not evidence.is_gguf or evidence.is_partial or not evidence.checkpoint.files:
        return
    name = evidence.checkpoint.files[0].path
    # a name may hold several, as of the base model and of this file: one that is right is enough
    words = [(dynamic, word.upper()) for dynamic, word in _WORD.findall(name)]
    if not words or any(dynamic for dynamic, _ in words):  # dynamic recipes differ from model to model
        return
    recipe = _recipe(evidence)
    held = _held(evidence)
    if all(_contradicts(word, recipe, held) for _, word in words):
        label = f"{_METADATA_KEY} is missing"
        if recipe:
            label = f"{_METADATA_KEY} says {recipe}"
        most = ", ".join(sorted(held))
        named = " and ".join(word for _, word in words)
        yield Finding("QL114", f"the name says {named}, but {label} and most weights are {most}", name)


def _contradicts(word: str, recipe: str | None, held: set[str]) -> bool:
    if word in _RECIPES and recipe:
        level = _RECIPES[word]
        return word != recipe and (level is not None) and (level == _RECIPES[recipe] or level not in held)
    level = _RECIPES.get(word) or _type_of(word)
    return level is not None and level not in held


def _type_of(word: str) -> str | None:
    """The level whose name a word begins with: Q4_K of Q4_K_L."""
    while word:
        if word in levels:
            return levels[word].name
        word = word.rpartition("_")[0]
    return None


def _recipe(evidence: Evidence) -> str | None:
    """What the label says, as file names spell it; None without a label, or if a converter guessed it."""
    label = evidence.checkpoint.metadata.get(_METADATA_KEY)
    if not isinstance(label, int) or label & GUESSED or label not in FILE_TYPES:
        return None
    return FILE_TYPES[label][0].removeprefix("MOSTLY_").removeprefix("ALL_")


def _held(evidence: Evidence) -> set[str]:
    """The level that the label names, and the one that most matrices have, by parameters."""
    counts: Counter[str] = Counter()
    for tensor in evidence.checkpoint.tensors:
        if len(tensor.shape) > 1:
            counts[tensor.dtype.name] += math.prod(tensor.shape)
    held = {name for name, _ in counts.most_common(1)}
    expected = _labelled(evidence)
    if expected:
        held.add(expected.name)
    return held
