"""Modules that a config names: QL108, QL109."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from quantlevels.findings import Finding
from quantlevels.inspection.disagreements.evidence import and_others
from quantlevels.schemes.names import ModulePatterns

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence
    from quantlevels.schemes.declaration import Declared

#: Parts of a name under which models keep layers that predict further tokens ahead.
_AHEAD: Final = re.compile(r"(?:^|\.)(?:mtp|nextn|mtp_block|mtp_layers)(?=\.)")
_NUMBER: Final = re.compile(r"\d+")


def skipped_but_quantized(evidence: Evidence) -> Iterator[Finding]:
    """QL108: a module that the config leaves unquantized is quantized."""
    if not (evidence.claims_levels and evidence.declared and evidence.declared.skipped) or evidence.is_gguf:
        return
    found = sorted(
        (module, str(weight.level))
        for weight, modules in evidence.quantized()
        for module in evidence.declared.skipped_modules.filter(modules)
    )
    if found:
        (module, level), *others = found
        yield Finding("QL108", f"excluded by the config, but stored as {level}{and_others(others)}", module)


def target_not_quantized(evidence: Evidence) -> Iterator[Finding]:
    """QL109: a module that the config names, or covers while its siblings are quantized, is stored unquantized."""
    declared = evidence.declared
    if not (evidence.claims_levels and declared) or evidence.is_gguf or not evidence.stored.quantized_parameters:
        return
    quantized = {module for _, modules in evidence.quantized() for module in modules}
    plain = [(module, str(weight.level)) for weight, modules in evidence.plain_matrices() for module in modules]
    plain = [(module, level) for module, level in plain if module not in quantized]
    expected = {**_covered(evidence, declared, quantized, plain), **_named(declared, plain)}
    found = sorted((module, level) for module, level in plain if module in expected)
    kept = set(evidence.not_skipped([module for module, _ in found]))
    found = [(module, level) for module, level in found if module in kept]
    if found:
        (module, level), *others = found
        yield Finding("QL109", f"{expected[module]}, but it is stored as {level}{and_others(others)}", module)


def _named(declared: Declared, plain: list[tuple[str, str]]) -> dict[str, str]:
    """Plain modules that the config names → what it says of them."""
    levels = {name: level.level for name, level in declared.overrides.items() if level is not None}
    levels |= {name: level.level for level in declared.levels for name in level.targets or ()}
    if not levels:
        return {}
    modules = [module for module, _ in plain]
    entries = zip(modules, ModulePatterns(levels, declared.matching).match_all(modules), strict=True)
    return {
        module: f"the config gives it {levels[entry]}"
        for module, entry in entries
        if entry is not None and _means_just(entry, module)
    }


def _means_just(entry: str, module: str) -> bool:
    """Whether an entry of a config is about this module: catch-all patterns match modules that no quantizer takes."""
    last = module.rpartition(".")[2]
    return last in entry.replace("\\", "")


def _covered(
    evidence: Evidence, declared: Declared, quantized: set[str], plain: list[tuple[str, str]]
) -> dict[str, str]:
    """Plain modules under the general declaration whose siblings are quantized → what the config says of them.

    Siblings have the same name in another layer or expert, or in a layer that predicts tokens ahead. Modules of another
    part of the model are not siblings: methods that do not list what they leave often quantize the text model alone.
    """
    if declared.general is None or not plain:
        return {}
    siblings = {_unnumbered(module) for module in quantized}
    last_names = {module.rpartition(".")[2] for module in quantized}
    modules = [
        module
        for module, _ in plain
        if _unnumbered(module) in siblings or (_AHEAD.search(module) and module.rpartition(".")[2] in last_names)
    ]
    return {
        module: f"the config declares {level.level} for all modules that it does not exclude"
        for level, named in declared.by_level(modules)
        if level is not None
        for module in named
    }


def _unnumbered(module: str) -> str:
    return _NUMBER.sub("#", module)
