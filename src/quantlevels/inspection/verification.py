"""Whether a checkpoint is what it says, and what the caller expects of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Final, final

from attrs import field, frozen

from quantlevels.errors import VerificationError
from quantlevels.findings import Finding, Severity, code_prefixes
from quantlevels.inspection.report import Inspection, inspect
from quantlevels.llamacpp import model_facts, recipe_deviations, recipe_named
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import UnknownType
    from quantlevels.inspection.records import VerificationRecord
    from quantlevels.inspection.report import Started
    from quantlevels.inspection.totals import StoredTotals
    from quantlevels.values.records import Mode

__all__ = ["verify"]

#: whether warnings count → the severities that fail a verification
_FAILING: Final[dict[bool, tuple[Severity, ...]]] = {False: ("error",), True: ("error", "warning")}


def _as_level(level: QuantizationLevel | str | None) -> QuantizationLevel | None:
    return levels[level] if isinstance(level, str) else level


def _check_level(requirements: Requirements, attribute: object, level: QuantizationLevel | None) -> None:
    if not isinstance(level, QuantizationLevel | None):
        raise TypeError(f"level must be a level or the name of one, not {level!r}")


def _as_recipe(word: str | None) -> str | None:
    return None if word is None else recipe_named(word)


def _as_fraction(bits: Fraction | float | None) -> Fraction | None:
    if bits is None or isinstance(bits, Fraction):
        return bits
    if isinstance(bits, bool) or not isinstance(bits, int | float):
        raise TypeError(f"max_bits_per_weight must be a number, not {bits!r}")
    try:
        return Fraction(bits)  # ValueError for NaN, OverflowError for infinity
    except (ValueError, OverflowError) as error:
        raise ValueError(f"max_bits_per_weight must be a finite number, not {bits!r}") from error


def _check_positive(requirements: Requirements, attribute: object, bits: Fraction | None) -> None:
    if bits is not None and bits <= 0:
        raise ValueError(f"max_bits_per_weight must be above 0, not {bits}")


def _check_parameters(requirements: Requirements, attribute: object, parameters: int | None) -> None:
    if parameters is None:
        return
    if isinstance(parameters, bool) or not isinstance(parameters, int):
        raise TypeError(f"parameters must be an integer, not {parameters!r}")
    if parameters < 1:
        raise ValueError(f"parameters must be at least 1, not {parameters}")


@final
@frozen(kw_only=True)
class Requirements:
    """What a verification asks of a checkpoint, beside being what it says it is.

    Args:
        level: the level that most of its quantized parameters must have, or most of all if none are quantized; a level
            or its name.
        recipe: a recipe of llama.cpp, such as ``Q4_K_M``, whose type each tensor of a GGUF file must have, or the type
            that llama-quantize takes for rows that are not whole blocks.
        max_bits_per_weight: the most bits a parameter may take over the whole checkpoint.
        parameters: how many parameters it must have.
        strict: whether warnings fail it too.
        select: the only finding codes that count, or beginnings of them; empty for all. A single string is one code.
        ignore: finding codes that do not count, likewise.

    Raises:
        UnknownLevelError: for the name of an unknown level or recipe.
        ValueError: for a code that does not exist, or a number that cannot be.
        TypeError: for a value of the wrong type.
    """

    level: QuantizationLevel | None = field(default=None, converter=_as_level, validator=_check_level)
    recipe: str | None = field(default=None, converter=_as_recipe)
    max_bits_per_weight: Fraction | None = field(default=None, converter=_as_fraction, validator=_check_positive)
    parameters: int | None = field(default=None, validator=_check_parameters)
    strict: bool = False
    select: tuple[str, ...] = field(default=(), converter=code_prefixes)
    ignore: tuple[str, ...] = field(default=(), converter=code_prefixes)

    def is_ignored(self, finding: Finding) -> bool:
        """Whether the caller asked not to count findings of this code."""
        selected = not self.select or finding.code.startswith(self.select)
        return not selected or (bool(self.ignore) and finding.code.startswith(self.ignore))

    def failures(self, inspection: Inspection) -> tuple[Finding, ...]:
        """The findings that fail the verification of what has been inspected."""
        found = (*inspection.findings, *self.unmet(inspection))
        failing = _FAILING[self.strict]
        return tuple(finding for finding in found if finding.severity in failing and not self.is_ignored(finding))

    def unmet(self, inspection: Inspection) -> Iterator[Finding]:
        """QL501 to QL503: requirements that are not met; all of them if weights cannot be counted."""
        if self.recipe is not None:
            yield from _other_recipe(inspection, self.recipe)
        stored = inspection.stored
        # what cannot be counted does not meet a requirement: a gate must not pass what nobody could look at
        if stored is None or not stored.parameters:
            yield from self._unmet_without_counts("it has no weights")
        elif stored.bits_per_weight is None:
            yield from self._unmet_without_counts("not all weights can be counted")
        else:
            if self.level is not None:
                yield from _other_level(stored, self.level)
            if self.max_bits_per_weight is not None:
                yield from _too_many_bits(stored, stored.bits_per_weight, self.max_bits_per_weight)
            if self.parameters not in (None, stored.parameters):
                yield Finding("QL503", f"expected {self.parameters:,} parameters, found {stored.parameters:,}")

    def _unmet_without_counts(self, reason: str) -> Iterator[Finding]:
        if self.level is not None:
            yield Finding("QL501", f"expected {self.level}, but {reason}")
        if self.max_bits_per_weight is not None:
            yield Finding("QL502", f"at most {float(self.max_bits_per_weight):g} bits are allowed, but {reason}")
        if self.parameters is not None:
            yield Finding("QL503", f"expected {self.parameters:,} parameters, but {reason}")


def verify(
    path: str | PathLike[str],
    *,
    level: QuantizationLevel | str | None = None,
    recipe: str | None = None,
    max_bits_per_weight: Fraction | float | None = None,
    parameters: int | None = None,
    strict: bool = False,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    values: Mode | None = None,
    checksums: bool = True,
    progress: Progress | None = None,
    reading: Started | None = None,
) -> Inspection:
    """Inspect a checkpoint, and raise an error if it is not what it says or not what the caller requires.

    Args:
        path: what ``inspect`` takes.
        level: the level that most quantized parameters must have, or most of all if none are quantized; or its name.
        recipe: a recipe of llama.cpp, such as ``Q4_K_M``, whose types the tensors of a GGUF file must have.
        max_bits_per_weight: the most bits a parameter may take on average, scales and unquantized layers included.
        parameters: how many parameters the checkpoint must have.
        strict: whether warnings fail it too.
        select: the only finding codes that count, or beginnings of them: ``["QL1", "QL206"]``; empty for all.
        ignore: finding codes that do not count, or beginnings of them: ``["QL204"]``.
        values, checksums, progress, reading: as ``inspect``.

    Returns:
        The inspection of a checkpoint that passes.

    Raises:
        VerificationError: with the findings that count, if there are any.
        CheckpointError, ConfigError: as ``inspect``.
        UnknownLevelError: for the name of an unknown level or recipe, before anything is read.
        ValueError, TypeError: for an unknown finding code, or another value that cannot be, before anything is read.
    """
    requirements = Requirements(
        level=level,
        recipe=recipe,
        max_bits_per_weight=max_bits_per_weight,
        parameters=parameters,
        strict=strict,
        select=select,
        ignore=ignore,
    )
    inspection = inspect(path, values=values, checksums=checksums, progress=progress, reading=reading)
    failed = requirements.failures(inspection)
    if failed:
        raise VerificationError(inspection.path, failed)
    return inspection


def verification_record(inspection: Inspection, failed: Iterable[Finding]) -> VerificationRecord:
    """The inspection record with the verdict, as ``verify --json`` prints it."""
    failures = [finding.to_record() for finding in failed]
    return {**inspection.to_record(), "verified": not failures, "failures": failures}


def _other_recipe(inspection: Inspection, recipe: str) -> Iterator[Finding]:
    """QL501: tensors of another type than a recipe of llama.cpp gives them, one finding for all that differ alike."""
    if inspection.container is None or not inspection.container.llama_cpp:
        yield Finding("QL501", f"expected the recipe {recipe} of llama.cpp, found no GGUF file")
        return
    facts = model_facts(inspection.tensors, inspection.metadata, {})
    found: dict[tuple[str, str], list[str]] = {}
    for name, expected, stored in recipe_deviations(recipe, inspection.tensors, facts):
        found.setdefault((str(expected), str(stored)), []).append(name)
    for (given, had), names in found.items():
        more = f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""
        yield Finding("QL501", f"expected {given} by the recipe {recipe}, found {had}{more}", names[0])


def _other_level(stored: StoredTotals, level: QuantizationLevel) -> Iterator[Finding]:
    counts: Counter[QuantizationLevel | UnknownType] = Counter()
    for alike in stored.levels:
        if alike.quantized or not stored.quantized_parameters:
            counts[alike.level] += alike.parameters
    # most of what is quantized: embeddings and heads are left in 16 bits on purpose
    if 2 * counts[level] > counts.total():
        return
    most = ", ".join(f"{name} ({count:,} of {counts.total():,})" for name, count in counts.most_common(2) if count)
    which = "quantized parameters" if stored.quantized_parameters else "parameters"
    yield Finding("QL501", f"expected {level}, but {which} are stored as {most}")


def _too_many_bits(stored: StoredTotals, bits: Fraction, most: Fraction) -> Iterator[Finding]:
    if bits > most:
        # rounded up: that many bytes fewer would be enough
        excess = math.ceil((bits - most) * stored.parameters / BITS_PER_BYTE)
        yield Finding(
            "QL502",
            f"{float(bits):.4g} bits per weight, at most {float(most):g} are allowed: {excess:,} bytes too many",
        )
