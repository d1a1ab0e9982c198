"""Check the programs beside this file with mypy, pyright, ty and pyrefly: ``python check.py PYTHON``.

PYTHON is an interpreter that has quantlevels installed, as users have it. The programs are copied away first, so that
nothing of this repository is in reach but what the wheel brings.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: checker → its command line, with the folder of the programs as the working directory
CHECKERS = {
    **{
        f"mypy {version}": ("mypy", "--strict", "--python-version", version, "--python-executable", "PYTHON", ".")
        for version in ("3.11", "3.12", "3.13")
    },
    "pyright": ("pyright",),
    "ty": ("ty", "check", "--python", "PYTHON", "--output-format", "concise"),
    "pyrefly": ("pyrefly", "check", "--python-interpreter-path", "PYTHON", "--output-format", "min-text"),
}
SETTINGS = {
    "mypy.ini": "[mypy]\nenable_error_code = exhaustive-match, truthy-bool, redundant-expr, deprecated\n",
    "pyrightconfig.json": '{"typeCheckingMode": "strict", "reportUnusedExpression": false}',
    "ty.toml": "[environment]\npython-version = '3.11'\n",
    "pyrefly.toml": "python-version = '3.11'\nproject-includes = ['*.py']\n",
}

_PLACE = re.compile(r"(\w+\.py):(\d+)\b(?!.*: note:)")


def marked_lines(programs: Path, checker: str) -> set[tuple[str, int]]:
    """Every line that is marked as an error to a checker."""
    return {
        (path.name, number)
        for path in programs.glob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if line.endswith(("  # error", f"  # error in {checker}"))
    }


def main(python: str) -> int:
    """Compare what each checker reports with what is marked; 1 where they differ."""
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder)
        for path in Path(__file__).parent.glob("*.py"):
            if path.name != Path(__file__).name:
                shutil.copy(path, programs)
        for name, text in SETTINGS.items():
            (programs / name).write_text(text, encoding="utf-8")
        # pyright takes the first python it finds, whatever --pythonpath says where it verifies types
        environment = {**os.environ, "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
        for checker, command in CHECKERS.items():
            marked = marked_lines(programs, command[0])
            line = [python if word == "PYTHON" else word for word in command]
            done = subprocess.run(line, cwd=programs, env=environment, capture_output=True, text=True)
            reported = {(name, int(number)) for name, number in _PLACE.findall(done.stdout)}
            print(f"{checker}: {len(marked & reported)} of {len(marked)} mistakes, {len(reported - marked)} others")
            if reported != marked:
                print(*(f"  {name}:{number}: not reported" for name, number in sorted(marked - reported)), sep="\n")
                print(done.stdout + done.stderr)
                status = 1
        command = ["pyright", "--ignoreexternal", "--verifytypes", "quantlevels"]
        return subprocess.run(command, cwd=programs, env=environment).returncode or status


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
