"""Checks for the tests of others: the level of a checkpoint, the contract of plugins."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from quantlevels.container import Container
from quantlevels.errors import PluginWarning
from quantlevels.inspection.report import Inspection, inspect
from quantlevels.inspection.verification import Requirements
from quantlevels.vocabulary.index import normalized, shipped
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plugins import LEVELS, PluginStatus, State
from quantlevels.vocabulary.registry import Registry

_SLOW: Final = 0.5  # seconds; a level is plain data, and its module imports in a few milliseconds
_TIMEOUT: Final = 120  # seconds
_MOST_LEVELS: Final = 5

#: What the author of a plugin is to do about it.
_REPAIRS: Final[Mapping[State, str]] = {
    "rejected": "correct that, for it is left out wherever it is installed",
    "failed": "correct that, and install it anew",
    "conflicting": "have one mean it, or make the two equal",
}

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def assert_level(
    path: str | os.PathLike[str],
    level: QuantizationLevel | str,
    *,
    max_bits_per_weight: Fraction | float | None = None,
    parameters: int | None = None,
    strict: bool = False,
    ignore: str | Iterable[str] = (),
) -> None:
    """Assert that a checkpoint is what it says, and of a level: one call for the test of an export.

    Args:
        path, level, max_bits_per_weight, parameters, strict, ignore: as ``quantlevels.verify``.

    Raises:
        AssertionError: with what is declared, what is stored, the most bytes first, and all findings that count.
        CheckpointError, ConfigError: as ``quantlevels.inspect``.
    """
    __tracebackhide__ = True
    requirements = Requirements(
        level=level,
        max_bits_per_weight=max_bits_per_weight,
        parameters=parameters,
        strict=strict,
        ignore=ignore,
    )
    report = inspect(path)
    failed = requirements.failures(report)
    if failed:
        raise AssertionError("\n".join([f"{path}: not what it should be", *_evidence(report), *map(str, failed)]))


def _evidence(report: Inspection) -> Iterator[str]:
    said = report.declared
    levels = (
        ", ".join(str(level) for level in (*(one.level for one in said.levels), said.dtype) if level) if said else ""
    )
    yield f"declared: {levels or 'nothing'}{f' in {said.source}' if said else ''}"
    for one in report.stored.levels[:_MOST_LEVELS] if report.stored else ():
        group = f" in groups of {one.group_size}" if one.group_size else ""
        yield f"stored: {one.level}{group}, {one.parameters:,} parameters, {one.nbytes:,} bytes"


def check_plugin(distribution: str) -> None:
    """Check all that an installed distribution brings to quantlevels: one call for the test suite of its author.

    Checked are its metadata, the names, aliases and dialect words of its levels and that none is taken by a level that
    comes with quantlevels, that they are `QuantizationLevel` to Python and to type checkers, survive pickling, and that
    their import is quick, prints nothing and writes nothing. The imports are tried in processes of their own.

    Args:
        distribution: its name, as in ``pip install``.

    Raises:
        AssertionError: with all that is wrong, a line each, and what to do about it.
    """
    registry = Registry(plugins=[distribution])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        plugins = registry.plugins(load=True)
    problems = [*_metadata(distribution, plugins), *_levels(plugins, registry), *_modules(plugins)]
    if problems:
        raise AssertionError("\n".join([f"{distribution}: not as quantlevels needs it", *problems]))


def _metadata(distribution: str, plugins: Sequence[PluginStatus]) -> Iterator[str]:
    if not plugins:
        yield (
            f'no entry point of quantlevels is found: give its pyproject.toml a table [project.entry-points."{LEVELS}"]'
            f", and install {distribution} anew"
        )
    for plugin in plugins:
        if not plugin.fine:
            yield f"{plugin.name}: {plugin.reason}: {_REPAIRS[plugin.state]}"


def _levels(plugins: Sequence[PluginStatus], registry: Registry) -> Iterator[str]:
    loaded = {
        plugin: registry[plugin.entry] for plugin in plugins if plugin.group == LEVELS and plugin.state == "loaded"
    }
    entries = {normalized(plugin.entry) for plugin in loaded}
    dialects = {dialect for level in shipped().levels for dialect in level.spellings}
    for plugin, level in loaded.items():
        if normalized(level.name) not in entries:
            yield (
                f"{plugin.name}: what is written as {level.name!r} cannot be read back: add the entry point "
                f'{level.name} = "{plugin.value}"'
            )
        for dialect in level.spellings.keys() - dialects:
            for close in get_close_matches(dialect, dialects, n=1):
                yield f"{plugin.name}: the dialect {dialect!r} is no known one: call it {close!r} if that is meant"
        if pickle.loads(pickle.dumps(level)) != level:
            yield f"{plugin.name}: it does not survive pickling: use no values of types of your own in its fields"


def _modules(plugins: Sequence[PluginStatus]) -> Iterator[str]:
    modules = {plugin.value.partition(":")[0]: plugin.name for plugin in reversed(plugins) if plugin.state == "loaded"}
    for module, name in modules.items():
        package = find_spec(module.partition(".")[0])
        folders = package.submodule_search_locations if package else None
        if folders and not any(Path(folder, "py.typed").is_file() for folder in folders):
            yield f"{name}: type checkers do not see that it is a level: put an empty file py.typed in {folders[0]}"
        yield from (f"{name}: {problem}" for problem in _import_alone(module))


def _import_alone(module: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        child = subprocess.run(
            [sys.executable, "-B", "-m", __name__, module, str(report)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        if not report.is_file():
            last = (child.stderr.splitlines() or ["nothing"])[-1]
            yield f"{module} cannot be imported in a process of its own, which said {last!r}: import it there and see"
            return
        result = json.loads(report.read_text(encoding="utf-8"))
    if printed := child.stdout + child.stderr:
        yield f"{module} prints at import: {printed[:200]!r}: remove that, importing is nobody's business but Python's"
    if written := result["written"]:
        yield f"{module} writes at import: {', '.join(written)}: do that when it is asked for, if ever"
    if result["seconds"] > _SLOW:
        others = f", and imports {', '.join(result['others'])}" if result["others"] else ""
        yield (
            f"{module} takes {result['seconds']:.1f} s to import{others}: move the levels to a module that imports "
            "quantlevels alone"
        )


def _probe(module: str, report: str) -> None:  # pyright: ignore[reportUnusedFunction]
    """Import a module, in a process made for it, and report what that did."""
    written: list[str] = []
    known = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names | {module.partition(".")[0]}

    def notice(event: str, details: tuple[object, ...]) -> None:
        flags = details[2] if event == "open" else _WRITING if event in ("os.mkdir", "os.rename", "os.remove") else 0
        if isinstance(flags, int) and flags & _WRITING:
            written.append(str(details[0]))

    sys.addaudithook(notice)
    start = time.perf_counter()
    import_module(module)
    seconds = time.perf_counter() - start
    files = [path for path in dict.fromkeys(written) if path != os.devnull]
    others = sorted({name.partition(".")[0] for name in sys.modules} - known)
    Path(report).write_text(json.dumps({"seconds": seconds, "written": files, "others": others}), encoding="utf-8")


if __name__ == "__main__":
    _probe(*sys.argv[1:])


def check_container(
    container: Container, path: str | os.PathLike[str], tensors: Mapping[str, tuple[QuantizationLevel, tuple[int, ...]]]
) -> None:
    """Check a container of a plugin on a small file: one call for the test suite of its author.

    The file must be recognized and read as expected, with places inside it. Copies of it that are cut or have changed
    bytes must be read or refused with `CheckpointError`, never with another error.

    Args:
        container: of the plugin.
        path: a small file of that format.
        tensors: name of each tensor in it → level and shape.

    Raises:
        AssertionError: with all that is wrong, one line each, and what to do about it.
    """
    from quantlevels.checkpoint.checking import reader_problems  # here: other checks do not need it

    problems = list(reader_problems(container, Path(path), tensors))
    if problems:
        raise AssertionError("\n".join([f"{container.name}: not as quantlevels needs it", *problems]))
