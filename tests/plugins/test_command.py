"""`quantlevels plugins`, and what the other commands make of plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

Quantlevels = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def quantlevels(site: Site) -> Quantlevels:
    """The command, where a good plugin and a broken one are installed."""
    site.install_level("acme-quant", "Int4Acme", bits=4)
    site.install("bad-quant", {"Bad": "bad:Bad"}, {"bad.py": "1 / 0"})

    def quantlevels(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "quantlevels", *arguments],
            env={**os.environ, "PYTHONPATH": str(site.path), "NO_COLOR": "1"},
            cwd=site.path.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    return quantlevels


def test_the_list_imports_nothing(quantlevels: Quantlevels) -> None:
    done = quantlevels("plugins")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "plugin                version  brings  state  import  installed",
        "acme-quant[Int4Acme]  1.0      levels  found       -  -",
        "bad-quant[Bad]        1.0      levels  found       -  -",
    ]


def test_the_check_imports_all_and_says_what_to_do(quantlevels: Quantlevels) -> None:
    done = quantlevels("plugins", "--check")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.splitlines()[-4:] == [
        "",
        "bad-quant[Bad] failed",
        "  it cannot be imported: ZeroDivisionError: division by zero",
        "  install what it lacks, or reinstall or uninstall the distribution",
    ]


def test_the_record(quantlevels: Quantlevels) -> None:
    done = quantlevels("plugins", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["plugins"][0] == {
        "distribution": "acme-quant",
        "version": "1.0",
        "group": "quantlevels.levels",
        "entry": "Int4Acme",
        "value": "acme_quant:Int4Acme",
        "editable": False,
        "state": "found",
        "reason": "",
        "seconds": None,
        "remedy": "",
    }


def test_a_check_of_good_plugins_is_fine(quantlevels: Quantlevels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLEVELS_PLUGINS", "acme-quant")
    assert quantlevels("plugins", "--check").returncode == 0
    monkeypatch.setenv("QUANTLEVELS_PLUGINS", "off")
    assert quantlevels("plugins", "--check").stdout == "no plugins are installed\n"


def test_levels_of_plugins_are_listed_and_shown(quantlevels: Quantlevels) -> None:
    listed = quantlevels("list", "--bits", "4")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[-1].split()[:2] == ["Int4Acme", "4"]
    assert listed.stderr == (
        "quantlevels: bad-quant[Bad]: it cannot be imported: ZeroDivisionError: division by zero\n"
    )
    assert quantlevels("show", "int4acme").stderr == ""
    refused = quantlevels("show", "bad")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
