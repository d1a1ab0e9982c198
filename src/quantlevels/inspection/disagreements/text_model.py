"""What a config says of its text model, and which modules belong to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from quantlevels.container import JSON
    from quantlevels.inspection.disagreements.evidence import Evidence

_WRAPPERS: Final = r"(?:(?:model|language_model|text_model|transformer|backbone|gpt_neox|decoder|llm)\.)*"
#: a module of a layer of the text model: where its stack is, and the layer's number
LAYER: Final = rf"({_WRAPPERS}(?:layers|h|blocks))\.(\d{{1,9}})\."
EMBEDDING: Final = rf"{_WRAPPERS}(?:embed_tokens|wte|word_embeddings|embed_in|embeddings)"

#: Last part of a projection's name → the axis along which it is as long as the model is wide. Only names that mean the
#: same in all models: rotary and latent attention have others, of other lengths.
_WIDTH_AXES: Final = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"), -1),
    **dict.fromkeys(("o_proj", "down_proj"), -2),
}
#: keys under which a config of several models keeps that of the text model
_TEXT_CONFIGS: Final = ("text_config", "llm_config", "language_config")
#: keys of an embedding that is narrower than the model, as in OPT and ALBERT; the first that is there counts
_EMBEDDING_WIDTH_KEYS: Final = ("word_embed_proj_dim", "embedding_size", "hidden_size")
_LAYER_KEYS: Final = ("num_hidden_layers", "n_layer")
#: of encoder-decoder models, whose config counts the layers of one half
_TWO_STACKS: Final = ("is_encoder_decoder", "decoder_layers", "encoder_layers")


class TextModel(NamedTuple):
    """What a config says of a text model; None for what it does not say."""

    file: str
    layers: int | None
    width: int | None
    embedding_width: int | None
    vocabulary: int | None


def text_model(evidence: Evidence) -> TextModel | None:
    """What the config says of the text model; None without a config, or if the model has two stacks."""
    file = "config.json"
    config = evidence.checkpoint.configs.get(file)
    if config is None:
        return None
    inner = _inner(config)
    # encoder and decoder may differ in width and depth, and the config gives one number for both
    if any(config.get(key) or inner.get(key) for key in _TWO_STACKS):
        return None
    return TextModel(
        file=file,
        layers=_first(inner, _LAYER_KEYS),
        width=_first(inner, ("hidden_size",)),
        embedding_width=_first(inner, _EMBEDDING_WIDTH_KEYS),
        vocabulary=_first(inner, ("vocab_size",)),
    )


def _inner(config: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """The part of a config that is about the text model."""
    for key in _TEXT_CONFIGS:
        inner = config.get(key)
        if isinstance(inner, dict):
            return inner
    return config


def _first(config: Mapping[str, JSON], keys: Iterable[str]) -> int | None:
    """The first of the keys that has a positive integer."""
    for key in keys:
        value = config.get(key)
        if type(value) is int and value > 0:
            return value
    return None


def width_axis(module: str) -> int | None:
    """The axis along which a projection of a layer is as long as the model is wide; None for other modules."""
    if not re.match(LAYER, module):
        return None
    return _WIDTH_AXES.get(module.rpartition(".")[2])
