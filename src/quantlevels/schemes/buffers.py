"""Tensors of a model that are not parameters: positions, masks, rotary caches, running statistics, quantizer counters.

Told by the last part of their name, and for a few names that parameters have as well, by their shape or their module.
Integers of 64 bits and booleans are buffers under any name: no quantizer packs codes in booleans, and those that pack
them in 64-bit words are read by their packings first.
"""

from __future__ import annotations

from typing import Final

from quantlevels.container import UnknownType
from quantlevels.scheme import COMMON_SIDES, TensorInfo

#: Last parts of names, of any module. Source: the buffers that transformers 5.23.0, timm, diffusers 0.42, torchvision
#: and Meta's and OpenAI's reference models register and save.
_KINDS: Final = {
    "positions": "position_ids position_id token_type_ids relative_position_index relative_position_indices "
    "rel_pos_index relative_coords_table positions position_index time_steps",
    "masks": "attn_mask attention_mask causal_mask mask masks masked_bias tril triangular_mask window_mask "
    "key_padding_mask",
    "rotary caches and sinusoids": "inv_freq original_inv_freq inv_freq_local inv_freq_global cos_cached sin_cached "
    "cos_cache sin_cache cos sin cos_sin_cache freqs_cis freqs_cos freqs_sin rotary_pos_emb_cache _float_tensor",
    "running statistics and counters": "running_mean running_var running_std num_batches_tracked num_updates "
    "embed_avg cluster_size ema_cluster_size embed_ema inited initted initialized iteration steps global_step",
    "observers of torch.ao and ModelOpt, whose models are floats": "fake_quant_enabled observer_enabled min_val "
    "max_val min_vals max_vals eps _amax _global_amax _pre_quant_scale",
    "tables of experts by token": "tid2eid",
    "state of NVIDIA Transformer Engine": "_extra_state",
    "settings of CTranslate2": "rotary_base rotary_scaling_factor rotary_low_freq_factor rotary_high_freq_factor "
    "scale_embeddings multiply_by_sqrt_depth",
    "what msModelSlim applies to activations": "heads_rotation kronecker_rotation_m kronecker_rotation_n mul_scale",
}
_NAMES: Final = frozenset(" ".join(_KINDS.values()).split())
#: Last parts of modules that hold nothing but rotary caches.
ROTARY_MODULES: Final = ("rope", "rotary_emb", "rotary", "rotary_pos_emb", "rope_embed")
#: Last parts of modules whose ``weight`` is a table of places, in GGUF files.
_TABLE_MODULES: Final = frozenset({"ffn_gate_tid2eid"})
#: msModelSlim's quantized attention.
_ATTENTION_MODULES: Final = ("fa_q", "fa_k", "fa_v", "fa_p")
#: Last part of a name → the modules below which it is a buffer.
_BELOW: Final = {
    **dict.fromkeys(("freqs", "inv_freqs"), ROTARY_MODULES),
    **dict.fromkeys(("scale", "offset"), _ATTENTION_MODULES),
    "config": ("comfy_attention",),
}
#: Types that index, count or mask under any name.
_INDEX_TYPES: Final = ("Bool", "Int64", "UInt64")


def is_common(suffix: str) -> bool:
    """Whether the last part of a name alone says what a tensor is, parameter or buffer."""
    return suffix in ("weight", "bias") or suffix in _NAMES or suffix in COMMON_SIDES or suffix in _BELOW


def is_buffer(module: str, suffix: str, tensor: TensorInfo) -> bool:
    """Whether a tensor that no packing explains is a buffer.

    Args:
        module: the name of its module; models repeat modules, so any one of those alike.
        suffix: the last part of its name.
        tensor: its type and shape.
    """
    suffix = suffix.rpartition("/")[2]  # names of CTranslate2 and of JAX have no dots
    if suffix in _NAMES or tensor.is_a(*_INDEX_TYPES):
        return True
    if suffix in COMMON_SIDES:  # of activations and caches, or beside a weight that is not quantized after all
        return True
    last = module.rpartition(".")[2]
    if last in _TABLE_MODULES or last in _BELOW.get(suffix, ()):
        return True
    if suffix == "bias":  # the causal masks of GPT-2 and GPT-NeoX
        return len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1) and tensor.shape[2] == tensor.shape[3] > 1
    return _is_integer(tensor) and tensor.elements <= 1  # a counter: no packed weight is a single integer


def _is_integer(tensor: TensorInfo) -> bool:
    return not isinstance(tensor.dtype, UnknownType) and tensor.dtype.kind in ("int", "uint", "bool")
