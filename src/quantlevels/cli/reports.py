"""Findings in the forms that code hosts annotate with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from quantlevels import __version__
from quantlevels.findings import CODES, Finding
from quantlevels.inspection.explanations import explanation

#: severity → GitHub's command, SARIF's level
_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}
_SARIF: Final = {"error": "error", "warning": "warning", "info": "note"}

_DATA: Final = {ord("%"): "%25", ord("\r"): "%0D", ord("\n"): "%0A"}
_PROPERTY: Final = {**_DATA, ord(":"): "%3A", ord(","): "%2C"}


def github(path: Path | str, found: Iterable[Finding]) -> list[str]:
    """Workflow commands of GitHub Actions, one a finding.

    Source: docs.github.com, workflow commands for GitHub Actions.
    """
    return [
        f"::{_GITHUB[it.severity]} file={str(path).translate(_PROPERTY)},"
        f"title={f'{it.code} {it.slug}'.translate(_PROPERTY)}::{_text(it).translate(_DATA)}"
        for it in found
    ]


def sarif(path: Path | str, found: Sequence[Finding]) -> dict[str, object]:
    """A SARIF 2.1.0 log.

    Source: OASIS SARIF 2.1.0; docs.github.com, SARIF support for code scanning, which needs the descriptions.
    """
    rules = [_rule(code) for code in dict.fromkeys(it.code for it in found)]
    uri = path if isinstance(path, str) else path.as_uri() if path.is_absolute() else quote(path.as_posix())
    results = [
        {
            "ruleId": it.code,
            "level": _SARIF[it.severity],
            "message": {"text": _text(it)},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": uri}},
                    **({"logicalLocations": [{"fullyQualifiedName": it.where}]} if it.where else {}),
                }
            ],
        }
        for it in found
    ]
    driver = {"name": "quantlevels", "version": __version__, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


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
