"""All that llama.cpp does by convention: file types, row fallbacks, mixtures, and what it calls modules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple, final

from attrs import frozen

from quantlevels.errors import UnknownLevelError
from quantlevels.vocabulary.builtin import FP16
from quantlevels.vocabulary.formats import GGML_BLOCKS
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.container import Tensor, UnknownType
    from quantlevels.vocabulary.level import QuantizationLevel

#: Flag in ``general.file_type``: the type was guessed from the tensors. Not a type: the numbers of file types and of
#: tensor types differ as well (huggingface.js #794, vllm #42734).
GUESSED: Final = 1024

#: ``general.file_type`` without ``GUESSED`` → its name in llama.cpp, and the level that most of its quantized weights
#: are meant to have, None if no single level can be expected. Every ``MOSTLY_`` is a mixture. Source: llama.cpp
#: llama.h ``llama_ftype`` and llama-quant.cpp, which makes IQ2_S mostly of the type IQ2_XS, and IQ2_M of IQ2_S.
FILE_TYPES: Final[dict[int, tuple[str, str | None]]] = {
    0: ("ALL_F32", "None"),
    1: ("MOSTLY_F16", "Float16"),
    2: ("MOSTLY_Q4_0", "Q4_0"),
    3: ("MOSTLY_Q4_1", "Q4_1"),
    4: ("MOSTLY_Q4_1_SOME_F16", "Q4_1"),
    5: ("MOSTLY_Q4_2", None),  # of a removed type, as are 6 and 33 to 35
    6: ("MOSTLY_Q4_3", None),
    7: ("MOSTLY_Q8_0", "Q8_0"),
    8: ("MOSTLY_Q5_0", "Q5_0"),
    9: ("MOSTLY_Q5_1", "Q5_1"),
    10: ("MOSTLY_Q2_K", "Q2_K"),
    11: ("MOSTLY_Q3_K_S", "Q3_K"),
    12: ("MOSTLY_Q3_K_M", "Q3_K"),
    13: ("MOSTLY_Q3_K_L", "Q3_K"),
    14: ("MOSTLY_Q4_K_S", "Q4_K"),
    15: ("MOSTLY_Q4_K_M", "Q4_K"),
    16: ("MOSTLY_Q5_K_S", "Q5_K"),
    17: ("MOSTLY_Q5_K_M", "Q5_K"),
    18: ("MOSTLY_Q6_K", "Q6_K"),
    19: ("MOSTLY_IQ2_XXS", "IQ2_XXS"),
    20: ("MOSTLY_IQ2_XS", "IQ2_XS"),
    21: ("MOSTLY_Q2_K_S", "Q2_K"),
    22: ("MOSTLY_IQ3_XS", None),  # IQ3_S and IQ3_XXS, about half each
    23: ("MOSTLY_IQ3_XXS", "IQ3_XXS"),
    24: ("MOSTLY_IQ1_S", "IQ1_S"),
    25: ("MOSTLY_IQ4_NL", "IQ4_NL"),
    26: ("MOSTLY_IQ3_S", "IQ3_S"),
    27: ("MOSTLY_IQ3_M", "IQ3_S"),
    28: ("MOSTLY_IQ2_S", "IQ2_XS"),
    29: ("MOSTLY_IQ2_M", "IQ2_S"),
    30: ("MOSTLY_IQ4_XS", "IQ4_XS"),
    31: ("MOSTLY_IQ1_M", "IQ1_M"),
    32: ("MOSTLY_BF16", "BFloat16"),
    33: ("MOSTLY_Q4_0_4_4", None),
    34: ("MOSTLY_Q4_0_4_8", None),
    35: ("MOSTLY_Q4_0_8_8", None),
    36: ("MOSTLY_TQ1_0", "TQ1_0"),
    37: ("MOSTLY_TQ2_0", "TQ2_0"),
    38: ("MOSTLY_MXFP4_MOE", "MXFP4"),  # the experts; all else is Q8_0
    39: ("MOSTLY_NVFP4", "NVFP4"),
    40: ("MOSTLY_Q1_0", "Q1_0"),
    41: ("MOSTLY_Q2_0", "Q2_0"),
}

#: Weights that a label is not about: llama-quantize gives them a type of their own. Source: llama-quant.cpp,
#: the branches for output.weight and token_embd.weight.
UNLABELLED: Final = ("token_embd", "output", "per_layer_token_embd")
#: Weights that mixtures give wider types than the label's. Source: llama.cpp llama-quant.cpp.
WIDENED_BY_MIXTURES: Final = ("attn_v.", "attn_qkv.", "attn_output.", "ffn_down")

# -- recipes: which type llama-quantize gives each tensor --------------------------------------------------------------

#: Words of llama-quantize for a recipe that has another name.
#: Source: tools/quantize/quantize.cpp, where Q4_K is the same file type as Q4_K_M.
_RECIPE_ALIASES: Final = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP32": "F32", "FP16": "F16"}
#: Recipe → the type it begins with, if that is not the level of its label: llama_ftype_get_default_type.
_DEFAULT_TYPES: Final = {"IQ3_XS": "IQ3_S"}
#: File type → recipe, but for those whose types ggml has removed, and the one that was never written.
RECIPES: Final[dict[str, str]] = {
    word.removeprefix("MOSTLY_").removeprefix("ALL_"): level or _DEFAULT_TYPES[word.removeprefix("MOSTLY_")]
    for word, level in FILE_TYPES.values()
    if (level or word.removeprefix("MOSTLY_") in _DEFAULT_TYPES) and not word.endswith("SOME_F16")
}

#: Kind of tensor → parts of the names of such tensors; the first kind that fits counts.
_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "value": ("attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight"),
    "key": ("attn_k.weight",),
    "query": ("attn_q.weight",),
    "attention output": ("attn_output.weight",),
    "up": ("ffn_up",),
    "gate": ("ffn_gate",),
    "down": ("ffn_down",),
}
_EMBEDDINGS: Final = ("token_embd.weight", "per_layer_token_embd.weight")
_OUTPUT: Final = "output.weight"
#: Parts of the names of matrices that llama-quantize leaves as they are: tensor_allows_quantization. Most are small:
#: the routers of experts, the convolutions of Mamba, the mixing weights of RWKV.
_NEVER_QUANTIZED: Final = (
    *("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj"),
    *("ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "attn_rel_b.weight"),
    *("time_mix_first.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight"),
    *(f"time_mix_{letter}.weight" for letter in ("w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2")),
    *(".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger"),
    *("a.rvq.codebook", "mm.a.code_embd"),
)
#: Matrices that llama-quantize leaves alone by their whole name, though their names end like those of weights.
_POSITIONS: Final = ("position_embd.weight", "token_types.weight")


@final
@frozen(kw_only=True)
class ModelFacts:
    """What the recipes of llama.cpp ask of a model beside the names and shapes of its tensors.

    Args:
        architecture: ``general.architecture``.
        layers: all of them, those that predict further tokens too.
        experts: of each layer; 0 if it is dense.
        heads_per_kv_head: queries that share a key: 1 without grouped-query attention.
        has_imatrix: whether an importance matrix was used.
    """

    architecture: str = ""
    layers: int = 0
    experts: int = 0
    heads_per_kv_head: int = 1
    has_imatrix: bool = False

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp takes it for a 70B model with grouped queries, whose values get more bits."""
        if self.layers != _LAYERS_OF_70B:
            return False
        return self.architecture == "qwen2" or (self.architecture == "llama" and self.heads_per_kv_head > 1)


#: How llama.cpp knows a 70B model, whose parameters it does not count: Llama 70B and Qwen 72B have 80 layers. So has
#: LLaMA 65B, but without grouped queries.
_LAYERS_OF_70B: Final = 80
_BLOCK_NUMBER: Final = re.compile(r"blk\.(\d+)\.")


class _Place(NamedTuple):
    """A tensor among those of its kind, as the rules of recipes see it."""

    facts: ModelFacts
    #: its number from 0, and how many there are
    number: int
    total: int

    @property
    def is_falcon(self) -> bool:
        return self.facts.architecture == "falcon"

    def in_first(self, share: int) -> bool:
        """Whether it is in the first eighth, or sixteenth, of the layers."""
        return self.number < self.total // share

    def has_more_bits(self) -> bool:
        """Whether it is in the first or last eighth, or one of every three between: use_more_bits."""
        eighth = self.total // 8
        return self.number < eighth or self.number >= 7 * self.total // 8 or (self.number - eighth) % 3 == 2


class _Rule(NamedTuple):
    """A type that some recipes give some tensors; the first that fits counts."""

    recipes: str
    kind: str
    level: str
    when: Callable[[_Place], bool] = lambda place: True


#: The recipes below 3 bits: they have a branch of their own in llama-quant.cpp, before all others.
_LOW: Final = "IQ2_XXS IQ2_XS IQ1_S IQ2_S IQ2_M IQ1_M"
#: The recipes that give the attention output of Mixtral (8 experts) more bits: it is small beside the experts.
_MIXED_EXPERTS: Final = "Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS"


def _has_8_experts(place: _Place) -> bool:
    return place.facts.experts == 8


def _shares_keys(place: _Place) -> bool:
    return place.facts.heads_per_kv_head >= 4


def _is_early(place: _Place) -> bool:
    return place.in_first(8)


def _is_early_without_imatrix(place: _Place) -> bool:
    return place.in_first(8) and not place.facts.has_imatrix


def _is_dense_output(place: _Place) -> bool:
    return not place.is_falcon and place.facts.experts != 8


#: llama_tensor_get_type_impl of llama-quant.cpp at 007dbbf3, a branch per row.
_RULES: Final[tuple[_Rule, ...]] = (
    _Rule(_LOW, "value", "Q4_K", lambda place: _shares_keys(place) or place.facts.experts >= 4),
    _Rule("IQ2_S IQ2_M", "value", "IQ3_S"),
    _Rule("IQ2_XXS IQ2_XS IQ1_S IQ1_M", "value", "Q2_K"),
    _Rule(_LOW, "key", "Q4_K", _has_8_experts),
    _Rule("IQ2_S IQ2_M", "down", "IQ3_S", _is_early),
    _Rule("IQ2_XXS IQ2_XS IQ1_S IQ1_M", "down", "Q2_K", _is_early),
    _Rule(_LOW, "attention output", "Q5_K", _has_8_experts),
    _Rule("IQ1_S IQ1_M", "attention output", "IQ2_XXS"),
    _Rule("IQ2_S IQ2_M", "attention output", "IQ3_S"),
    _Rule("", "value", "Q8_0", _has_8_experts),
    _Rule("Q2_K", "value", "Q4_K", _shares_keys),
    _Rule("Q2_K", "value", "Q3_K"),
    _Rule("Q2_K_S", "value", "Q4_K", _shares_keys),
    _Rule("IQ3_XXS", "value", "Q4_K", _shares_keys),
    _Rule("IQ3_XXS", "value", "IQ3_S", lambda place: not place.facts.has_imatrix),
    _Rule("IQ3_XS IQ3_S", "value", "Q4_K", _shares_keys),
    _Rule("IQ3_M", "value", "Q4_K"),
    _Rule("Q3_K_M", "value", "Q5_K", lambda place: place.number < 2),
    _Rule("Q3_K_M", "value", "Q4_K"),
    _Rule("Q3_K_L", "value", "Q5_K"),
    _Rule("IQ4_NL IQ4_XS", "value", "Q5_K", _shares_keys),
    _Rule("Q4_K_M Q5_K_M", "value", "Q6_K", _Place.has_more_bits),
    _Rule("Q4_K_S", "value", "Q5_K", lambda place: place.number < 4),
    _Rule("", "key", "Q8_0", _has_8_experts),
    _Rule("IQ3_XS", "key", "IQ3_XXS"),
    _Rule("IQ3_XXS", "key", "IQ2_S"),
    _Rule("IQ3_XS", "query", "IQ3_XXS"),
    _Rule("IQ3_XXS", "query", "IQ2_S"),
    _Rule("Q2_K", "down", "Q3_K"),
    _Rule("Q2_K_S", "down", "Q4_K", _is_early),
    _Rule("IQ3_XXS", "down", "Q4_K", _is_early_without_imatrix),
    _Rule("IQ3_XXS", "down", "Q3_K", lambda place: not place.facts.has_imatrix),
    _Rule("Q3_K_M", "down", "Q5_K", lambda place: place.in_first(16)),
    _Rule("Q3_K_M", "down", "Q4_K", lambda place: not place.is_falcon or place.has_more_bits()),
    _Rule("IQ3_M", "down", "Q4_K", _is_early),
    _Rule("IQ3_M", "down", "Q4_K", lambda place: _has_8_experts(place) and place.has_more_bits()),
    _Rule("Q3_K_L", "down", "Q4_K", lambda place: place.is_falcon),
    _Rule("Q3_K_L", "down", "Q5_K"),
    _Rule("Q4_K_M", "down", "Q6_K", lambda place: place.is_falcon and place.in_first(16)),
    _Rule("Q4_K_M", "down", "Q5_K", lambda place: place.is_falcon and place.has_more_bits()),
    _Rule("Q4_K_M", "down", "Q6_K", lambda place: not place.is_falcon and place.has_more_bits()),
    _Rule("IQ4_NL IQ4_XS", "down", "Q5_K", _is_early_without_imatrix),
    _Rule("Q5_K_M", "down", "Q6_K", _Place.has_more_bits),
    _Rule("Q4_K_S", "down", "Q5_K", lambda place: not place.is_falcon and place.in_first(8)),
    _Rule("Q4_0", "down", "Q4_1", lambda place: place.facts.has_imatrix and place.in_first(8)),
    _Rule("Q5_0", "down", "Q5_1", lambda place: place.facts.has_imatrix and place.in_first(8)),
    _Rule(_MIXED_EXPERTS, "attention output", "Q5_K", lambda place: not place.is_falcon and _has_8_experts(place)),
    _Rule("Q2_K", "attention output", "Q3_K", _is_dense_output),
    _Rule("IQ3_XXS", "attention output", "IQ3_S", _is_dense_output),
    _Rule("Q3_K_M IQ3_M", "attention output", "Q4_K", _is_dense_output),
    _Rule("Q3_K_L", "attention output", "Q5_K", _is_dense_output),
    _Rule("Q3_K_L", "attention output", "Q4_K", lambda place: place.is_falcon),
    *(
        _Rule("IQ3_XS", kind, "IQ3_XXS", lambda place: not place.in_first(8) and place.number < 7 * place.total // 8)
        for kind in ("up", "gate")
    ),
)
#: Recipe → type of the token embeddings, if they are not the output matrix as well.
_EMBEDDING_TYPES: Final = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}
_MXFP4_MOE: Final = "MXFP4_MOE"


def recipe_named(word: str) -> str:
    """The recipe that a word of llama-quantize means: ``q4_k`` is Q4_K_M.

    Raises:
        UnknownLevelError: if it has none of that name; it names the closest.
    """
    name = _RECIPE_ALIASES.get(word.upper(), word.upper()).removeprefix("MOSTLY_")
    if name in RECIPES:
        return name
    from difflib import get_close_matches  # here: only a mistake needs it

    raise UnknownLevelError(word, tuple(get_close_matches(name, RECIPES)) or tuple(RECIPES), "recipe of llama.cpp")


def is_quantized(name: str, shape: Sequence[int]) -> bool:
    """Whether llama-quantize quantizes a tensor of llama.cpp's name at all: matrices, but for some small ones."""
    # ggml drops outer axes of one element, so that a 1 x n matrix counts as a vector there
    axes = next((len(shape) - place for place, size in enumerate(shape) if size != 1), 0)
    if axes < 2 or not name.endswith("weight") or name in _POSITIONS:
        return False
    return not any(part in name for part in _NEVER_QUANTIZED)


def recipe_levels(recipe: str, shapes: Mapping[str, Sequence[int]], facts: ModelFacts) -> dict[str, str]:
    """The types that llama-quantize gives tensors, before it looks whether their rows are whole blocks.

    Args:
        recipe: one of `RECIPES`.
        shapes: llama.cpp's name of a tensor, with ``.weight`` → its logical shape, rows last.
        facts: of the model.

    Returns:
        name → name of a level, for the tensors that are quantized.
    """
    names = [name for name in sorted(shapes, key=_by_block) if is_quantized(name, shapes[name])]
    default = RECIPES[recipe]
    if default in ("None", "Float16", "BFloat16"):
        return dict.fromkeys(names, default)
    kinds = {name: _kind(name) for name in names}
    values = sum(kind == "value" for kind in kinds.values())
    seen: Counter[str] = Counter()
    chosen: dict[str, str] = {}
    for name in names:
        kind = kinds[name]
        placeless = _type_by_name(recipe, name, shapes, facts)
        if placeless:
            chosen[name] = placeless
            continue
        # experts are in any order, so their place is their layer's
        by_layer = facts.experts > 1 and kind in ("up", "gate", "down") and recipe not in _LOW.split()
        index = _by_block(name)[0] if by_layer else seen[kind]
        # llama.cpp counts the value matrices of the model: hybrid models have layers without attention
        place = _Place(facts, index, values if kind == "value" else facts.layers)
        chosen[name] = _ruled(recipe, kind, default, place)
        seen[kind] += 1
    return chosen


def _type_by_name(recipe: str, name: str, shapes: Mapping[str, Sequence[int]], facts: ModelFacts) -> str | None:
    """The type of a tensor if its layer does not matter: of the output matrix, the embeddings, MXFP4 experts."""
    # a model without an output matrix multiplies by its embeddings, which then get the type of an output matrix
    if name == _OUTPUT or (_OUTPUT not in shapes and name in _EMBEDDINGS):
        return _output_type(recipe, shapes[name][-1], facts)
    if recipe == _MXFP4_MOE:
        is_stack_of_experts = len(shapes[name]) > 2
        return "MXFP4" if is_stack_of_experts else "Q8_0"
    if name in _EMBEDDINGS:
        return _EMBEDDING_TYPES.get(recipe, RECIPES[recipe])
    return None


def _by_block(name: str) -> tuple[int, str]:
    """The order in which llama.cpp keeps tensors: by block, then by name."""
    match = _BLOCK_NUMBER.match(name)
    if match is None:  # embeddings and the like come before all blocks
        return (-1, name)
    return (int(match[1]), name)


def _kind(name: str) -> str:
    return next((kind for kind, parts in _KINDS.items() if any(part in name for part in parts)), "")


def _output_type(recipe: str, columns: int, facts: ModelFacts) -> str:
    if recipe == _MXFP4_MOE or facts.architecture == "falcon":
        return "Q8_0"
    if columns % levels[RECIPES[recipe]].block.weights:  # Q8_0 has blocks of 32, which tile nearly every row
        return "Q8_0"
    if recipe in (*_LOW.split(), "IQ3_XXS"):
        return "Q5_K"
    return "Q8_0" if recipe == "Q8_0" else "Q6_K"


def _ruled(recipe: str, kind: str, default: str, place: _Place) -> str:
    for rule in _RULES:
        if rule.kind != kind or not rule.when(place):
            continue
        # rules for all recipes are not for the lowest ones, which have their own
        if recipe in rule.recipes.split() or (not rule.recipes and recipe not in _LOW.split()):
            break
    else:
        return _raised(default, kind, recipe, place)
    return _raised(rule.level, kind, recipe, place)


def _raised(level: str, kind: str, recipe: str, place: _Place) -> str:
    """Eight heads share the values of the 70B model: more bits for them cost little."""
    if kind == "value" and place.facts.is_70b and recipe not in _LOW.split() and level in ("Q3_K", "Q4_K"):
        return "Q5_K"
    return level


def model_facts(tensors: Iterable[Tensor], metadata: Mapping[str, object], config: Mapping[str, object]) -> ModelFacts:
    """What recipes ask of a model, from a GGUF's metadata, a config.json, or else the shapes of its tensors.

    Args:
        tensors: under the names of llama.cpp or of ``transformers``.
        metadata: the key-values of a GGUF file; empty for other containers.
        config: the object of a config.json; empty for a GGUF file.
    """
    architecture = str(metadata.get("general.architecture") or config.get("model_type") or "")
    shapes = {given: tensor.shape for tensor in tensors for given in gguf_tensor_names(tensor.name)[:1]}

    def number(key: str, *names: str) -> int | None:
        found = metadata.get(f"{architecture}.{key}") or next((config[name] for name in names if name in config), None)
        return found if isinstance(found, int) and found > 0 else None

    blocks = {_by_block(name)[0] for name in shapes}
    heads = number("attention.head_count", "num_attention_heads")
    kv_heads = number("attention.head_count_kv", "num_key_value_heads")
    if heads and kv_heads:
        shared = heads // kv_heads
    else:  # GGUF gives a list if layers differ, and configs may lack both
        shared = _shared_heads(shapes)
    experts = number("expert_count", "num_local_experts", "num_experts", "n_routed_experts")
    stacks = (shape[0] for name, shape in shapes.items() if "_exps." in name and len(shape) == 3)
    return ModelFacts(
        architecture=architecture,
        layers=number("block_count", "num_hidden_layers") or max(blocks, default=-1) + 1,
        experts=experts or next(stacks, 0),
        heads_per_kv_head=shared,
        has_imatrix="quantize.imatrix.file" in metadata,
    )


def _shared_heads(shapes: Mapping[str, Sequence[int]]) -> int:
    """Queries that share a key, from the rows of the two projections of a layer."""
    for name, shape in shapes.items():
        keys = shapes.get(name.replace("attn_q.weight", "attn_k.weight"))
        if name.endswith("attn_q.weight") and keys and keys[0]:
            return shape[0] // keys[0] or 1
    return 1


def gguf_tensor_names(name: str) -> tuple[str, ...]:
    """What llama.cpp may call a tensor: itself if the name is llama.cpp's already or unknown."""
    module = name.removesuffix(".weight")
    if module == name or module in _OUTSIDE or module.startswith("blk."):
        return (name,)
    return tuple(f"{given}.weight" for given in gguf_names(module)) or (name,)


# -- rows that are not whole blocks, and what is never quantized -------------------------------------------------------

#: ggml type → what llama.cpp takes if a row is not a multiple of its block: tensor_type_fallback in llama-quant.cpp
FALLBACKS: Final[dict[str, str]] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


def row_fallback(level: QuantizationLevel, columns: int) -> QuantizationLevel | None:
    """The type that llama-quantize takes for rows of so many weights in place of a level: tensor_type_fallback.

    Returns:
        the level itself if its blocks tile a row; None if llama-quantize refuses.
    """
    words = level.spellings["ggml"]
    block = next((GGML_BLOCKS[word] for word in words if isinstance(word, int) and word in GGML_BLOCKS), level.block)
    if columns % block.weights == 0:
        return level
    if level.name not in FALLBACKS:
        return None
    fallback = levels[FALLBACKS[level.name]]
    if columns % fallback.block.weights:  # the fallbacks have blocks of 32; what they do not tile stays FP16
        return FP16
    return fallback


def recipe_deviations(
    recipe: str, tensors: Sequence[Tensor], facts: ModelFacts
) -> Iterator[tuple[str, QuantizationLevel, QuantizationLevel | UnknownType]]:
    """The tensors of a GGUF file that are not of the type that a recipe gives them, nor of its fallback.

    Args:
        recipe: one of `RECIPES`.
        tensors: of the file.
        facts: of the model.

    Returns:
        name, the level that llama-quantize gives it, and the level it has.
    """
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    expected = recipe_levels(recipe, shapes, facts)
    for tensor in tensors:
        if tensor.name in expected:
            level = levels[expected[tensor.name]]
            given = row_fallback(level, tensor.shape[-1]) or level
            # a fallback does not deviate from the recipe, and QL110 reports it
            if tensor.dtype not in (level, given):
                yield tensor.name, given, tensor.dtype


#: What it never quantizes and its converter writes as FP32: norms, routers, small convolutions, positions; and what it
#: leaves as it is: tensor_allows_quantization in llama-quant.cpp, prepare_tensors in convert_hf_to_gguf.py
WIDENED_ON_CONVERSION: Final = (
    *(
        "*norm*",
        "*ffn_gate_inp*",
        "*.gate",
        "*.router",
        "*.shared_expert_gate",
        "*conv1d*",
        "*conv.conv",
        "*pos*_emb*",
        "*token_type*",
    ),
    *("*ssm_a", "*A_log"),
)
LEFT_AS_THEY_ARE: Final = (
    *("*altup*", "*laurel*", "*per_layer_model_proj*", "*time_mix_*", "*attn_rel_b", "*indexer.[kq]_proj"),
    *("*.patch_embd*", "*.patch_merger*", "*.rel_pos*", "sam.net_*", "sam.neck.*"),
)

#: What llama.cpp calls a module of a layer → what models of ``transformers`` do; ``{}`` is one of _PARTS.
#: Source: gguf-py 0.19.0 tensor_mapping.py, and the splits and fusions of convert_hf_to_gguf.py
_LAYER: Final[dict[str, str]] = {
    "attn_norm": "input_layernorm ln_1 ln_mlp norm operator_norm attention_norm",
    "attn_norm_2": "ln_attn",
    "attn_qkv": "self_attn.qkv_proj self_attention.query_key_value attention.query_key_value attn.c_attn "
    "attention.wqkv linear_attn.in_proj_qkv",
    "attn_q": "self_attn.q_proj attention.wq attn.attention.q_proj attention.self.query",
    "attn_k": "self_attn.k_proj attention.wk attn.attention.k_proj attention.self.key",
    "attn_v": "self_attn.v_proj attention.wv attn.attention.v_proj attention.self.value",
    "attn_output": "self_attn.o_proj self_attn.out_proj self_attn.dense self_attention.dense attention.dense "
    "attention.wo attn.c_proj attn.attention.out_proj attention.output.dense",
    "attn_q_norm": "self_attn.q_norm self_attn.q_layernorm self_attn.query_layernorm attention.query_layernorm",
    "attn_k_norm": "self_attn.k_norm self_attn.k_layernorm self_attn.key_layernorm attention.key_layernorm",
    "attn_output_norm": "attention.output.LayerNorm",
    "layer_output_norm": "output.LayerNorm",
    "attn_gate": "linear_attn.in_proj_z",
    "attn_sinks": "self_attn.sinks",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_k_b": "self_attn.k_b_proj",
    "attn_v_b": "self_attn.v_b_proj",
    "post_attention_norm": "post_attention_layernorm post_self_attn_layernorm",
    "ffn_norm": "post_attention_layernorm pre_feedforward_layernorm ffn_norm ln_2",
    "post_ffw_norm": "post_feedforward_layernorm post_mlp_layernorm",
    "ffn_{}": "mlp.{}_proj feed_forward.{}_proj",
    "ffn_gate": "feed_forward.w1 mlp.c_fc_0",
    "ffn_up": "mlp.gate_up_proj feed_forward.w3 mlp.fc1 mlp.c_fc mlp.c_fc_1 mlp.dense_h_to_4h intermediate.dense",
    "ffn_down": "feed_forward.w2 mlp.fc2 mlp.c_proj mlp.dense_4h_to_h output.dense",
    "ffn_gate_inp": "mlp.gate mlp.gate.wg mlp.router block_sparse_moe.gate block_sparse_moe.router.layer "
    "feed_forward.gate feed_forward.router",
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias mlp.gate.expert_bias "
    "mlp.moe_statics.e_score_correction_bias block_sparse_moe.e_score_correction_bias",
    "ffn_{}_exps": "mlp.experts.{}_proj feed_forward.experts.{}_proj block_sparse_moe.experts.{}_proj",
    "ffn_{}_exps.bias": "mlp.experts.{}_proj_bias",
    "ffn_gate_exps": "block_sparse_moe.experts.w1",
    "ffn_up_exps": "block_sparse_moe.experts.w3",
    "ffn_down_exps": "block_sparse_moe.experts.w2 block_sparse_moe.output_linear",
    "ffn_gate_up_exps": "mlp.experts.gate_up_proj feed_forward.experts.gate_up_proj block_sparse_moe.input_linear",
    "ffn_gate_up_exps.bias": "mlp.experts.gate_up_proj_bias",
    "ffn_{}_shexp": "mlp.shared_expert.{}_proj mlp.shared_experts.{}_proj mlp.shared_mlp.{}_proj "
    "feed_forward.shared_expert.{}_proj",
    "ffn_down_shexp": "shared_mlp.output_linear",
    "ffn_gate_up_shexp": "shared_mlp.input_linear",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ssm_in": "mixer.in_proj mamba.in_proj linear_attn.in_proj_qkvz",
    "ssm_conv1d": "mixer.conv1d mamba.conv1d linear_attn.conv1d",
    "ssm_x": "mixer.x_proj mamba.x_proj",
    "ssm_dt": "mixer.dt_proj mamba.dt_proj",
    "ssm_dt.bias": "mixer.dt_bias mamba.dt_bias linear_attn.dt_bias",
    "ssm_a": "mixer.A_log mamba.A_log linear_attn.A_log",
    "ssm_d": "mixer.D mamba.D",
    "ssm_norm": "mixer.norm mamba.norm linear_attn.norm",
    "ssm_out": "mixer.out_proj mamba.out_proj linear_attn.out_proj",
    "ssm_ba": "linear_attn.in_proj_ba",
    "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_beta": "linear_attn.in_proj_b",
    "shortconv.conv": "conv.conv",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
    "inp_gate": "per_layer_input_gate",
    "proj": "per_layer_projection",
    "post_norm": "post_per_layer_input_norm",
    "altup_correct_coef": "altup.correction_coefs",
    "altup_correct_scale": "altup.correct_output_scale",
    "altup_predict_coef": "altup.prediction_coefs",
    "altup_router": "altup.modality_router",
    "altup_router_norm": "altup.router_norm",
    "laurel_l": "laurel.linear_left",
    "laurel_r": "laurel.linear_right",
    "laurel_post_norm": "laurel.post_laurel_norm",
    "nextn.eh_proj": "eh_proj",
    "nextn.enorm": "enorm",
    "nextn.hnorm": "hnorm",
    "nextn.embed_tokens": "embed_tokens",
    "nextn.shared_head_norm": "shared_head.norm",
    "nextn.shared_head_head": "shared_head.head",
}
_OUTSIDE: Final[dict[str, str]] = {
    "token_embd": "embed_tokens word_embeddings tok_embeddings embeddings wte embed_in embeddings.word_embeddings",
    "token_embd_norm": "embedding_norm embeddings.LayerNorm",
    "position_embd": "wpe embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "per_layer_token_embd": "embed_tokens_per_layer",
    "per_layer_model_proj": "per_layer_model_projection",
    "per_layer_proj_norm": "per_layer_projection_norm",
    "output_norm": "norm final_layernorm ln_f norm_f final_layer_norm",
    "output": "lm_head output embed_out",
}
_PARTS: Final = ("gate", "up", "down")
#: What transformers or llama.cpp keeps in one tensor → the tensors that the other has for it.
_FUSED: Final[dict[str, tuple[str, ...]]] = {
    "attn_qkv": ("attn_q", "attn_k", "attn_v"),
    "attn_kv_b": ("attn_k_b", "attn_v_b"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
    "ffn_gate_up_shexp": ("ffn_gate_shexp", "ffn_up_shexp"),
}


def _inverted(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for given, names in table.items():
        parts = _PARTS if "{}" in given else ("",)
        for name, part in product(names.split(), parts):
            key = name.replace("{}", part)
            found[key] = (*found.get(key, ()), given.replace("{}", part))
    return found


_LAYER_NAMES: Final = _inverted(_LAYER)
_OUTSIDE_NAMES: Final = _inverted(_OUTSIDE)
#: What stands before the layers in the names of transformers: which wrapper a model has depends on its class alone.
_WRAPPER: Final = r"(?:(?:model|language_model|text_model|transformer|backbone|gpt_neox|bert)\.)*"
_NAME: Final = re.compile(rf"{_WRAPPER}(?:(?:layers|h|encoder\.layer)\.(\d+)\.)?(.+?)(\.bias)?")
#: One expert of many: llama.cpp stacks all of a layer in one tensor, so that their numbers do not matter.
_EXPERT: Final = re.compile(r"\bexperts\.\d+\.")


def gguf_names(name: str) -> tuple[str, ...]:
    """What llama.cpp may call a module of ``transformers``, named without ``.weight``; empty if unknown.

    There are several if that depends on the model.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return ()
    number, inner, bias = match[1], _EXPERT.sub("experts.", match[2]), match[3] or ""
    if number is None:
        return tuple(given + bias for given in _OUTSIDE_NAMES.get(inner, ()))
    return tuple(f"blk.{number}.{given}{bias}" for given in _LAYER_NAMES.get(inner, ()))


def matched(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Each name of ``transformers`` → what a GGUF file with the names ``known`` calls it, itself if it has none.

    Of several possible names, it gets one that the file has and that certainly belongs to no other.
    """
    given = {name: gguf_names(name) for name in names}
    # `post_attention_layernorm` is ffn_norm in Llama and post_attention_norm in Gemma: what is certain decides first
    taken = {candidates[0] for candidates in given.values() if len(candidates) == 1}
    return {name: _best_match(name, candidates, known, taken) for name, candidates in given.items()}


def _best_match(name: str, candidates: Sequence[str], known: Collection[str], taken: Collection[str]) -> str:
    if not candidates:
        return name
    if len(candidates) == 1:
        return candidates[0]
    free = (candidate for candidate in candidates if candidate in known and candidate not in taken)
    return next(free, candidates[0])


def pieces(name: str) -> tuple[str, ...]:
    """The tensors that the other side may have for one tensor of llama.cpp's name; none for most."""
    block, dot, inner = name.rpartition(".")
    if inner == "bias":
        return tuple(f"{piece}.bias" for piece in pieces(block))
    return tuple(f"{block}{dot}{piece}" for piece in _FUSED.get(inner, ()))
