"""What the files of a checkpoint claim about its weights: config files, header metadata, markers, a GGUF's label.

Claims are read in four steps, each a module: ``places`` (where a claim may stand), ``methods`` (whose words it is in),
``reading`` (words → levels), and here the choice of the claim that counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from quantlevels.container import JSON, Checkpoint
from quantlevels.errors import PluginError
from quantlevels.findings import Finding
from quantlevels.scheme import UNQUANTIZED_BITS, DeclaredLevel
from quantlevels.schemes.declaration.declared import Declared
from quantlevels.schemes.declaration.methods import Claim, claim_of
from quantlevels.schemes.declaration.places import FOREIGN_CONFIGS, model_configs, sections
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plain import value_text
from quantlevels.vocabulary.registry import Registry, levels

__all__ = ["Declared", "declared_by"]

_DTYPE_KEYS: Final = ("dtype", "torch_dtype")
_LABEL: Final = "general.file_type"


def declared_by(checkpoint: Checkpoint, registry: Registry = levels) -> tuple[Declared | None, tuple[Finding, ...]]:
    """What a checkpoint claims, None if it claims nothing, and findings for every claim that could not be read.

    Args:
        checkpoint: what was read.
        registry: knows the plugins with schemes.

    Findings: QL301 for unknown words, QL302 for sections that no known method explains, QL305 for values that cannot
    be, QL306 for settings that the method does not read.
    """
    findings: list[Finding] = []
    if checkpoint.container and checkpoint.container.llama_cpp:
        return _label(checkpoint, findings), tuple(findings)
    dtype, source = _dtype(checkpoint, findings)
    claims: list[Claim] = []
    for section in sections(checkpoint, findings):
        claim = claim_of(section, registry, findings)
        if claim:
            claims.append(claim)
    declared: Declared | None = None
    if claims:
        declared = _declared(claims, dtype, findings)
    elif dtype:
        declared = Declared(source=source, dtype=dtype)
    return declared, tuple(findings)


def _declared(claims: Sequence[Claim], dtype: QuantizationLevel | None, findings: list[Finding]) -> Declared:
    """What the first claim declares, completed by those of the same method, with the other claims beside it."""
    first, *_ = claims  # of the config that loaders read first: `sections` yields them in that order
    if first.scheme is None:
        return Declared(source=first.section.file, method=first.word, known=False, dtype=dtype)
    # here: only sections of a known method need the converter
    from quantlevels.schemes.declaration.reading import read_claims

    same = [claim for claim in claims if claim.scheme is first.scheme]
    others: list[Declared] = []
    for claim in claims[1:]:
        if claim.scheme is not None and claim.section.file != first.section.file:
            declared, mistakes = read_claims([claim], claim.scheme, dtype)
            others.append(declared)
            if claim.scheme is not first.scheme:  # those of the same method are found when both are read together
                findings += mistakes
    declared, mistakes = read_claims(same, first.scheme, dtype, others=tuple(others))
    findings += mistakes
    return declared


def _label(checkpoint: Checkpoint, findings: list[Finding]) -> Declared | None:
    """What the ``general.file_type`` of a GGUF says: the type that most of its weights are meant to have."""
    label = checkpoint.metadata.get(_LABEL)
    if label is None:
        return None
    from quantlevels.llamacpp import FILE_TYPES, GUESSED  # here: only labels need them

    source = checkpoint.files[0].path
    number = label & ~GUESSED if type(label) is int else None  # the key may hold a float or text in a broken file
    if number not in FILE_TYPES:
        findings.append(Finding("QL301", f"{_LABEL} is {value_text(label)}, which is not a known file type", source))
        return None
    _, name = FILE_TYPES[number]
    if name is None:  # a type that llama.cpp has removed, or one that says nothing
        return None
    level = levels[name]
    if level.bits_per_param >= UNQUANTIZED_BITS:
        return Declared(source=source, dtype=level)
    declared = DeclaredLevel(level=level, bits_per_weight=level.bits_per_weight)
    return Declared(source=source, method="gguf", levels=(declared,), general=declared)


def _dtype(checkpoint: Checkpoint, findings: list[Finding]) -> tuple[QuantizationLevel | None, str]:
    """The level of what is not quantized, as the model's config names it, and the file that does."""
    for file, path, word in _dtypes(checkpoint):
        if not isinstance(word, str):
            findings.append(Finding("QL305", f"{path}: expected the name of a dtype, got {value_text(word)}", file))
            return None, file
        try:
            return levels[word], file
        except (LookupError, PluginError) as error:
            findings.append(Finding("QL301", f"{path}: {error}", file))
            return None, file
    return None, ""


def _dtypes(checkpoint: Checkpoint) -> Iterator[tuple[str, str, JSON]]:
    """Each dtype that a config names for the model: file, place, value."""
    for file, config in checkpoint.configs.items():
        if file in FOREIGN_CONFIGS:
            continue
        for path, owner in model_configs(config):
            # the dtype in a quantizer's own file is that of its arithmetic, not of the weights it left alone
            if file != "config.json" and path == "$" and "quant_method" in owner:
                continue
            for key in _DTYPE_KEYS:
                if owner.get(key) not in (None, "auto"):
                    yield file, f"{path}.{key}", owner[key]
