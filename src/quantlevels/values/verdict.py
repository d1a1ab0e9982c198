"""What was found in single tensors → what is said of the checkpoint: at most one finding per code."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from quantlevels.findings import Finding, pluralize
from quantlevels.values.precision import Precision
from quantlevels.values.records import Checksum, Damage, Effective, Values

if TYPE_CHECKING:
    from quantlevels.values.state import TensorState
    from quantlevels.values.subjects import Subject
    from quantlevels.values.zeros import Run

_NUMBER: Final = re.compile(r"\d+")
#: what is zero until it is trained, or by design: halves of adapters, gates, and convolutions that begin at zero
_ZERO_BY_DESIGN: Final = re.compile(
    r"lora|lokr|loha|hada_|adapter|zero_(conv|proj|module)|controlnet_(down|mid|cond)"
    r"|(^|\.)(gate|attn_gate|mlp_gate|[^.]*gating[^.]*)(\.weight)?$",
    re.IGNORECASE,
)
_LEAST_ZERO: Final = 1024  # elements: small matrices are zero for many reasons
#: what a module's codes need at least for constant ones to be damage
_LEAST_CODES: Final = 1024
#: where a digest is from, in words
_ORIGINS: Final[dict[str, str]] = {
    "blob-name": "its name",
    "download-metadata": "the record of its download",
    "sidecar": "the checksum file beside it",
    "lfs-pointer": "its Git LFS pointer",
}
#: the plain types whose weights can hold less than they could
_LABELS: Final[dict[str, str]] = {"Float64": "FP64", "None": "FP32", "Float16": "FP16", "BFloat16": "BF16"}


def judged(
    states: Sequence[TensorState],
    blank: Sequence[tuple[Run, Subject]],
    checksums: Sequence[Checksum],
    values: Values,
    *,
    is_adapter: bool,
) -> Values:
    """The values of a checkpoint, completed with what its tensors show together.

    Args:
        states: all tensors that were read.
        blank: regions of zeros that begin or end where none should, each with the weight in which it does.
        checksums: digests of files.
        values: how much was read.
        is_adapter: whether half of the weights may still be zero by design.
    """
    regions = list(_blank(blank, states))
    damage = [damage for state in states for damage in state.damage]
    damage += regions
    if not is_adapter:  # lora_B is zero before training, and an adapter may be stored before it
        damage += _zero_weights(states, blank)
    damage += _modules(states)
    effective = [*_effective(states), *_unused(states)]
    findings = [
        *_damage_findings(damage),
        *_checksum_findings(checksums),
        *_precision_findings(effective, states, values.nbytes),
        *_unused_findings(effective, states),
    ]
    return evolve(
        values,
        damage=tuple(damage),
        checksums=tuple(checksums),
        effective=tuple(effective),
        findings=tuple(findings),
    )


def _blank(blank: Iterable[tuple[Run, Subject]], states: Iterable[TensorState]) -> Iterator[Damage]:
    """QL602: the regions whose weight is not zero throughout."""
    # seen in a file that had its full length, but only 48 % of its bytes written (microsoft/foundry-local#909)
    by_name = {state.subject.name: state for state in states}
    for run, subject in blank:
        state = by_name[subject.name]
        if state.is_zero:
            continue
        yield Damage(
            code="QL602",
            tensor=subject.name,
            message=(
                f"{run.end - run.begin:,} zero bytes from byte {run.begin:,} of {subject.place.file}: this region"
                " begins or ends inside a row, as after an interrupted download"
            ),
            count=run.end - run.begin,
            offset=run.begin,
            values_read=subject.values_in(state.bytes_read),
        )


def _zero_weights(states: Iterable[TensorState], blank: Sequence[tuple[Run, Subject]]) -> Iterator[Damage]:
    """QL603: matrices that are zero while those of the same name in other layers or experts are not."""
    siblings: dict[str, list[TensorState]] = defaultdict(list)
    for state in states:
        subject = state.subject
        if subject.role == "weight" and subject.is_matrix and subject.elements >= _LEAST_ZERO and state.bytes_read:
            siblings[_NUMBER.sub("*", subject.name)].append(state)
    for name, alike in siblings.items():
        # zero everywhere is a model that was not trained; zero in some layers is damage (paiml/aprender#2337: 27 of
        # 339 tensors)
        if _ZERO_BY_DESIGN.search(name) or all(state.is_zero for state in alike):
            continue
        for state in alike:
            subject = state.subject
            if state.is_zero and not _is_in_region(subject, blank):
                read = subject.values_in(state.bytes_read)
                others = sum(not other.is_zero for other in alike)
                yield Damage(
                    code="QL603",
                    tensor=subject.name,
                    message=(
                        f"all values that were read are zero ({read:,} of {subject.elements:,}); of"
                        f" {len(alike):,} weights with this name in all layers and experts, {others:,} are not zero"
                    ),
                    count=read,
                    first=(0,) * len(subject.shape),
                    offset=subject.place.offset,
                    values_read=read,
                )


def _is_in_region(subject: Subject, blank: Iterable[tuple[Run, Subject]]) -> bool:
    return any(
        edge.place.file == subject.place.file and run.begin <= subject.place.offset and subject.end <= run.end
        for run, edge in blank
    )


def _modules(states: Iterable[TensorState]) -> Iterator[Damage]:
    """QL604 and QL605: scales and codes of a module that cannot both be right."""
    modules: dict[str, list[TensorState]] = defaultdict(list)
    for state in states:
        modules[state.subject.module].append(state)
    for members in modules.values():
        yield from _blocks_of_zero_scale(members)
        codes = next((state for state in members if state.subject.role == "codes" and state.words), None)
        scales = [state for state in members if state.subject.role == "scale"]
        if codes is None or codes.words is None or not scales:
            continue
        read = codes.subject.values_in(codes.bytes_read)
        # what calibration never touched is uninitialised: scales of zero, codes all 0x88888888
        # (vllm-project/compressed-tensors#832, #854)
        dead = next((state for state in scales if state.is_zero), None)
        if dead and codes.words.varies:
            yield Damage(
                code="QL604",
                tensor=dead.subject.name,
                message=(
                    f"all {dead.subject.elements:,} scales are zero, but the packed values of {codes.subject.name} vary"
                ),
                count=dead.subject.elements,
                first=(0,) * len(dead.subject.shape),
                offset=dead.subject.place.offset,
                values_read=dead.subject.values_in(dead.bytes_read),
            )
        elif not dead and not codes.words.varies and codes.subject.weight.parameters >= _LEAST_CODES:
            word = codes.words.first or 0
            yield Damage(
                code="QL605",
                tensor=codes.subject.name,
                message=(
                    f"every packed value is {word:#x} ({read:,} of {codes.subject.elements:,} read), but its scales"
                    " are not zero"
                ),
                count=read,
                first=(0,) * len(codes.subject.shape),
                offset=codes.subject.place.offset,
                values_read=read,
            )


def _blocks_of_zero_scale(members: Iterable[TensorState]) -> Iterator[Damage]:
    """QL604 for ggml types: all blocks have a scale of zero, while their codes vary."""
    for state in members:
        blocks = state.blocks
        if blocks and blocks.subject.blocks and blocks.scales_are_zero and blocks.codes_vary:
            subject = state.subject
            count = subject.nbytes // subject.block_nbytes
            yield Damage(
                code="QL604",
                tensor=subject.name,
                message=f"the scales of all {count:,} blocks are zero, but the packed values vary",
                count=count,
                first=(0,),
                offset=subject.place.offset,
                values_read=subject.values_in(state.bytes_read),
            )


def _effective(states: Iterable[TensorState]) -> list[Effective]:
    """Plain weights that hold less than their type could, those alike as one."""
    alike: dict[tuple[str, Precision], list[TensorState]] = defaultdict(list)
    for state in states:
        if state.precision:
            alike[state.subject.dtype, state.precision].append(state)
    found = [
        Effective(
            stored=stored,
            bits=precision.bits,
            rule=precision.rule,
            level=precision.level,
            levels=precision.levels,
            group_size=precision.group_size,
            block=precision.block,
            by_columns=precision.by_columns,
            weights=len(several),
            parameters=sum(state.subject.elements for state in several),
            values_read=sum(state.values_tested for state in several),
        )
        for (stored, precision), several in alike.items()
    ]
    return sorted(found, key=lambda effective: -effective.parameters)


def _unused(states: Iterable[TensorState]) -> list[Effective]:
    """Codes of which few are in use, those alike as one."""
    alike: dict[tuple[str, int], list[Effective]] = defaultdict(list)
    for state in states:
        if state.codes is None:
            continue
        shown = state.codes.shown()
        if shown:
            alike[shown.stored, shown.bits].append(shown)
    return [
        evolve(
            several[0],
            levels=max(weight.levels or 0 for weight in several),
            weights=len(several),
            parameters=sum(weight.parameters for weight in several),
            values_read=sum(weight.values_read for weight in several),
        )
        for several in alike.values()
    ]


def _damage_findings(damage: Iterable[Damage]) -> Iterator[Finding]:
    """One finding per code: the worst tensor, and how many others there are."""
    by_code: dict[str, list[Damage]] = defaultdict(list)
    for defect in damage:
        by_code[defect.code].append(defect)
    for code, several in sorted(by_code.items()):
        worst = max(several, key=lambda defect: defect.count)
        message = worst.message
        if code not in ("QL602", "QL603", "QL604", "QL605"):  # the messages of these have their own count
            message += f" ({worst.values_read:,} values read)"
        if len(several) > 1:
            message += f"; and {pluralize(len(several) - 1, 'other tensor')}"
        yield Finding(code, message, worst.tensor)


def _checksum_findings(checksums: Iterable[Checksum]) -> Iterator[Finding]:
    """QL611."""
    wrong = [checksum for checksum in checksums if not checksum.matches]
    if not wrong:
        return
    first = wrong[0]
    message = f"{first.algorithm} is {first.actual[:12]}..., but {_ORIGINS[first.origin]} says {first.expected[:12]}..."
    if first.edited:
        message += "; the file was changed after its digest was recorded"
    if len(wrong) > 1:
        message += f"; and {pluralize(len(wrong) - 1, 'other file')}"
    yield Finding("QL611", message, first.path)


def _precision_findings(
    effective: Sequence[Effective], states: Sequence[TensorState], nbytes: int
) -> Iterator[Finding]:
    """QL621 and QL622, if what they say holds for at least half of the checkpoint."""
    plain = [state.subject for state in states if state.subject.is_plain]
    upcast = [weights for weights in effective if weights.bits == 16]
    # in bytes, four per parameter: GGUF keeps norms and routers in F32 by convention, whose values often fit BF16
    if upcast and 2 * 4 * sum(weights.parameters for weights in upcast) >= nbytes:
        most = upcast[0]
        yield Finding(
            "QL621",
            f"{_weights(upcast)} hold only values of {_LABELS[most.level or '']} ({_read(upcast)}): half of their bytes"
            " are padding",
        )
    narrow = [weights for weights in effective if weights.bits < 16 and weights.rule != "unused-codes"]
    if narrow and 2 * sum(weights.parameters for weights in narrow) >= sum(subject.elements for subject in plain):
        most = narrow[0]
        stored = {"Float64": 64, "None": 32}.get(most.stored, 16)
        yield Finding(
            "QL622",
            f"{_weights(narrow)} {_RULES[most.rule](most)} ({_read(narrow)}): {most.bits} bits, stored in {stored}",
        )


def _weights(several: Sequence[Effective]) -> str:
    return f"{sum(weights.weights for weights in several):,} {_LABELS[several[0].stored]} weights"


def _read(several: Sequence[Effective]) -> str:
    read = sum(weights.values_read for weights in several)
    parameters = sum(weights.parameters for weights in several)
    return f"{read:,} of {parameters:,} values read"


def _distinct(weights: Effective) -> str:
    if weights.level:  # the only level that this rule fixes is Ternary
        return "hold one magnitude, its negative and zero"
    where = f"each group of {weights.group_size}" if weights.group_size else "each row"
    if weights.by_columns:
        where += " along columns"
    return f"hold at most {weights.levels} distinct values in {where}"


def _mantissas(weights: Effective) -> str:
    where = "the whole weight or each row"
    if weights.block:
        where = f"each block of {weights.block[0]}x{weights.block[1]}"
    elif weights.group_size:
        where = f"each group of {weights.group_size}"
    text = f"hold at most {weights.levels} distinct mantissas in {where}"
    if weights.level:
        text += f", as {weights.level} with a scale does"
    return text


#: rule → what such weights do
_RULES: Final[dict[str, Callable[[Effective], str]]] = {
    "distinct": _distinct,
    "mantissas": _mantissas,
    "significant-bits": lambda weights: f"hold no value of more than {2 if weights.bits == 4 else 4} significant bits",
    "lattice": lambda weights: (
        f"hold whole multiples of one FP16 number in each group of {weights.group_size}, as {weights.level} does"
    ),
}


def _unused_findings(effective: Iterable[Effective], states: Iterable[TensorState]) -> Iterator[Finding]:
    """QL623, if few codes are in use in over half of what a level holds."""
    parameters: dict[str, int] = defaultdict(int)
    for state in states:
        if state.codes:
            parameters[state.subject.weight.level.name] += state.subject.weight.parameters
    for unused in effective:
        # over half: a few modules of a model may be nearly constant for reasons of their own
        if unused.rule == "unused-codes" and 2 * unused.parameters > parameters[unused.stored]:
            verb = "holds" if unused.weights == 1 else "hold"
            yield Finding(
                "QL623",
                f"{pluralize(unused.weights, 'weight')} of {unused.stored} {verb} only {unused.levels} different packed"
                f" values ({unused.values_read:,} of {unused.parameters:,} values read): {unused.bits} bits are enough",
            )
            return
