"""Modules that a config names: QL108, QL109, QL306."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from quantlevels.findings import Finding
from quantlevels.inspection.disagreements.evidence import and_others, unnumbered
from quantlevels.schemes.names import ModulePatterns
from quantlevels.vocabulary.plain import value_text

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence
    from quantlevels.schemes.declaration import Declared

#: Parts of the names of layers that predict tokens further ahead.
_AHEAD: Final = r"(?:^|\.)(?:mtp|nextn|mtp_block|mtp_layers)(?=\.)"


def skipped_but_quantized(evidence: Evidence) -> Iterator[Finding]:
    """QL108: a module that the config leaves unquantized is quantized."""
    if not (evidence.claims_levels and evidence.declared and evidence.declared.skipped) or evidence.is_gguf:
        return
    found: list[tuple[str, str]] = []
    for weight, modules in evidence.quantized():
        level = str(weight.level)
        found += ((module, level) for module in evidence.declared.skipped_modules.filter(modules))
    if found:
        (module, level), *others = sorted(found)
        yield Finding("QL108", f"excluded by the config, but stored as {level}{and_others(others)}", module)


def target_not_quantized(evidence: Evidence) -> Iterator[Finding]:
    """QL109: a module that the config names, or covers while its siblings are quantized, is stored unquantized."""
    declared = evidence.declared
    if not (evidence.claims_levels and declared) or evidence.is_gguf or not evidence.stored.quantized_parameters:
        return
    plain: dict[str, str] = {}
    for weight, modules in evidence.plain_matrices():
        plain.update(dict.fromkeys(modules, str(weight.level)))
    # an entry that names a module overrides the declaration for all modules
    expected = {**_covered(evidence, declared, list(plain)), **_named(declared, list(plain))}
    found = sorted(set(evidence.not_skipped(list(expected))) - _also_quantized(evidence, expected))
    if found:
        module, *others = found
        yield Finding("QL109", f"{expected[module]}, but it is stored as {plain[module]}{and_others(others)}", module)


def _also_quantized(evidence: Evidence, expected: Mapping[str, str]) -> set[str]:
    """The modules among ``expected`` that hold a quantized weight beside the plain one."""
    found: set[str] = set()
    if expected:  # else not needed, and going through all modules takes time
        for _, modules in evidence.quantized():
            found.update(filter(expected.__contains__, modules))
    return found


def patterns_not_read(evidence: Evidence) -> Iterator[Finding]:
    """QL306: a pattern of the config is not supported, or all of them take longer than their size allows."""
    declared = evidence.declared
    if declared and declared.unsupported_patterns:
        first, *others = declared.unsupported_patterns
        reason = "is a pattern that is not valid, not supported or too costly; it is taken to name no module"
        yield Finding("QL306", f"{value_text(first)} {reason}{and_others(others)}", declared.source)


def _named(declared: Declared, plain: list[str]) -> dict[str, str]:
    """Plain modules that the config names → what it says about them."""
    levels = {name: level.level for name, level in declared.overrides.items() if level is not None}
    for level in declared.levels:
        levels.update(dict.fromkeys(level.targets or (), level.level))
    if not levels:
        return {}
    entries = zip(plain, ModulePatterns(levels, declared.matching).match_all(plain), strict=True)
    return {
        module: f"the config gives it {levels[entry]}"
        for module, entry in entries
        if entry is not None and _means_just(entry, module)
    }


def _means_just(entry: str, module: str) -> bool:
    """Whether an entry names this module: catch-all patterns also match modules that no quantizer takes."""
    return _last(module) in entry.replace("\\", "")


def _covered(evidence: Evidence, declared: Declared, plain: list[str]) -> dict[str, str]:
    """Plain modules under the general declaration whose siblings are quantized → what the config says about them.

    Siblings have the same name in another layer or expert, or in a layer that predicts tokens ahead. Modules of another
    part of the model are not siblings: methods that do not list their exceptions often quantize only the text model.
    """
    if declared.general is None or not plain:
        return {}
    siblings = _quantized_siblings(evidence, {_last(module) for module in plain})
    last_names = {_last(sibling) for sibling in siblings}
    modules = [
        module
        for module in plain
        if unnumbered(module) in siblings or (re.search(_AHEAD, module) and _last(module) in last_names)
    ]
    covered: dict[str, str] = {}
    for level, named in declared.by_level(modules):
        if level is not None:
            claim = f"the config declares {level.level} for all modules that it does not exclude"
            covered.update(dict.fromkeys(named, claim))
    return covered


def _quantized_siblings(evidence: Evidence, last_names: set[str]) -> set[str]:
    """Names without numbers of the quantized modules that end like one of the plain ones."""
    siblings: set[str] = set()
    for _, modules in evidence.quantized():
        text = "\n".join(["", *modules, ""])  # one search in a text is faster than one in each of many names
        if any(f".{last}\n" in text or f"\n{last}\n" in text for last in last_names):
            siblings.update(map(unnumbered, modules))
    return siblings


def _last(module: str) -> str:
    return module.rpartition(".")[2]
