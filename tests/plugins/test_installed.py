"""Plugins as users get them: built by a build backend, installed by pip, as a wheel and as a link to the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from attrs import frozen

import quantlevels

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "quantlevels-ik"


@frozen
class Environment:
    """A virtual environment that sees what this one has installed, and what is installed into it."""

    path: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of its processes."""
        others = {name: value for name, value in os.environ.items() if name != "QUANTLEVELS_PLUGINS"}
        return {**others, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def python(self, *arguments: str, cwd: Path | None = None) -> str:
        scripts, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
        done = subprocess.run(
            [str(self.path / scripts / f"python{suffix}"), *arguments],
            cwd=cwd or self.path,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *what: str) -> None:
        self.python("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *what)

    def run_tests(self, example: Path) -> None:
        """Run the tests of an example away from its sources."""
        tests = shutil.copytree(example / "tests", self.path / "tests")
        assert " passed" in self.python("-m", "pytest", "-c", os.devnull, "--rootdir", str(tests), str(tests))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    path = tmp_path / ".venv"
    venv.create(path, with_pip=False, symlinks=os.name != "nt")
    site = next(path.glob("[Ll]ib/**/site-packages"))
    outside = [str(Path(quantlevels.__file__).parents[1]), *(p for p in sys.path if p.endswith("-packages"))]
    (site / "outside.pth").write_text("\n".join(outside), encoding="utf-8")
    return Environment(path)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "quantlevels-ik"))


STATES = """
from quantlevels import levels
assert levels.from_dialect("ggml", 139).name == "IQ4_K"
print([(p.distribution, p.version, p.entry, p.state, p.editable) for p in levels.plugins() if p.entry == "IQ4_K"])
"""


@pytest.mark.parametrize("editable", [False, True])
def test_the_example(environment: Environment, example: Path, editable: bool) -> None:
    environment.install(*(["-e"] if editable else []), str(example))
    assert environment.python("-c", STATES).strip() == f"[('quantlevels-ik', '1.0', 'IQ4_K', 'loaded', {editable})]"
    environment.run_tests(example)


def test_the_example_of_a_scheme(environment: Environment, tmp_path: Path) -> None:
    example = Path(shutil.copytree(EXAMPLE.with_name("quantlevels-zigzag"), tmp_path / "quantlevels-zigzag"))
    environment.install(str(example))
    environment.run_tests(example)


def test_installing_while_the_process_runs(environment: Environment, example: Path) -> None:
    environment.python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(example))
    (wheel,) = environment.path.glob("*.whl")
    script = f"""
import subprocess, sys
from quantlevels import UnknownLevelError, levels
assert "IQ4_K" not in levels
subprocess.run([sys.executable, *"-m pip install --quiet --no-deps".split(), {str(wheel)!r}], check=True)
assert "IQ4_K" not in levels
levels.refresh()
print(levels["IQ4_K"].bits_per_weight)
"""
    assert environment.python("-c", script).strip() == "9/2"


def test_the_example_of_the_page_works_when_pasted(environment: Environment) -> None:
    page = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(mkdir acme-quant\n.*?)```", page, re.DOTALL)
    scripts = environment.path / "bin"
    for command in ("pip", "quantlevels"):
        script = scripts / command
        script.write_text(f'#!/bin/sh\nexec "{scripts}/python" -m {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    isolation = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip reads 0 here as: no isolation
    done = subprocess.run(
        ["bash", "-euc", block],
        cwd=environment.path.parent,
        env={**environment.variables, **isolation, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Int4Acme" in done.stdout
    script = "from quantlevels import levels; print(levels['int4acme'].bits_per_weight)"
    assert environment.python("-c", script).strip() == "17/4"
    environment.python("-c", "from quantlevels.testing import check_plugin; check_plugin('acme-quant')")
