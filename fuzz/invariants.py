"""What holds of any input: a promised error, or an inspection whose figures agree with each other."""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from quantlevels import CheckpointError, ConfigError, Inspection, inspect


def check(inspection: Callable[[], Inspection]) -> None:
    """Take an inspection, and hold it to what is promised of all of them."""
    try:
        report = inspection()
    except (CheckpointError, ConfigError) as error:
        refused: Exception = error
    else:
        _hold(report)
        return
    assert str(pickle.loads(pickle.dumps(refused))) == str(refused)


def _hold(report: Inspection) -> None:
    json.dumps(report.to_record(), allow_nan=False)
    for finding in report.findings:
        assert str(finding)
    stored = report.stored
    if stored is not None:
        assert 0 <= stored.quantized_parameters <= stored.parameters
        accounts = (*(level.nbytes for level in stored.levels), stored.buffers.nbytes, stored.unexplained.nbytes)
        assert sum(accounts) == stored.tensor_bytes
        assert all(level.parameters >= 0 and level.nbytes >= 0 for level in stored.levels)
        assert all(level.group_size is None or level.group_size > 0 for level in stored.levels)


def check_file(name: str, content: bytes, nbytes: int | None = None) -> None:
    """Inspect a file of this content, with zeros to a length after it."""
    file = _folder() / name
    with file.open("wb") as out:
        out.write(content)
        if nbytes is not None:
            out.truncate(nbytes)
    check(lambda: inspect(file))


@cache
def _folder() -> Path:
    # kept by the cache until Python ends, which then removes it
    memory = Path("/dev/shm")
    kept = tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
