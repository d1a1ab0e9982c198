"""What the rules look at: a checkpoint, its claims, and its weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, final

from attrs import frozen

from quantlevels.container import Checkpoint, UnknownType
from quantlevels.inspection.disagreements.formats import is_other_format
from quantlevels.schemes.declaration import Declared
from quantlevels.schemes.folding import FoldedWeight, Folding

if TYPE_CHECKING:
    from quantlevels.inspection.totals import StoredTotals
    from quantlevels.scheme import DeclaredLevel


_NUMBER: Final = re.compile(r"\d+")


class Judged(NamedTuple):
    """Quantized modules that are stored alike and declared alike."""

    weight: FoldedWeight
    declared: DeclaredLevel
    modules: list[str]


@final
# a plain dict holds what `cached_property` finds; attrs would write code for each
@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Evidence:
    """A checkpoint, its claims, and its weights.

    Args:
        checkpoint: the tensors, and the config files beside them.
        declared: what is claimed; None if nothing is.
        stored: the totals.
        folding: the weights.
    """

    checkpoint: Checkpoint
    declared: Declared | None
    stored: StoredTotals
    folding: Folding

    @property
    def is_gguf(self) -> bool:
        """Whether types are written on the tensors, under a label for the whole file."""
        return self.checkpoint.container is not None and self.checkpoint.container.llama_cpp

    @property
    def describes_itself(self) -> bool:
        """Whether the container says itself how its tensors are quantized, so that no config has to."""
        return self.checkpoint.container is not None and self.checkpoint.container.self_described

    @property
    def is_partial(self) -> bool:
        """Whether this is one file of several, or not all of them are there."""
        return self.checkpoint.partial

    @cached_property
    def is_adapter(self) -> bool:
        """Whether these are the matrices of an adapter. One beside a model, or in it, makes no adapter of the model."""
        tensors = self.checkpoint.tensors
        low_rank = 0
        if tensors.mention(".lora_"):
            low_rank = sum(tensor.nbytes for tensor in tensors if ".lora_" in tensor.name)
        is_named_so = any(file.path.startswith("adapter") for file in self.checkpoint.files)
        return is_named_so or 2 * low_rank > self.stored.tensor_bytes

    @cached_property
    def claims_levels(self) -> bool:
        """Whether a method declares at which levels the weights are stored."""
        declared = self.declared
        return bool(declared and declared.method and declared.levels and declared.quantized_on_disk)

    @cached_property
    def has_problems(self) -> bool:
        """Whether some layout could not be read."""
        return any(any(weight.problem for weight in weights) for weights, _ in self.folding.alike)

    def quantized(self) -> Iterator[tuple[FoldedWeight, list[str]]]:
        """Each quantized weight, and the modules that have one like it."""
        for weights, modules in self.folding.alike:
            for weight in weights:
                if weight.code_bits is not None:
                    base = weight.name.removesuffix(".weight")
                    if base:  # one of several parameters of a module: experts.gate_up_proj
                        yield weight, [(module + base).removeprefix(".") for module in modules]
                    else:
                        yield weight, modules

    def plain_matrices(self) -> Iterator[tuple[FoldedWeight, list[str]]]:
        """Each unquantized matrix, and the modules that have one like it."""
        for weights, modules in self.folding.alike:
            for weight in weights:
                if weight.name == ".weight" and not weight.quantized and not weight.vector and weight.parameters:
                    yield weight, modules

    @cached_property
    def judged(self) -> Sequence[Judged]:
        """The quantized weights for which a level is declared, whether or not the config skips their modules."""
        if not (self.claims_levels and self.declared) or self.is_gguf:
            return ()
        judged: list[Judged] = []
        for weight, modules in self.quantized():
            judged += (
                Judged(weight, declared, named)
                for declared, named in self.declared.by_level(modules)
                if declared is not None
            )
        # A method may give some modules its alternative level. If it gave no module the declared one, the declaration
        # is wrong, and must not be excused by the alternative.
        kept = {found.declared for found in judged if _is_at(found.declared, found.weight)}
        return [_with_alternative(found) if found.declared in kept else found for found in judged]

    def not_skipped(self, modules: Sequence[str]) -> list[str]:
        """Those of the modules that the config does not leave unquantized."""
        if not (self.declared and self.declared.skipped):
            return list(modules)
        return [module for module in modules if module not in self.declared.skipped_modules]


def _is_at(declared: DeclaredLevel, weight: FoldedWeight) -> bool:
    """Whether codes have the width and the number format of a declared level."""
    if weight.code_bits is None or isinstance(weight.level, UnknownType):
        return False
    is_width = abs(weight.code_bits - declared.level.bits_per_param) < 1
    return is_width and not is_other_format(declared.level, weight.level)


def _with_alternative(found: Judged) -> Judged:
    """A weight at the level that its method may choose instead of the declared one, if it is at that; else itself."""
    alternative = found.declared.alternative
    if alternative is None or _is_at(found.declared, found.weight) or not _is_at(alternative, found.weight):
        return found
    return found._replace(declared=alternative)


def unnumbered(module: str) -> str:
    """The name of a module without the numbers of layers and experts, the same for its siblings."""
    return _NUMBER.sub("#", module)


def and_others(others: Sequence[object]) -> str:
    """How many more there are, for the end of a message."""
    return f" (and {len(others):,} more)" if others else ""
