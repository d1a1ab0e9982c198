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
    """QL207: files without a single tensor."""
    is_told = any(finding.code == "QL207" for finding in evidence.checkpoint.findings)
    if evidence.stored.tensors or evidence.is_partial or is_told:
        return
    files = evidence.checkpoint.files
    yield Finding("QL207", "the header lists no tensors", files[0].path if files else "")
