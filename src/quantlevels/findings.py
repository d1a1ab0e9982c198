"""One disagreement or defect of a checkpoint, with a stable code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias, TypedDict, final

from attrs import field, frozen

__all__ = ["Finding"]

Severity: TypeAlias = Literal["error", "warning", "info"]

# The first digit is the family: 1 declared beside stored, 2 parts that are missing or too many, 3 what is not
# understood, 4 remarks, 5 requirements of the caller, 6 the weights themselves. A code never changes its meaning.
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


#: a key of `CODES`; the constraint is a keyword of JSON Schema
Code: TypeAlias = Annotated[str, ("enum", tuple(CODES))]


class FindingRecord(TypedDict):
    """One disagreement or defect; ``where`` is empty for the whole checkpoint."""

    code: Code
    severity: Severity
    message: str
    where: str


def code_prefixes(codes: str | Iterable[str]) -> tuple[str, ...]:
    """Finding codes, beginnings of codes, or slugs, as beginnings of codes: ``QL105``, ``QL2``, ``dtype-mismatch``.

    Args:
        codes: several, in any case; a single string is one.

    Raises:
        ValueError: for a word that no code begins with; it names the closest codes and slugs.
    """
    # a string is also an iterable of strings: letter by letter, "QL204" would match every code by its Q
    given = [codes] if isinstance(codes, str) else list(codes)
    return tuple(_code_prefix(word) for word in given)


def _code_prefix(word: str) -> str:
    slugs = {slug: code for code, (slug, _) in CODES.items()}
    prefix = slugs.get(word.lower(), word.upper())
    if prefix and any(code.startswith(prefix) for code in CODES):
        return prefix
    from difflib import get_close_matches  # here: only a mistake needs it

    close = get_close_matches(prefix, CODES) + get_close_matches(word.lower(), slugs)
    hint = f"codes begin with {', '.join(_families())}"
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    raise ValueError(f"no finding code begins with {word!r}; {hint}")


def _families() -> list[str]:
    """What codes begin with: ``QL1``, ``QL2`` ..."""
    return sorted({code[:3] for code in CODES})


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

    def to_record(self) -> FindingRecord:
        """The finding as ``inspect --json`` prints it."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "where": self.where}

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.code} {self.slug}: {place}{self.message}"
