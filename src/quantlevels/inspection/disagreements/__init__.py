"""Verdicts: where what is declared and what is stored disagree.

One rule is one function from the evidence to findings; `RULES` lists them all. A new finding takes a line in
``findings.py``, a rule here, and a section in ``explanations.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from quantlevels.inspection.disagreements import claims, configs, contents, geometry, modules, storage
from quantlevels.inspection.disagreements.evidence import Evidence
from quantlevels.inspection.disagreements.storage import layout_problems

if TYPE_CHECKING:
    from quantlevels.container import Checkpoint
    from quantlevels.findings import Finding
    from quantlevels.inspection.totals import StoredTotals
    from quantlevels.schemes.declaration import Declared
    from quantlevels.schemes.folding import Folding

Rule: TypeAlias = Callable[[Evidence], Iterator["Finding"]]


def _gguf_labels(evidence: Evidence) -> Iterator[Finding]:
    """The rules on the labels and names of GGUF files."""
    if evidence.is_gguf:  # other files do not need llama.cpp's tables, which take time to import
        from quantlevels.inspection.disagreements import labels

        for rule in (labels.label_mismatch, labels.row_fallback, labels.file_name):
            yield from rule(evidence)


#: every rule; findings are sorted afterwards, so only the place of the last rule matters
RULES: Final[tuple[Rule, ...]] = (
    claims.parameter_claim,
    claims.undeclared_quantization,
    claims.not_quantized,
    claims.dtype_mismatch,
    storage.other_width,
    storage.other_format,
    storage.other_layout,
    modules.skipped_but_quantized,
    modules.target_not_quantized,
    _gguf_labels,
    configs.configs_disagree,
    geometry.layers,
    geometry.shapes,
    geometry.row_lengths,
    contents.no_weights,
    modules.patterns_not_read,  # after all rules that match names
)


def disagreements(
    checkpoint: Checkpoint, declared: Declared | None, stored: StoredTotals | None, folding: Folding
) -> Iterator[Finding]:
    """Every finding that the declaration and the weights of a checkpoint give together, each with its evidence."""
    if stored is None:
        return
    evidence = Evidence(checkpoint=checkpoint, declared=declared, stored=stored, folding=folding)
    yield from layout_problems(evidence)
    # an adapter repeats the config of its base model, so nothing that it declares is about these tensors
    if evidence.is_adapter:
        yield from contents.adapter(evidence)
        return
    for rule in RULES:
        yield from rule(evidence)
