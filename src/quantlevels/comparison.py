"""Two checkpoints side by side: totals, levels in bytes, and every weight that is not stored alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from attrs import frozen

from quantlevels.errors import CheckpointError
from quantlevels.inspection import Inspection, inspect
from quantlevels.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.checkpoint.tensor import UnknownType

Level: TypeAlias = "QuantizationLevel | UnknownType"


@final
@frozen
class Recipe:
    """How a weight is stored, apart from its size; ``code_bits`` is what a code takes, packing and padding included."""

    level: Level
    group_size: int | None
    symmetric: bool | None
    code_bits: Fraction | None


@final
@frozen(kw_only=True)
class Change:
    """A weight that both checkpoints have, of different size or stored differently.

    Args:
        name: as the first checkpoint has it.
        before, after: its recipes; several where what is one weight here is many there, as experts are.
        bytes_before, bytes_after: its bytes, scales and all.
        parameters_before, parameters_after: its logical weights.
    """

    name: str
    before: tuple[Recipe, ...]
    after: tuple[Recipe, ...]
    bytes_before: int
    bytes_after: int
    parameters_before: int
    parameters_after: int


@final
@frozen(kw_only=True)
class Delta:
    """What one kind of storage takes in either checkpoint, in bytes."""

    level: Level
    group_size: int | None
    before: int
    after: int

    @property
    def gained(self) -> int:
        """Bytes more in the second; negative where it has less."""
        return self.after - self.before


@final
@frozen(kw_only=True)
class Comparison:
    """Two inspections side by side.

    Args:
        before, after: the inspections.
        levels: bytes by level and group size, the largest change first.
        changed: weights of different size, or stored differently.
        only_before, only_after: names of weights that one alone has.
    """

    before: Inspection
    after: Inspection
    levels: tuple[Delta, ...]
    changed: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both have the same weights, of the same sizes, by the same recipe."""
        return not (self.changed or self.only_before or self.only_after)

    def to_record(self) -> dict[str, Any]:  # Any: a JSON object
        """The record that ``quantlevels diff --json`` prints."""
        return {
            "schema_version": 1,
            "same": self.same,
            "before": _totals(self.before),
            "after": _totals(self.after),
            "levels": [
                {
                    "level": _name(it.level),
                    "group_size": it.group_size,
                    "bytes_before": it.before,
                    "bytes_after": it.after,
                }
                for it in self.levels
            ],
            "changed": [
                {
                    "weight": it.name,
                    "before": [_recipe(recipe) for recipe in it.before],
                    "after": [_recipe(recipe) for recipe in it.after],
                    "bytes_before": it.bytes_before,
                    "bytes_after": it.bytes_after,
                    "parameters_before": it.parameters_before,
                    "parameters_after": it.parameters_after,
                }
                for it in self.changed
            ],
            "only_before": list(self.only_before),
            "only_after": list(self.only_after),
        }


def _name(level: Level) -> str:
    return level.name if isinstance(level, QuantizationLevel) else str(level)


def _recipe(recipe: Recipe) -> dict[str, Any]:  # Any: a JSON object
    return {
        "level": _name(recipe.level),
        "group_size": recipe.group_size,
        "symmetric": recipe.symmetric,
        "code_bits": None if recipe.code_bits is None else float(recipe.code_bits),
    }


def _totals(report: Inspection) -> dict[str, Any]:  # Any: a JSON object
    stored = report.to_record()["stored"]
    return {
        "path": str(report.path),
        "format": report.format,
        **{
            key: stored[key]
            for key in ("parameters", "quantized_parameters", "tensors", "tensor_bytes", "bits_per_weight")
        },
    }


def compare(before: str | PathLike[str], after: str | PathLike[str]) -> Comparison:
    """Two checkpoints side by side, weight by weight.

    Names are compared letter by letter; those of a GGUF file are first matched with those of ``transformers``.

    Raises:
        CheckpointError: if one cannot be read, or is a config file alone.
        ConfigError: for a config file with values that would mislead.
    """
    return compared(inspect(before), inspect(after))


def compared(before: Inspection, after: Inspection) -> Comparison:
    """The comparison of two inspections.

    Raises:
        CheckpointError: if one is of a config file alone.
    """
    for report in (before, after):
        if report.stored is None:
            raise CheckpointError(report.path, "has no weights to compare; name the checkpoint itself")
    across = (before.format == "gguf") != (after.format == "gguf")
    old, new = _weights(before, across), _weights(after, across)
    both = [name for name in old if name in new]
    changed = [
        Change(
            name=old[name].name,
            before=old[name].recipes,
            after=new[name].recipes,
            bytes_before=old[name].nbytes,
            bytes_after=new[name].nbytes,
            parameters_before=old[name].parameters,
            parameters_after=new[name].parameters,
        )
        for name in both
        if set(old[name].recipes) != set(new[name].recipes) or old[name].parameters != new[name].parameters
    ]
    return Comparison(
        before=before,
        after=after,
        levels=_deltas(before, after),
        changed=tuple(changed),
        only_before=tuple(weight.name for name, weight in old.items() if name not in new),
        only_after=tuple(weight.name for name, weight in new.items() if name not in old),
    )


def _deltas(before: Inspection, after: Inspection) -> tuple[Delta, ...]:
    totals: dict[tuple[Level, int | None], list[int]] = defaultdict(lambda: [0, 0])
    for side, report in enumerate((before, after)):
        for stored in report.stored.levels if report.stored else ():
            totals[stored.level, stored.group_size][side] += stored.nbytes
    deltas = [Delta(level=level, group_size=group, before=a, after=b) for (level, group), (a, b) in totals.items()]
    return tuple(sorted(deltas, key=lambda it: (-abs(it.gained), -it.after)))


# ------------------------------------------------------------------------------------------------------- names


@final
@frozen
class _Weight:
    """A weight under the name both checkpoints know it by."""

    name: str
    recipes: tuple[Recipe, ...]
    nbytes: int
    parameters: int


#: What `transformers` calls a module of a layer → what llama.cpp does: gguf-py's tensor_mapping.py
_LAYER_NAMES: Final[dict[str, str]] = {
    r"input_layernorm": "attn_norm",
    r"self_attn\.([qkv])_proj": r"attn_\1",
    r"self_attn\.qkv_proj": "attn_qkv",
    r"self_attn\.o_proj": "attn_output",
    r"self_attn\.([qk])_norm": r"attn_\1_norm",
    r"self_attn\.sinks": "attn_sinks",
    r"self_attn\.q_([ab])_proj": r"attn_q_\1",
    r"self_attn\.q_a_layernorm": "attn_q_a_norm",
    r"self_attn\.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    r"self_attn\.kv_a_layernorm": "attn_kv_a_norm",
    r"self_attn\.([k]?v?)_b_proj": r"attn_\1_b",
    r"post_attention_layernorm": "ffn_norm",
    r"pre_feedforward_layernorm": "ffn_norm",
    r"post_feedforward_layernorm": "post_ffw_norm",
    r"(?:mlp|feed_forward)\.(gate|up|down)_proj": r"ffn_\1",
    r"mlp\.gate_up_proj": "ffn_up",
    r"(?:mlp|block_sparse_moe|feed_forward)\.(?:gate|router)": "ffn_gate_inp",
    r"(?:mlp|feed_forward)\.experts\.(?:\d+\.)?(gate|up|down)_proj": r"ffn_\1_exps",
    r"mlp\.experts\.gate_up_proj": "ffn_gate_up_exps",
    r"block_sparse_moe\.experts\.\d+\.w1": "ffn_gate_exps",
    r"block_sparse_moe\.experts\.\d+\.w2": "ffn_down_exps",
    r"block_sparse_moe\.experts\.\d+\.w3": "ffn_up_exps",
    r"mlp\.shared_experts?\.(gate|up|down)_proj": r"ffn_\1_shexp",
    r"mlp\.shared_expert_gate": "ffn_gate_inp_shexp",
    r"mlp\.gate\.e_score_correction_bias": "exp_probs_b.bias",
}
_NAMES: Final[dict[str, str]] = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
#: Models that norm both before and after: what stands after attention is not the norm of the feed-forward.
_SANDWICH: Final = "pre_feedforward_layernorm"

_LAYER: Final = re.compile(r"(?:model\.|language_model\.|text_model\.)*layers\.(\d+)\.(.+?)(\.bias)?")
_OUTSIDE: Final = re.compile(r"(?:model\.|language_model\.|text_model\.)*(embed_tokens|norm|lm_head)(\.bias)?")
_LAYER_RULES: Final = [(re.compile(name), given) for name, given in _LAYER_NAMES.items()]


def gguf_name(name: str, *, sandwich: bool = False) -> str:
    """What llama.cpp calls a module of ``transformers``; the name itself where it is not known to have another.

    Args:
        name: a module, without ``.weight``.
        sandwich: whether the model norms before and after its feed-forward part, as Gemma does.
    """
    if outside := _OUTSIDE.fullmatch(name):
        return _NAMES[outside[1]] + (outside[2] or "")
    if not (layer := _LAYER.fullmatch(name)):
        return name
    number, inner, bias = layer[1], layer[2], layer[3] or ""
    if sandwich and inner == "post_attention_layernorm":
        return f"blk.{number}.post_attention_norm"
    for pattern, given in _LAYER_RULES:
        if match := pattern.fullmatch(inner):
            return f"blk.{number}.{match.expand(given)}{bias}"
    return name


def _weights(report: Inspection, across: bool) -> Mapping[str, _Weight]:
    """Name → weight; what falls together under one name, as experts do in GGUF, is one weight."""
    parts = [(name.removesuffix(".weight"), part) for name, part in report.weights()]
    translate = across and report.format != "gguf"
    sandwich = translate and any(_SANDWICH in name for name, _ in parts)
    found: dict[str, _Weight] = {}
    for name, part in parts:
        recipe = Recipe(part.level, part.group_size, part.symmetric, part.code_bits)
        key = gguf_name(name, sandwich=sandwich) if translate else name
        other = found.get(key)
        if other is None:
            found[key] = _Weight(name, (recipe,), part.nbytes, part.parameters)
        else:
            recipes = other.recipes if recipe in other.recipes else (*other.recipes, recipe)
            nbytes, parameters = other.nbytes + part.nbytes, other.parameters + part.parameters
            found[key] = _Weight(other.name, recipes, nbytes, parameters)
    return found
