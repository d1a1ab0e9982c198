"""Findings in the forms that code hosts annotate with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from quantlevels import __version__
from quantlevels.findings import CODES, Finding
from quantlevels.inspection.explanations import explanation

if TYPE_CHECKING:
    from quantlevels.cli.checkpoints import Unreadable, Verdict

#: severity → GitHub's command, SARIF's level
_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}
_SARIF: Final = {"error": "error", "warning": "warning", "info": "note"}

# A message that could end its line would be a command of its own: names in files are anybody's to choose.
_DATA: Final = {ord("%"): "%25", ord("\r"): "%0D", ord("\n"): "%0A"}
_PROPERTY: Final = {**_DATA, ord(":"): "%3A", ord(","): "%2C"}


def github(outcome: Verdict | Unreadable) -> list[str]:
    """Workflow commands of GitHub Actions, one per finding or per reason why a path could not be read.

    Source: docs.github.com, workflow commands for GitHub Actions.
    """
    from quantlevels.cli.checkpoints import Unreadable

    if isinstance(outcome, Unreadable):
        return [_annotation("error", outcome.path, "cannot be read", reason) for reason in outcome.reasons]
    path = outcome.report.location
    return [
        _annotation(_GITHUB[finding.severity], path, f"{finding.code} {finding.slug}", _text(finding))
        for finding in outcome.failed
    ]


def _annotation(command: str, path: str, title: str, text: str) -> str:
    place = f"file={path.translate(_PROPERTY)},title={title.translate(_PROPERTY)}"
    return f"::{command} {place}::{text.translate(_DATA)}"


def sarif(outcomes: Sequence[Verdict | Unreadable]) -> dict[str, object]:
    """A SARIF 2.1.0 log with one run per path; a path that could not be read is a run that did not succeed.

    Source: OASIS SARIF 2.1.0; docs.github.com, SARIF support for code scanning, which needs the descriptions, and a
    category of its own for each run.
    """
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [_run(outcome) for outcome in outcomes],
    }


def _run(outcome: Verdict | Unreadable) -> dict[str, object]:
    from quantlevels.cli.checkpoints import Unreadable

    found: tuple[Finding, ...] = ()
    notifications: list[dict[str, object]] = []
    if isinstance(outcome, Unreadable):
        path = outcome.path
        notifications = [
            {"level": "error", "message": {"text": reason}, "locations": [_location(path)]}
            for reason in outcome.reasons
        ]
    else:
        path, found = outcome.report.location, outcome.failed
    # only the rules that apply: GitHub shows the explanation of each with its results
    rules = [_rule(code) for code in dict.fromkeys(finding.code for finding in found)]
    driver = {"name": "quantlevels", "version": __version__, "rules": rules}
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"quantlevels/{path}"},
        "invocations": [{"executionSuccessful": not notifications, "toolExecutionNotifications": notifications}],
        "results": [_result(path, finding) for finding in found],
    }


def _result(path: str, finding: Finding) -> dict[str, object]:
    return {
        "ruleId": finding.code,
        "level": _SARIF[finding.severity],
        "message": {"text": _text(finding)},
        "locations": [_location(path, finding.where)],
    }


def _location(path: str, where: str = "") -> dict[str, object]:
    location: dict[str, object] = {"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}
    if where:
        location["logicalLocations"] = [{"fullyQualifiedName": where}]
    return location


def _uri(path: str) -> str:
    if "://" in path:
        return path
    local = Path(path)
    return local.as_uri() if local.is_absolute() else quote(local.as_posix())


def _rule(code: str) -> dict[str, object]:
    slug, severity = CODES[code]
    text = explanation(code)
    return {
        "id": code,
        "name": slug,
        "shortDescription": {"text": slug.replace("-", " ")},
        "fullDescription": {"text": text.partition("\n")[0]},
        "help": {"text": text},
        "defaultConfiguration": {"level": _SARIF[severity]},
    }


def _text(finding: Finding) -> str:
    return f"{finding.where}: {finding.message}" if finding.where else finding.message
