"""One disagreement or defect of a checkpoint, with a stable code."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, final

from attrs import field, frozen

Severity: TypeAlias = Literal["error", "warning", "info"]

#: code → (slug, severity)
CODES: Final[dict[str, tuple[str, Severity]]] = {
    "QL101": ("wider-than-declared", "error"),
    "QL102": ("narrower-than-declared", "error"),
    "QL103": ("not-quantized", "error"),
    "QL104": ("undeclared-quantization", "warning"),
    "QL105": ("dtype-mismatch", "error"),
    "QL106": ("label-mismatch", "error"),
    "QL107": ("parameter-claim", "warning"),
    "QL108": ("skipped-but-quantized", "warning"),
    "QL109": ("target-not-quantized", "warning"),
    "QL110": ("row-fallback", "warning"),
    "QL111": ("other-format", "error"),
    "QL112": ("other-layout", "warning"),
    "QL113": ("configs-disagree", "warning"),
    "QL114": ("file-name", "warning"),
    "QL115": ("geometry", "warning"),
    "QL201": ("missing-shard", "error"),
    "QL202": ("missing-tensor", "error"),
    "QL203": ("duplicate-tensor", "error"),
    "QL204": ("size-claim", "warning"),
    "QL205": ("unreferenced-file", "warning"),
    "QL206": ("truncated", "error"),
    "QL207": ("no-weights", "error"),
    "QL301": ("unknown-type", "error"),
    "QL302": ("unknown-method", "error"),
    "QL303": ("ambiguous-layout", "error"),
    "QL304": ("unexplained-tensor", "error"),
    "QL305": ("unusable-config", "error"),
    "QL306": ("unread-setting", "info"),
    "QL401": ("adapter", "info"),
    "QL402": ("several-models", "info"),
    "QL501": ("unexpected-level", "error"),
    "QL502": ("too-many-bits", "error"),
    "QL503": ("unexpected-parameters", "error"),
    "QL601": ("not-finite", "error"),
    "QL602": ("blank-region", "error"),
    "QL603": ("zero-weight", "error"),
    "QL604": ("dead-scales", "error"),
    "QL605": ("constant-codes", "error"),
    "QL606": ("implausible-magnitude", "error"),
    "QL607": ("byte-order", "error"),
    "QL611": ("checksum-mismatch", "error"),
    "QL621": ("upcast", "warning"),
    "QL622": ("dequantized", "warning"),
    "QL623": ("unused-codes", "warning"),
}


def pluralize(count: int, what: str) -> str:
    """A count with its noun: ``1 tensor``, ``1,024 tensors``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _check_code(finding: Finding, attribute: object, code: str) -> None:
    if code not in CODES:
        raise ValueError(f"unknown finding code {code!r}")


@final
@frozen
class Finding:
    """What is wrong, how badly, and where.

    Args:
        code: a key of ``CODES``, such as ``QL105``.
        message: one line with the evidence: declared and stored values, counts, bytes.
        where: the tensor, module or file it is about; empty for the whole checkpoint.
    """

    code: str = field(validator=_check_code)
    message: str
    where: str = ""

    @property
    def slug(self) -> str:
        """The code in words, such as ``dtype-mismatch``."""
        return CODES[self.code][0]

    @property
    def severity(self) -> Severity:
        """``error`` fails a verification, ``warning`` only a strict one, ``info`` none."""
        return CODES[self.code][1]

    def to_record(self) -> dict[str, str]:
        """The finding as ``inspect --json`` prints it."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "where": self.where}

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.code} {self.slug}: {place}{self.message}"
