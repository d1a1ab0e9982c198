"""Install a distribution with each of its extras, each in an environment of its own, and use what the extra brings.

``python .ci/extras.py EXAMPLE DISTRIBUTION...``: an example checkpoint, then wheels and sdists. It needs uv.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

SAVE_AND_LOAD = """
from quantlevels import INT4, QuantizationLevel, config
from typing import TypedDict
class Engine(TypedDict):
    weights: QuantizationLevel
config.save("engine.{0}", Engine(weights=INT4))
assert config.load("engine.{0}", Engine)["weights"] is INT4
"""

#: extra → what only works with it; "" is the library alone
USES = {
    "": "import quantlevels; assert quantlevels.inspect(EXAMPLE).stored.parameters == 492288",
    "all": "assert RUN('inspect', EXAMPLE, '--values', 'sample').count('% ')",
    "arrow": """
RUN("survey", EXAMPLE, "--format", "parquet", "--out", "rows.parquet")
import pyarrow.parquet
assert pyarrow.parquet.read_table("rows.parquet").num_rows == 1
""",
    "cli": "assert 'Q4_K' in RUN('inspect', EXAMPLE)",
    "dask": """
from distributed import Client
from quantlevels.survey import survey
with Client(processes=False, dashboard_address=':0') as client:
    assert [row["error"] for row in survey(EXAMPLE, executor=client.get_executor(pure=False))] == [None]
""",
    "msgpack": SAVE_AND_LOAD.format("msgpack"),
    "remote": """
import fsspec, huggingface_hub, pathlib, quantlevels
fsspec.filesystem("memory").pipe_file("/model.gguf", pathlib.Path(EXAMPLE).read_bytes())
assert quantlevels.inspect("memory://model.gguf").stored.parameters == 492288
""",
    "test": "import gguf, hypothesis, onnx, pytest",
    "toml": SAVE_AND_LOAD.format("toml"),
    "values": "import quantlevels; assert quantlevels.inspect(EXAMPLE, values='all').values.complete",
    "yaml": SAVE_AND_LOAD.format("yaml"),
}
#: extra → another one that its use needs
TOGETHER = {"arrow": "arrow,cli"}
PRELUDE = """
import subprocess, sys
EXAMPLE = sys.argv[1]
def RUN(*arguments):
    return subprocess.check_output([sys.executable, "-m", "quantlevels", *arguments], text=True)
"""


def install_and_use(distribution: Path, extra: str, example: Path) -> None:
    """Install one distribution with one extra in a new environment, and use it in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = Path(folder, "venv", "bin")
        wanted = f"{distribution}[{TOGETHER.get(extra, extra)}]" if extra else str(distribution)
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, scripts.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", scripts / "python", wanted], check=True)
        empty = Path(folder, "empty")
        empty.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [scripts / "python", "-c", PRELUDE + USES[extra], example]
        subprocess.run(command, cwd=empty, env=environment, check=True)


def main() -> None:
    """Every extra of every distribution."""
    example, *distributions = (Path(argument).resolve() for argument in sys.argv[1:])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    if {"", *extras} != set(USES):
        sys.exit(f"extras and their uses differ: {sorted({'', *extras} ^ set(USES))}")
    for distribution in distributions:
        for extra in USES:
            print(f"{distribution.name}[{extra}]", flush=True)
            install_and_use(distribution, extra, example)


if __name__ == "__main__":
    main()
