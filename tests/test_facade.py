"""`import quantlevels`: light, complete, honest about its names, and every name documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import quantlevels
from quantlevels import BF16
from quantlevels.container import Container, Contents, Tensor, in_columns
from quantlevels.scheme import Packing, TensorRule

HEAVY = {"cattrs", "importlib_metadata", "click", "rich", "tomllib", "json", "yaml", "msgpack", "numpy", "torch"}


def modules_for_checkers() -> set[str]:
    """The modules whose names the TYPE_CHECKING block of the package imports."""
    tree = ast.parse(Path(quantlevels.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [statement for statement in blocks[0].body if isinstance(statement, ast.ImportFrom)]
    assert [alias.name for statement in imports for alias in statement.names] == ["*"] * len(blocks[0].body)
    return {str(statement.module).removeprefix("quantlevels.") for statement in imports}


def test_type_checkers_see_the_same_public_names() -> None:
    assert modules_for_checkers() == set(quantlevels._MODULES)


def test_no_public_name_comes_from_two_modules() -> None:
    lists = [importlib.import_module(f"quantlevels.{module}").__all__ for module in quantlevels._MODULES]
    assert sorted(itertools.chain(*lists)) == quantlevels.__all__
    assert len(set(quantlevels.__all__)) == len(quantlevels.__all__)


def test_a_cheap_name_imports_no_reader() -> None:
    loaded = run("import sys; from quantlevels import INT4, levels, ConfigError; print(*sys.modules)").stdout.split()
    assert not [name for name in loaded if name.startswith(("quantlevels.inspection", "quantlevels.checkpoint"))]


def test_importing_a_submodule_imports_no_reader() -> None:
    loaded = run("import sys; from quantlevels import fields; print(*sys.modules)").stdout.split()
    assert "quantlevels.fields" in loaded
    assert not [name for name in loaded if name.startswith(("quantlevels.inspection", "quantlevels.checkpoint"))]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_is_light() -> None:
    loaded = run("import sys, quantlevels; print(*sys.modules)").stdout.split()
    assert "quantlevels" in loaded
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def test_star_import_gives_every_public_name() -> None:
    done = run("from quantlevels import *; import quantlevels; assert set(quantlevels.__all__) <= set(globals())")
    assert not done.stderr


def test_dir_lists_every_public_name() -> None:
    assert set(quantlevels.__all__) <= set(dir(quantlevels))
    for name in dir(quantlevels):
        assert hasattr(quantlevels, name)


@pytest.mark.parametrize("code", ["from quantlevels import INT5", "import quantlevels; quantlevels.INT5"])
def test_a_misspelt_name_is_named(code: str) -> None:
    done = run(code)
    assert done.returncode == 1
    assert "'INT5'" in done.stderr.splitlines()[-1]
    assert "'quantlevels'" in done.stderr.splitlines()[-1]


# Docstrings


def modules() -> Iterator[ModuleType]:
    yield quantlevels
    for module in pkgutil.walk_packages(quantlevels.__path__, "quantlevels."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def documented_objects() -> Iterator[tuple[str, object]]:
    """Every module; every public class and function, with the public methods and properties of the class."""
    for module in modules():
        yield module.__name__, module
        for name, thing in vars(module).items():
            # since Python 3.13 attrs gives its own `evolve` the module of the class it last made
            defined_here = getattr(thing, "__module__", "") == module.__name__ and thing is not attrs.evolve
            if name.startswith("_") or not defined_here or not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                inherited = {attribute for base in thing.__mro__[1:] for attribute in vars(base)}
                for attribute, value in vars(thing).items():
                    if attribute.startswith("_") or attribute in inherited:
                        continue
                    if inspect.isfunction(value) or isinstance(value, property):
                        yield f"{module.__name__}.{name}.{attribute}", value


DOCUMENTED = dict(documented_objects())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_object_is_described_in_one_line(name: str) -> None:
    text = inspect.getdoc(DOCUMENTED[name])
    assert text
    summary, *rest = text.splitlines()
    assert summary.endswith((".", ":", "?"))
    assert not rest or not rest[0], "a summary of one line, then an empty one"


def raises(thing: object) -> bool:
    """Whether there is a `raise` in the source of a function or property."""
    function = thing.fget if isinstance(thing, property) else thing
    if not inspect.isfunction(function):
        return False
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


@pytest.mark.parametrize("name", [name for name, thing in DOCUMENTED.items() if raises(thing)])
def test_what_raises_says_so(name: str) -> None:
    """It, or its class for all of its methods."""
    texts = [inspect.getdoc(DOCUMENTED.get(place)) or "" for place in (name, name.rpartition(".")[0])]
    assert re.search(r"\bRaises?\b", "\n".join(texts))


@pytest.mark.parametrize("name", ["inspect", "verify", "compare", "size", "fit"])
def test_functions_behind_commands_are_documented(name: str) -> None:
    assert name in quantlevels.__all__
    text = getattr(quantlevels, name).__doc__
    assert "Raises:" in text


def test_records_of_plugin_authors_say_in_a_debugger_what_they_are() -> None:
    tensors = in_columns([Tensor("a.weight", BF16, (2,), 4)])
    rule = TensorRule("scales")
    packing = Packing("qweight", ("scales",), lambda module, hint: None, (rule,))
    container = Container(name="acmefmt", reader=lambda source, level_of: Contents(), suffixes=(".acme",))
    assert list(map(repr, (tensors, rule, packing, container))) == [
        "<Tensors 1>",
        "<TensorRule scales>",
        "<Packing qweight + scales>",
        "<Container acmefmt>",
    ]


def test_the_records_in_an_inspection_can_be_named() -> None:
    report = quantlevels.inspect(Path(__file__).parents[1] / "examples/dense-Q4_K_M.gguf")
    assert isinstance(report.declared, quantlevels.Declared)
    assert isinstance(report.stored, quantlevels.StoredTotals)
    assert isinstance(report.stored.levels[0], quantlevels.StoredLevel)
    assert isinstance(report.stored.buffers, quantlevels.Tally)
