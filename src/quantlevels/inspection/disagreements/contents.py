"""What a checkpoint is at all: QL207, QL401."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quantlevels.findings import Finding

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence


def adapter(evidence: Evidence) -> Iterator[Finding]:
    """QL401: the matrices of an adapter."""
    yield Finding("QL401", "low-rank matrices of an adapter, not a model: its size is not the model's")


def no_weights(evidence: Evidence) -> Iterator[Finding]:
    """QL207: a folder whose files hold no tensor; one file without tensors, given by name, is what it is."""
    # a user who names an empty shard knows what it is; in a folder it hides that the weights are elsewhere
    checkpoint = evidence.checkpoint
    if any(checkpoint.path_of(file.path) == str(checkpoint.path) for file in checkpoint.files):
        return
    is_told = any(finding.code == "QL207" for finding in checkpoint.findings)
    if evidence.stored.tensors or evidence.is_partial or is_told:
        return
    where = checkpoint.files[0].path if checkpoint.files else ""
    yield Finding("QL207", f"the {checkpoint.format} header lists no tensors", where)
