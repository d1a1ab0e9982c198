"""What tests of remote reading share."""

from __future__ import annotations

import pytest


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited for."""
    ranges = pytest.importorskip("quantlevels.checkpoint.remote.ranges")
    found: list[float] = []
    monkeypatch.setattr(ranges, "wait", found.append)
    return found
