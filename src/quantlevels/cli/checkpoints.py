"""`inspect` and `verify`: one checkpoint or several, in every output format.

A path that cannot be read does not keep the others from being shown; the exit status is the worst of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, final

import click

from quantlevels.cli.options import check_exists
from quantlevels.cli.pages import checkpoints as pages
from quantlevels.cli.program import REFUSED, complain, reasons
from quantlevels.cli.progress import progress_bar
from quantlevels.cli.render import LONG, show, show_json, visible
from quantlevels.cli.values import values_bar
from quantlevels.inspection.report import Inspection, inspect

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.findings import Finding
    from quantlevels.inspection.records import UnreadableRecord
    from quantlevels.inspection.verification import Requirements
    from quantlevels.values.records import Mode

Output: TypeAlias = Literal["text", "json", "github", "sarif"]

FAILED: Final = 1


@final
class Unreadable(NamedTuple):
    """A path that could not be read, and why: one line per reason."""

    path: str
    reasons: tuple[str, ...]

    def to_record(self) -> UnreadableRecord:
        """The record that takes the place of the checkpoint's."""
        return {"path": self.path, "error": "; ".join(self.reasons)}


@final
class Reading(NamedTuple):
    """What is read beside the headers: a sample of the weights, all or none; and whether digests are compared."""

    values: Mode | None = None
    checksums: bool = True


@final
class Verdict(NamedTuple):
    """The inspection of a path, and the findings that make it fail."""

    report: Inspection
    failed: tuple[Finding, ...]


def inspect_command(
    paths: Sequence[str], reading: Reading, *, as_json: bool, svg: Path | None, tensors: str | None
) -> int:
    """Show each checkpoint, and give the exit status.

    Args:
        paths: what to inspect.
        reading: how much to read of it.
        as_json: whether to print records.
        svg: where to save a picture of the only path.
        tensors: a glob of the weights to list; None for the totals alone.

    Raises:
        UsageError: for a picture of several checkpoints.
    """
    if svg and len(paths) > 1:
        raise click.UsageError("--svg draws one checkpoint; give one PATH")
    status = 0
    for number, report in enumerate(_read_each(paths, reading)):
        if isinstance(report, Unreadable):
            _show_unreadable(report, as_json=as_json)
            status = REFUSED
            continue
        if svg:
            from quantlevels.cli import svg as pictures  # here: few ask for a picture
            from quantlevels.cli.files import write_picture

            write_picture(svg, pictures.inspection(report), report)
        if as_json:
            record = report.to_record()
            if tensors is not None:
                record["weights"] = report.weight_records(tensors)
            show_json(record, one_line=len(paths) > 1)
        else:
            shown = pages.inspection(report) if tensors is None else pages.tensors(report, tensors)
            show(*shown, after_another=number > 0)
    return status


def verify_command(paths: Sequence[str], reading: Reading, requirements: Requirements, output: Output) -> int:
    """Verify each checkpoint, and give the exit status."""
    checked: list[Verdict | Unreadable] = []
    # GitHub shows only annotations or SARIF, not what goes to standard error: so an unreadable path must be among them
    for report in _read_each(paths, reading, catch=output in ("github", "sarif")):
        outcome = report if isinstance(report, Unreadable) else Verdict(report, requirements.failures(report))
        checked.append(outcome)
        _show_outcome(outcome, requirements, output, one_line=len(paths) > 1)
    if output == "sarif":
        from quantlevels.cli import reports  # here: explanations are read from a file

        show_json(reports.sarif(checked))
    return max(map(_status, checked), default=0)


def _status(outcome: Verdict | Unreadable) -> int:
    if isinstance(outcome, Unreadable):
        return REFUSED
    return FAILED if outcome.failed else 0


def _show_outcome(outcome: Verdict | Unreadable, requirements: Requirements, output: Output, *, one_line: bool) -> None:
    if output == "github":
        from quantlevels.cli import reports  # here: explanations are read from a file

        for line in reports.github(outcome):
            click.echo(visible(line, LONG))  # one line per annotation: line breaks are escaped
    elif output == "sarif":
        if isinstance(outcome, Unreadable):
            _show_unreadable(outcome, as_json=False)
    elif isinstance(outcome, Unreadable):
        _show_unreadable(outcome, as_json=output == "json")
    elif output == "json":
        from quantlevels.inspection.verification import verification_record

        show_json(verification_record(outcome.report, outcome.failed), one_line=one_line)
    else:
        show(*pages.verdict(outcome.report, outcome.failed, requirements))


def _read_each(paths: Sequence[str], reading: Reading, *, catch: bool = False) -> Iterator[Inspection | Unreadable]:
    """The inspection of each path.

    Args:
        paths: what to read.
        reading: how much of it.
        catch: whether an error is an outcome even if there is only one path; otherwise it is then raised.
    """
    for path in paths:
        try:
            check_exists(path)
            with values_bar(shown=reading.values is not None) as advance:
                report = inspect(
                    path, values=reading.values, checksums=reading.checksums, progress=progress_bar, reading=advance
                )
            yield report
        except Exception as error:
            # an error without reasons is a defect of ours, which ends the run even if other paths are left
            lines = reasons(error)
            if lines is None or not (catch or len(paths) > 1):
                raise
            yield Unreadable(str(path), lines)


def _show_unreadable(unreadable: Unreadable, *, as_json: bool) -> None:
    if as_json:
        show_json(unreadable.to_record(), one_line=True)
        return
    for reason in unreadable.reasons:
        complain(reason)
