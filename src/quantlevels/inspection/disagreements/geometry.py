"""The shapes of a text model against its config: QL115.

Only rules that gave no false alarm on 202 public folders: per-layer shapes, more layers than declared, and tied heads
are not judged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.container import UnknownType
from quantlevels.findings import Finding, pluralize
from quantlevels.inspection.disagreements.evidence import and_others

if TYPE_CHECKING:
    from quantlevels.container import JSON
    from quantlevels.inspection.disagreements.evidence import Evidence

_WRAPPERS: Final = r"(?:(?:model|language_model|text_model|transformer|backbone|gpt_neox|decoder|llm)\.)*"
#: a module of a layer of the text model: where its stack is, and the layer's number
_LAYER: Final = re.compile(rf"({_WRAPPERS}(?:layers|h|blocks))\.(\d{{1,9}})\.")
_EMBEDDING: Final = re.compile(rf"{_WRAPPERS}(?:embed_tokens|wte|word_embeddings|embed_in|embeddings)")
#: projections from the width of the model, and to it
_FROM_WIDTH: Final = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
_TO_WIDTH: Final = ("o_proj", "down_proj")
_GGUF_LAYER: Final = re.compile(r"(blk)\.(\d{1,9})\.")

_TEXT_CONFIGS: Final = ("text_config", "llm_config", "language_config")
_LAYER_KEYS: Final = ("num_hidden_layers", "n_layer")
#: of encoder-decoder models, whose config counts the layers of one half
_TWO_STACKS: Final = ("is_encoder_decoder", "decoder_layers", "encoder_layers")
_LISTED: Final = 5
#: how often modules that are alike stand in a layer, if they are not experts
_USUAL_PER_LAYER: Final = 8


class _Text(NamedTuple):
    """What a config says of a text model; None where it does not."""

    file: str
    layers: int | None
    width: int | None
    vocabulary: int | None


def layers(evidence: Evidence) -> Iterator[Finding]:
    """QL115: fewer layers than declared, or a gap in their numbers."""
    if evidence.is_partial:
        return
    if evidence.is_gguf:
        declared, file = _gguf_layers(evidence), evidence.checkpoint.files[0].path
        key, pattern = "block_count", _GGUF_LAYER
    else:
        text = _text(evidence)
        declared, file = (text.layers, text.file) if text else (None, "")
        key, pattern = "num_hidden_layers", _LAYER
    if not declared or declared < 1:
        return
    found = _numbers(evidence, pattern, declared)
    if not found:
        return
    missing = sorted(set(range(max(declared, max(found) + 1))) - found)
    if missing:
        listed = ", ".join(map(str, missing[:_LISTED])) + (", ..." if len(missing) > _LISTED else "")
        message = f"{key} is {declared}, but {pluralize(len(missing), 'layer')} missing from the stack: {listed}"
        yield Finding("QL115", message, file)


def _gguf_layers(evidence: Evidence) -> int | None:
    """The layers that a GGUF declares, without those that predict tokens ahead, which converters may leave out."""
    metadata = evidence.checkpoint.metadata
    architecture = metadata.get("general.architecture")
    count, ahead = metadata.get(f"{architecture}.block_count"), metadata.get(f"{architecture}.nextn_predict_layers", 0)
    if type(count) is not int or type(ahead) is not int or metadata.get("general.type", "model") != "model":
        return None
    return count - ahead


def _numbers(evidence: Evidence, pattern: re.Pattern[str], declared: int) -> set[int]:
    """The numbers of the layers, of the stack that has the most.

    Norms and projections stand a few times in each layer, experts hundreds of times: these are only looked at if the
    others leave a gap.
    """
    kinds = [modules for _, modules in evidence.folding.alike]
    few = [modules for modules in kinds if declared <= len(modules) <= _USUAL_PER_LAYER * declared]
    numbers = _longest_stack(few, pattern)
    is_whole = len(numbers) >= declared and numbers == set(range(len(numbers)))
    return numbers if is_whole else _longest_stack(kinds, pattern)


def _longest_stack(kinds: list[list[str]], pattern: re.Pattern[str]) -> set[int]:
    stacks: dict[str, set[int]] = defaultdict(set)
    for modules in kinds:
        for module in modules:
            match = pattern.match(f"{module}.")
            if match:
                stacks[match[1]].add(int(match[2]))
    return max(stacks.values(), key=len, default=set())


def _text(evidence: Evidence) -> _Text | None:
    """What the config says of the text model; None if there is no config, or it is of two stacks."""
    config = evidence.checkpoint.configs.get("config.json")
    if config is None:
        return None
    inner: Mapping[str, JSON] = config
    for key in _TEXT_CONFIGS:
        if isinstance(own := config.get(key), dict):
            inner = own
    if any(config.get(key) or inner.get(key) for key in _TWO_STACKS):
        return None
    layer_counts = [_positive(inner.get(key)) for key in _LAYER_KEYS]
    return _Text(
        file="config.json",
        layers=next((count for count in layer_counts if count), None),
        width=_positive(inner.get("hidden_size")),
        vocabulary=_positive(inner.get("vocab_size")),
    )


def _positive(value: JSON) -> int | None:
    return value if type(value) is int and value > 0 else None


def shapes(evidence: Evidence) -> Iterator[Finding]:
    """QL115: an embedding with fewer rows than the vocabulary, or matrices of another width than the model's."""
    text = None if evidence.is_partial or evidence.is_gguf else _text(evidence)
    if text is None or text.width is None:
        return
    matrices = _matrices(evidence)
    of_embedding = [
        finding
        for name, shape in matrices.items()
        if _EMBEDDING.fullmatch(name)
        for finding in _embedding(name, shape, text)
    ]
    yield from of_embedding or _projections(evidence, matrices, text.width)


def _projections(evidence: Evidence, matrices: Mapping[str, tuple[int, ...]], width: int) -> Iterator[Finding]:
    """One finding, if most projections of the layers are of another width.

    Single ones are usual: shared attention over two inputs.
    """
    agreeing = 0
    of_other: dict[str, str] = {}
    for name, shape in matrices.items():
        axis = _width_axis(name)
        if axis is None:
            continue
        if shape[axis] == width:
            agreeing += 1
        else:
            of_other[name] = f"has the shape {list(shape)}, but hidden_size is {width:,}"
    of_other |= _of_other_size(evidence, width)
    if len(of_other) > agreeing:
        name, message = next(iter(of_other.items()))
        yield Finding("QL115", message, name)


#: methods whose shapes only fix the product of bits and group size
_PRODUCT_METHODS: Final = ("mlx", "metal")


def row_lengths(evidence: Evidence) -> Iterator[Finding]:
    """QL303: words of MLX whose declared bits make rows that the model cannot have, and other bits rows that it has."""
    declared = evidence.declared
    text = None if evidence.is_partial else _text(evidence)
    if declared is None or declared.method not in _PRODUCT_METHODS or text is None or text.width is None:
        return
    from quantlevels.schemes.mlx import equal_readings  # here: only these methods need it

    for judged in evidence.judged:
        weight = judged.weight
        modules = [module for module in judged.modules if _width_axis(module) == 1]
        if isinstance(weight.level, UnknownType) or not (modules and weight.shape and weight.group_size):
            continue
        columns, group_size = weight.shape[-1], weight.group_size
        for bits, group in equal_readings(weight.level.bits_per_param, group_size):
            if columns != text.width and columns * group == text.width * group_size:
                message = (
                    f"{weight.level} in groups of {group_size} has rows of {columns:,}, but {bits} bits in groups of "
                    f"{group} has rows of {text.width:,}, the hidden_size"
                )
                yield Finding("QL303", message + and_others(modules[1:]), modules[0])


def _width_axis(module: str) -> int | None:
    """The axis along which a projection of a layer is as long as the model is wide; None for other modules."""
    if not _LAYER.match(module):
        return None
    last = module.rpartition(".")[2]
    if last in _FROM_WIDTH:
        return 1
    return 0 if last in _TO_WIDTH else None


def _of_other_size(evidence: Evidence, width: int) -> dict[str, str]:
    """Quantized projections, one of each kind, whose number of weights is not that of whole rows or columns."""
    return {
        modules[0]: f"has {weight.parameters:,} weights, not a multiple of hidden_size, {width:,}"
        for weight, modules in evidence.quantized()
        if weight.parameters % width and _width_axis(modules[0]) is not None
    }


def _embedding(name: str, shape: tuple[int, ...], text: _Text) -> Iterator[Finding]:
    rows, width = shape
    if width != text.width:
        yield Finding("QL115", f"has the shape {list(shape)}, but hidden_size is {text.width:,}", name)
    elif text.vocabulary and rows < text.vocabulary:
        yield Finding("QL115", f"has {rows:,} rows, but vocab_size is {text.vocabulary:,}", name)


def _matrices(evidence: Evidence) -> dict[str, tuple[int, ...]]:
    """Unquantized matrices by module, one of each kind of modules that are alike, with their shapes."""
    wanted: set[str] = set()
    for _, modules in evidence.plain_matrices():
        wanted.update(f"{module}.weight" for module in modules[:_LISTED])
    return {
        tensor.name.removesuffix(".weight"): tensor.shape
        for tensor in evidence.checkpoint.tensors
        if tensor.name in wanted and len(tensor.shape) == 2
    }
