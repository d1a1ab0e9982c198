"""Distributions made from dictionaries of files, and child processes in which they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

LEVEL: Final = """
import sys
from quantlevels import QuantizationLevel

sys.stdout.write(f"imported {{__name__}}\\n")  # in one piece, for threads
{name} = QuantizationLevel(name={name!r}, bits_per_param={bits}, aliases={aliases!r}, spellings={spellings!r})
"""

PRELUDE: Final = """
import json, sys, warnings
from quantlevels import *

def answer(**values):
    print("answer", json.dumps(values))

def tried(look_up):
    try:
        found = look_up()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return getattr(found, "name", found)

def states():
    return {f"{p.distribution}[{p.entry}]": p.state for p in levels.plugins()}

def reasons():
    return {f"{p.distribution}[{p.entry}]": p.reason for p in levels.plugins() if p.reason}
"""


@frozen
class Result:
    """The answers of a child process, and the plugin modules that it imported, in that order."""

    answers: dict[str, Any]  # Any: JSON
    imported: list[str]
    stderr: str

    def __getitem__(self, name: str) -> Any:
        return self.answers[name]


@frozen
class Site:
    """A folder that goes on ``sys.path``, as ``site-packages`` does."""

    path: Path

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def install(
        self,
        distribution: str,
        entries: dict[str, str] | str | bytes,
        files: dict[str, str | bytes] | None = None,
        *,
        version: str = "1.0",
        group: str = "quantlevels.levels",
        metadata: str | bytes | None = "",
    ) -> None:
        """What an installer leaves behind: metadata, entry points (as they are, or of one group) and modules."""
        info = f"{distribution.replace('-', '_')}-{version}.dist-info"
        if isinstance(entries, dict):
            entries = "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()), ""])
        self.write({f"{info}/entry_points.txt": entries, **(files or {})})
        if metadata is not None:
            metadata = metadata or f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            self.write({f"{info}/METADATA": metadata})

    def install_level(
        self,
        distribution: str,
        name: str,
        *,
        entry: str | None = None,
        bits: int = 4,
        aliases: tuple[str, ...] = (),
        spellings: dict[str, tuple[str | int, ...]] | None = None,
    ) -> None:
        """A distribution of one level, in a module that says on stdout when it is imported."""
        module = distribution.replace("-", "_")
        source = LEVEL.format(name=name, bits=bits, aliases=aliases, spellings=spellings or {})
        self.install(distribution, {entry or name: f"{module}:{name}"}, {f"{module}.py": source})

    def run(
        self, code: str, *, later: tuple[Site, ...] = (), plugins: str | None = None, options: tuple[str, ...] = ()
    ) -> Result:
        """Run ``code`` in a process that has this site, and others later, on its path."""
        environment = {name: value for name, value in os.environ.items() if name != "QUANTLEVELS_PLUGINS"}
        inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        environment |= {
            "PYTHONPATH": os.pathsep.join([*(str(site.path) for site in (self, *later)), *inherited]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if plugins is not None:
            environment["QUANTLEVELS_PLUGINS"] = plugins
        process = subprocess.run(
            [sys.executable, *options, "-c", PRELUDE + textwrap.dedent(code)],
            cwd=self.path.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        answers: dict[str, Any] = {}
        imported = []
        for line in process.stdout.splitlines():
            match line.split(" ", 1):
                case ["answer", values]:
                    answers |= json.loads(values)
                case ["imported", module]:
                    imported.append(module)
        return Result(answers, imported, process.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other")
