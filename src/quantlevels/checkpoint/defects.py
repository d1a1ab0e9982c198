"""Defects that files of several containers have, one finding for all alike: a header may have any number of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from quantlevels.checkpoint.source import shown
from quantlevels.container import File, Source, Tensor, UnknownType
from quantlevels.findings import Finding, pluralize

#: how many names a finding lists
_LISTED: Final = 3


def unknown_types(tensors: Iterable[Tensor]) -> Iterator[Finding]:
    """QL301 for each type that no level has, with its first tensor."""
    unknown: dict[UnknownType, list[str]] = {}
    for tensor in tensors:
        if isinstance(tensor.dtype, UnknownType):
            unknown.setdefault(tensor.dtype, []).append(tensor.name)
    for dtype, names in unknown.items():
        more = f" (and {pluralize(len(names) - 1, 'tensor')} more)" if len(names) > 1 else ""
        yield Finding("QL301", f"{dtype} is not a known level{more}", names[0])


def missing_files(missing: Sequence[str], files: int) -> Iterator[Finding]:
    """QL201 if some of so many files are missing."""
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        message = f"{len(missing):,} of {pluralize(files, 'file')} {verb} missing: {some(missing)}"
        yield Finding("QL201", message, missing[0])


def named_files(source: Source, ends: Mapping[str, int]) -> tuple[tuple[File, ...], list[Finding]]:
    """The files beside one that names them, and QL201 and QL206 for those that are missing or too short.

    Args:
        source: the file that names them.
        ends: name of a file → the bytes that its tensors need.

    Raises:
        CheckpointError: if a name leads out of the folder.
    """
    sizes = {name: source.sibling_size(name) for name in ends}
    files = tuple(File(name, size) for name, size in sizes.items() if size is not None)
    findings = [*missing_files([name for name, size in sizes.items() if size is None], len(ends))]
    short = [file for file in files if file.nbytes < ends[file.path]]
    if short:
        first, *others = short
        more = f" (and {pluralize(len(others), 'file')} more)" if others else ""
        message = f"has {first.nbytes:,} bytes; its tensors end at {ends[first.path]:,}{more}"
        findings.append(Finding("QL206", message, first.path))
    return files, findings


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(map(shown, names[:_LISTED])) + more
