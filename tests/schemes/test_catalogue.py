"""The catalogue of schemes says what their modules say, and readers import no more of them than they need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

from tests.cli.conftest import INT4_CONFIG, W4A16, write_checkpoint

from quantlevels import schemes
from quantlevels.schemes.catalogue import CATALOGUE, shipped_scheme

HOME = Path(str(schemes.__file__)).parent


def test_every_module_with_schemes_has_its_row() -> None:
    modules = [import_module(f"quantlevels.schemes.{file.stem}") for file in HOME.glob("*.py")]
    with_schemes = {module.__name__ for module in modules if isinstance(getattr(module, "SCHEMES", None), tuple)}
    assert with_schemes == {f"quantlevels.schemes.{row.name}" for row in CATALOGUE if row.methods}


def test_rows_name_the_methods_of_their_modules() -> None:
    for row in CATALOGUE:
        named = [name for scheme in row.schemes() for name in (scheme.method, *scheme.aliases)]
        assert sorted(row.methods) == sorted(named), row.name
        assert all(shipped_scheme(name) in row.schemes() for name in named)


def test_catalogue_rows_name_the_tensors_of_packings() -> None:
    tensors: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    packings = dict.fromkeys(packing for row in CATALOGUE for packing in row.packings())
    for packing in packings:
        # a fold may be a partial of a function
        module = getattr(packing.fold, "func", packing.fold).__module__.removeprefix("quantlevels.schemes.")
        if not packing.declared_only:
            tensors[module].append((packing.codes, *packing.needs))
    for row in CATALOGUE:
        assert set(row.tensors) == set(tensors[row.name]), row.name


IMPORTED = """
import json, sys
from quantlevels import inspect
inspect(sys.argv[1])
print(json.dumps([name.removeprefix("quantlevels.schemes.") for name in sys.modules]))
"""


def imported(path: Path) -> set[str]:
    command = [sys.executable, "-c", IMPORTED, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {*json.loads(done.stdout)}


def test_only_the_declared_scheme_is_imported(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, W4A16, INT4_CONFIG)
    rows = {row.name for row in CATALOGUE}
    assert imported(tmp_path) & rows == {"compressed_tensors", "scaled"}


def test_plain_checkpoints_import_no_scheme_or_converter(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"fc.weight": ("BF16", [8, 8])}, {"dtype": "bfloat16"})
    assert not imported(tmp_path) & {*(row.name for row in CATALOGUE), "graph", "cattrs"}
