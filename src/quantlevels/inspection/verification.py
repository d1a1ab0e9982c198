"""Whether a checkpoint is what it says, and what somebody expects of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from os import PathLike

from quantlevels.container import UnknownType
from quantlevels.errors import VerificationError
from quantlevels.findings import Finding
from quantlevels.inspection.report import Inspection, inspect
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel


def verify(
    path: str | PathLike[str],
    *,
    level: QuantizationLevel | None = None,
    max_bits_per_weight: Fraction | int | None = None,
    parameters: int | None = None,
    strict: bool = False,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Inspection:
    """Inspect a checkpoint, and refuse it if it is not what it says or not what is asked for.

    Args:
        path: what ``inspect`` takes.
        level: the level most of its quantized parameters must have, or most of all where none are quantized.
        max_bits_per_weight: the most bits a parameter may take over the whole checkpoint.
        parameters: how many parameters it must have.
        strict: whether warnings count too.
        select: prefixes of the only codes that count; none for all.
        ignore: prefixes of codes that do not count.

    Raises:
        VerificationError: with the findings that count, if there are any.
        CheckpointError, ConfigError: as ``inspect``.
    """
    inspection = inspect(path)
    failed = failures(
        inspection,
        level=level,
        max_bits_per_weight=max_bits_per_weight,
        parameters=parameters,
        strict=strict,
        select=select,
        ignore=ignore,
    )
    if failed:
        raise VerificationError(inspection.path, failed)
    return inspection


def failures(
    inspection: Inspection,
    *,
    level: QuantizationLevel | None = None,
    max_bits_per_weight: Fraction | int | None = None,
    parameters: int | None = None,
    strict: bool = False,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """The findings for which ``verify`` refuses what has been inspected; its options."""
    found = (*inspection.findings, *expectations(inspection, level, max_bits_per_weight, parameters))
    chosen, left_out = tuple(select) or ("",), tuple(ignore)
    counted = {"error", "warning"} if strict else {"error"}
    return tuple(
        one
        for one in found
        if one.severity in counted and one.code.startswith(chosen) and not (left_out and one.code.startswith(left_out))
    )


def expectations(
    inspection: Inspection,
    level: QuantizationLevel | None,
    max_bits_per_weight: Fraction | int | None,
    parameters: int | None,
) -> Iterator[Finding]:
    """Findings where a checkpoint is not what somebody expects of it; nothing is, where weights cannot be counted."""
    stored = inspection.stored
    if stored is None or not stored.parameters or not stored.parameters_known:
        but = (
            "but there are no weights"
            if stored is None or stored.parameters_known
            else "but not all weights can be counted"
        )
        if level is not None:
            yield Finding("QL501", f"expected {level}, {but}")
        if max_bits_per_weight is not None:
            yield Finding("QL502", f"at most {float(max_bits_per_weight):g} bits are allowed, {but}")
        if parameters is not None:
            yield Finding("QL503", f"expected {parameters:,} parameters, {but}")
        return
    if level is not None:
        counts: Counter[QuantizationLevel | UnknownType] = Counter()
        for one in stored.levels:
            if one.quantized or not stored.quantized_parameters:
                counts[one.level] += one.parameters
        if 2 * counts[level] <= counts.total():
            most = ", ".join(f"{count:,} are {name}" for name, count in counts.most_common(2) if count)
            yield Finding("QL501", f"expected {level}, but of {counts.total():,} parameters {most}")
    bits = Fraction(stored.tensor_bytes * BITS_PER_BYTE, stored.parameters)
    if max_bits_per_weight is not None and bits > max_bits_per_weight:
        allowed = stored.parameters * max_bits_per_weight // BITS_PER_BYTE
        yield Finding(
            "QL502",
            f"{float(bits):.4g} bits per weight, at most {float(max_bits_per_weight):g} are allowed: "
            f"{stored.tensor_bytes - allowed:,} bytes too many",
        )
    if parameters is not None and parameters != stored.parameters:
        yield Finding("QL503", f"expected {parameters:,} parameters, found {stored.parameters:,}")
