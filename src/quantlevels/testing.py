"""Checks for users' tests: the level of a checkpoint, the contract of a plugin, a scheme on a small model."""

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
from typing import TYPE_CHECKING, Final, TypeAlias

from quantlevels.container import Container
from quantlevels.errors import PluginWarning, QuantLevelsError
from quantlevels.inspection.planning import size
from quantlevels.inspection.report import Inspection, inspect
from quantlevels.inspection.verification import Requirements
from quantlevels.schemes import find_scheme
from quantlevels.vocabulary.index import normalized, shipped
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plugins import LEVEL_GROUP, SCHEME_GROUP, PluginStatus, State
from quantlevels.vocabulary.registry import Registry
from quantlevels.vocabulary.registry import levels as known_levels

if TYPE_CHECKING:
    from quantlevels.scheme import Scheme
    from quantlevels.schemes.folding import FoldedWeight

#: Name → dtype as safetensors writes it, and shape.
TensorSpecs: TypeAlias = "Mapping[str, tuple[str, Sequence[int]]]"

#: seconds; a level is plain data, and its module imports in a few milliseconds. One that imports torch takes seconds,
#: which every user of the plugin waits for at the first look-up of its name.
_SLOW: Final = 0.5
_TIMEOUT: Final = 120  # seconds: an import that takes longer hangs, even on a loaded machine of a CI service
_MOST_LEVELS: Final = 5  # of the stored levels, in the message of `assert_level`

#: What the author of a plugin should do about its state. `PluginStatus.remedy` is what its users can do.
_REPAIRS: Final[Mapping[State, str]] = {
    "rejected": "correct that; until then it is left out wherever it is installed",
    "failed": "correct that, and install it again",
    "conflicting": "let one of them have it, or make the two equal",
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
    """Assert that a checkpoint matches its own claims and has a level: one call to test an export.

    Args:
        path, level, max_bits_per_weight, parameters, strict, ignore: as ``quantlevels.verify``.

    Raises:
        AssertionError: with what is declared, what is stored (most bytes first), and all findings that count.
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
        raise AssertionError("\n".join([f"{path}: verification failed", *_evidence(report), *map(str, failed)]))


def _evidence(report: Inspection) -> Iterator[str]:
    declared = report.declared
    if declared is None:
        yield "declared: nothing"
    else:
        names = [str(row.level) for row in declared.levels] + [str(declared.dtype)] * (declared.dtype is not None)
        yield f"declared: {', '.join(names) or 'nothing'} in {declared.source}"
    if report.stored is None:
        return
    for row in report.stored.levels[:_MOST_LEVELS]:
        group = f" in groups of {row.group_size}" if row.group_size else ""
        yield f"stored: {row.level}{group}, {row.parameters:,} parameters, {row.nbytes:,} bytes"


def check_plugin(distribution: str) -> None:
    """Check everything that an installed distribution brings to quantlevels: one call for its author's tests.

    It checks the metadata; that names, aliases and dialect words of levels are free; that levels are
    `QuantizationLevel` to Python and to type checkers and can be pickled; that the import is quick, prints nothing and
    writes nothing. The imports run in new processes.

    Args:
        distribution: its name, as in ``pip install``.

    Raises:
        AssertionError: with one line for each problem, and what to do about it.
    """
    registry = Registry(plugins=[distribution])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        plugins = registry.plugins(load=True)
    problems = [*_metadata(distribution, plugins), *_levels(plugins, registry), *_modules(plugins)]
    if problems:
        raise AssertionError("\n".join([f"{distribution}: breaks the contract of plugins", *problems]))


def _metadata(distribution: str, plugins: Sequence[PluginStatus]) -> Iterator[str]:
    if not plugins:
        yield (
            "no entry point of quantlevels is found: add a table"
            f' [project.entry-points."{LEVEL_GROUP}"] to its pyproject.toml and install {distribution} again'
        )
    for plugin in plugins:
        if not plugin.fine:
            yield f"{plugin.name}: {plugin.reason}: {_REPAIRS[plugin.state]}"


def _levels(plugins: Sequence[PluginStatus], registry: Registry) -> Iterator[str]:
    loaded = {
        plugin: registry[plugin.entry] for plugin in plugins if plugin.group == LEVEL_GROUP and plugin.state == "loaded"
    }
    entries = {normalized(plugin.entry) for plugin in loaded}
    dialects = {dialect for level in shipped().levels for dialect in level.spellings}
    for plugin, level in loaded.items():
        if normalized(level.name) not in entries:
            yield (
                f"{plugin.name}: {level.name!r}, which configs are written with, cannot be read: add the entry point "
                f'{level.name} = "{plugin.value}"'
            )
        for dialect in level.spellings.keys() - dialects:
            for close in get_close_matches(dialect, dialects, n=1):
                yield f"{plugin.name}: the dialect {dialect!r} is not known: call it {close!r} if that is meant"
        # models are passed to worker processes by pickle, and a level goes with their configs
        if pickle.loads(pickle.dumps(level)) != level:
            yield f"{plugin.name}: it changes when pickled: use only plain values in its fields"


def _modules(plugins: Sequence[PluginStatus]) -> Iterator[str]:
    # reversed: of several plugins in one module, the first is named
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
        # -B: bytecode that Python itself would write must not count as what the plugin writes
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
            yield f"{module} cannot be imported in a new process, which ended with {last!r}: make it importable alone"
            return
        result = json.loads(report.read_text(encoding="utf-8"))
    printed = child.stdout + child.stderr
    if printed:
        yield f"{module} prints at import: {printed[:200]!r}: remove that"
    if result["written"]:
        yield f"{module} writes at import: {', '.join(result['written'])}: do that only in a function"
    if result["seconds"] > _SLOW:
        others = f", and imports {', '.join(result['others'])}" if result["others"] else ""
        yield (
            f"{module} takes {result['seconds']:.1f} s to import{others}: move the levels to a module that imports "
            "only quantlevels"
        )


# -- schemes -----------------------------------------------------------------------------------------------------------


def check_scheme(
    config: Mapping[str, object],
    tensors: TensorSpecs,
    *,
    parameters: int,
    levels: Mapping[str, int],
) -> None:
    """Check an installed plugin's scheme on a small model: one call for its author's tests.

    It checks that the config and all tensors are understood without a finding, that the numbers of parameters are
    right, that the scheme's storage rules predict the stored bytes exactly, and that a model with a missing or
    misshapen tensor is never accepted silently.

    Args:
        config: the ``quantization_config`` of the model, with its ``quant_method``.
        tensors: name → (dtype as safetensors writes it, shape), of all tensors of the model.
        parameters: logical weights of the whole model, norms and biases included.
        levels: name of each quantized level → its logical weights.

    Raises:
        AssertionError: with one line for each problem.
    """
    method = str(config.get("quant_method"))
    scheme = find_scheme(method)
    if scheme is None:
        raise AssertionError(
            f'no scheme for the method {method!r}: add an entry point to [project.entry-points."{SCHEME_GROUP}"],'
            " install the distribution, and see `quantlevels plugins --check`"
        )
    report = _small_model(config, tensors)
    problems = list(map(str, report.findings))
    problems += _wrong_totals(report, parameters, levels)
    nbytes = {tensor.name: tensor.nbytes for tensor in report.tensors}
    for name, weight in report.weights():
        if weight.quantized and isinstance(weight.level, QuantizationLevel):
            stored = weight.nbytes - nbytes.get(f"{name}.bias", 0)
            problems += (f"{name}: {problem}" for problem in _wrong_size(weight, scheme, weight.level, stored))
    if not problems:  # else each damaged model would repeat them
        problems += _accepted_damage(config, tensors, scheme)
    if problems:
        raise AssertionError("\n".join([f"{method}: the small model is not read as it should be", *problems]))


def _small_model(config: Mapping[str, object], tensors: TensorSpecs) -> Inspection:
    """What is reported of a model of these tensors, all zeros."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps({"quantization_config": dict(config)}), encoding="utf-8")
        _write_safetensors(Path(folder, "model.safetensors"), tensors)
        return inspect(folder)


def _write_safetensors(path: Path, tensors: TensorSpecs) -> None:
    header: dict[str, object] = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + known_levels.from_dialect("safetensors", dtype).nbytes(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def _wrong_totals(report: Inspection, parameters: int, levels: Mapping[str, int]) -> Iterator[str]:
    stored = report.stored
    if stored is None:
        yield "no tensors are read"
        return
    if stored.parameters != parameters:
        yield f"{stored.parameters:,} parameters are read, not {parameters:,}"
    found: dict[str, int] = {}
    for row in stored.levels:
        if row.quantized:
            found[row.level.name] = found.get(row.level.name, 0) + row.parameters
    for name in {**found, **levels}:
        if found.get(name, 0) != levels.get(name, 0):
            yield f"{found.get(name, 0):,} weights are read at {name}, not {levels.get(name, 0):,}"


def _wrong_size(weight: FoldedWeight, scheme: Scheme, level: QuantizationLevel, stored: int) -> Iterator[str]:
    """Whether the scheme's storage rules predict other bytes than are stored for a weight, its bias apart."""
    rules = [rule for rule in scheme.storage if level.name in rule.levels]
    if not rules or len(weight.shape) < 2:
        return
    # the group size of a microscaled level is that of its block, and `size` refuses another
    group = weight.group_size if rules[0].grouped and level.block.weights == 1 else None
    where = f"a weight of {list(weight.shape)} at {level.name}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        _write_safetensors(path, {"layers.0.proj.weight": ("BF16", weight.shape)})
        try:
            planned = size(path, level=level, scheme=scheme.method, group_size=group).nbytes
        except QuantLevelsError as error:
            yield f"the storage rules fail for {where}: {error}"
            return
    if planned != stored:
        yield f"the storage rules predict {planned:,} bytes for {where}, its tensors take {stored:,}"


def _accepted_damage(config: Mapping[str, object], tensors: TensorSpecs, scheme: Scheme) -> Iterator[str]:
    """The ways to damage the model of which nothing is reported."""
    needed: set[str] = set()
    shaped: set[str] = set()
    for packing in scheme.packings:
        needed.update((packing.codes, *packing.needs))
        shaped.update((packing.codes, *packing.needs, *(rule.name for rule in packing.sides)))
    for name, (dtype, shape) in tensors.items():
        module, _, suffix = name.rpartition(".")
        # a module's only tensor is left in place: without it the whole module is gone, which nothing can notice
        if suffix in needed and any(other.startswith(f"{module}.") for other in tensors if other != name):
            rest = {other: tensor for other, tensor in tensors.items() if other != name}
            yield from _silence(config, rest, f"without {name}")
        if suffix not in shaped:
            continue
        for axis in range(len(shape)):
            longer = [length + (place == axis) for place, length in enumerate(shape)]
            yield from _silence(config, {**tensors, name: (dtype, longer)}, f"if {name} has the shape {longer}")


def _silence(config: Mapping[str, object], tensors: TensorSpecs, what: str) -> Iterator[str]:
    try:
        report = _small_model(config, tensors)
    except Exception as error:  # a scheme of another author may raise anything
        yield f"{what}, {type(error).__name__} is raised ({error}): raise LayoutError in `fold`"
    else:
        if not report.findings:
            yield f"{what}, nothing is reported: name the tensor in `needs`, and give its TensorRule types and shapes"


def _probe(module: str, report: str) -> None:  # pyright: ignore[reportUnusedFunction]
    """Import a module, in a process made for it, and report its effects."""
    written: list[str] = []
    known = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names | {module.partition(".")[0]}

    def notice(event: str, details: tuple[object, ...]) -> None:
        if event == "open":  # details: path, mode, flags; the mode is None for os.open, the flags are always there
            flags = details[2]
            writes = isinstance(flags, int) and flags & _WRITING != 0
        else:
            writes = event in ("os.mkdir", "os.rename", "os.remove")
        if writes:
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
