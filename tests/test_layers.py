"""The layers of the package: a module imports only what stands below it, also inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

import quantlevels

PACKAGE: Final = Path(quantlevels.__file__).parent

#: From the ground up. A module may import modules of layers before its own, and of its own layer.
LAYERS: Final = (
    "errors",
    "findings",
    "vocabulary",
    "formats",
    "config",
    "converters",
    "fields",
    "container",
    "checkpoint",
    "scheme",
    "llamacpp",
    "schemes",
    "values",
    "inspection",
    "survey",
    "testing",
    "cli",
    "__main__",
)


@frozen
class Import:
    """One import of a module of this package."""

    module: str
    line: int
    importing: str
    imported: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.imported}"


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, but those that only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        if is_typing_only(child):
            assert isinstance(child, ast.If)
            for branch in child.orelse:
                yield branch
                yield from executed(branch)
        else:
            yield child
            yield from executed(child)


def imported_modules(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    """The modules that an import statement names, with the names it takes from them: each may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = package[: len(package) - node.level + 1] if node.level else ()
    module = ".".join((*above, *filter(None, [node.module])))
    return [f"{module}.{alias.name}" for alias in node.names]


def layer_of(module: str) -> str | None:
    """The layer of a dotted path in this package; None for the names of the package itself and for other packages."""
    root, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    exists = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
    return name if root == PACKAGE.name and name and exists else None


def imports() -> Iterator[Import]:
    """Every import from one layer of the package in another."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue  # the facade, which stands above all
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            for module in imported_modules(node, (PACKAGE.name, *parts[:-1])):
                layer = layer_of(module)
                if layer and layer != parts[0]:
                    assert isinstance(node, ast.Import | ast.ImportFrom)
                    yield Import("/".join(parts), node.lineno, parts[0], layer)


IMPORTS: Final = list(imports())


def test_every_module_belongs_to_a_layer() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert names - {"__init__"} <= set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_below_it(layer: str) -> None:
    below = LAYERS[: LAYERS.index(layer)]
    assert [str(found) for found in IMPORTS if found.importing == layer and found.imported not in below] == []


def test_imports_in_functions_count_and_those_for_checkers_do_not() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from quantlevels.cli import pages
def late():
    from quantlevels.schemes import shipped
    import quantlevels.values.sample
    from ..inspection import report
"""
    modules = [
        name for node in executed(ast.parse(source)) for name in imported_modules(node, ("quantlevels", "config"))
    ]
    assert modules == [
        "typing.TYPE_CHECKING",
        "quantlevels.schemes.shipped",
        "quantlevels.values.sample",
        "quantlevels.inspection.report",
    ]
