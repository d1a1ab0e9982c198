"""One thread, many threads, many processes and a Dask cluster give the same rows; a dead worker costs its own row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.survey.stores import write_plain, write_tree

from quantlevels.errors import SurveyError
from quantlevels.survey import SurveyRow, survey
from quantlevels.survey import run as running
from quantlevels.survey.run import BatchRows

#: what differs from one survey to the next
TIMES = ("seconds", "surveyed_at")
#: a model whose reader ends the process that it runs in
DEADLY = "deadly"


def comparable(rows: Iterator[SurveyRow]) -> list[dict[str, object]]:
    kept = ({key: value for key, value in row.items() if key not in TIMES} for row in rows)
    return sorted(kept, key=lambda row: str(row["path"]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fleet") / "tree"
    write_tree(root)
    for number in range(100):
        write_plain(root / f"fleet/{number:03}")
    return root


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
            yield processes


def test_an_executor_gives_the_same_rows(tree: Path, executor: Executor) -> None:
    assert comparable(survey(tree, executor=executor, workers=2)) == comparable(survey(tree))


class Counting(Executor):
    """Runs at once, and knows how many tasks were waiting at most."""

    def __init__(self) -> None:
        self.submitted = self.collected = self.most = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        self.most = max(self.most, self.submitted - self.collected)
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_few_tasks_wait_however_many_checkpoints_there_are(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_BATCH", 1)
    counting = Counting()
    for _ in survey(tree, executor=counting, workers=1):
        counting.collected += 1
    assert counting.submitted > 100
    assert counting.most <= 8


def die(batch: Any) -> BatchRows:
    """Stands in for the function of the workers: a checkpoint ends its process."""
    if any(DEADLY in place.path for place in batch):
        os._exit(1)
    return _read_batch(batch)


_read_batch = running.read_batch


def test_a_checkpoint_that_kills_workers_costs_one_row(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain(tree / DEADLY)
    monkeypatch.setattr(running, "read_batch", die)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as processes:
        rows = {row["name"]: row for row in survey(tree, executor=processes, workers=2)}
    monkeypatch.undo()
    assert rows.keys() == {row["name"] for row in survey(tree)}
    assert rows[DEADLY]["error"] == "the process that read it died, perhaps because the memory was full"
    assert sum("died" in (row["error"] or "") for row in rows.values()) == 1


def test_workers_of_another_version_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "read_batch", lambda batch: BatchRows("quantlevels 9.9.9", []))
    with pytest.raises(SurveyError, match=r"a worker has quantlevels 9\.9\.9, this process quantlevels "):
        list(survey(tree, executor=Counting()))


def test_workers_with_other_plugins_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"{running.installation()}, acme-quant 1.0"
    monkeypatch.setattr(running, "read_batch", lambda batch: BatchRows(other, []))
    with pytest.raises(SurveyError, match=r"a worker has quantlevels .*, acme-quant 1\.0, this process"):
        list(survey(tree, executor=Counting()))


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    kept, changed = write_plain(tmp_path / "kept"), write_plain(tmp_path / "changed")
    before = list(survey(tmp_path))
    os.utime(changed / "model.safetensors", ns=(0, 10**18))
    after = {row["name"]: row for row in survey(tmp_path, earlier=before)}
    assert after["kept"]["surveyed_at"] == next(row for row in before if row["name"] == kept.name)["surveyed_at"]
    assert after["changed"]["surveyed_at"] > max(row["surveyed_at"] for row in before)


def test_rows_of_another_schema_are_not_used_again(tmp_path: Path) -> None:
    write_plain(tmp_path / "plain")
    (row,) = survey(tmp_path)
    old: SurveyRow = {**row, "schema_version": 0}  # type: ignore[typeddict-item]  # as an older version wrote it
    (again,) = survey(tmp_path, earlier=[old])
    assert again["schema_version"] == row["schema_version"]
    assert again["surveyed_at"] > row["surveyed_at"]


DASK = textwrap.dedent(
    """
    import json, os, signal, sys
    from contextlib import suppress

    from distributed import Client, LocalCluster
    from quantlevels.survey import run as running, survey

    answer = running.read_batch

    def die(batch):
        if any("deadly" in place.path for place in batch):
            os._exit(1)
        return answer(batch)

    if __name__ == "__main__":
        rows = []
        # distributed 2026.8 cannot close a worker that died and is just being started again: it raises this
        with suppress(AssertionError):
            with (
                LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
                Client(cluster) as client,
            ):
                if "deadly" in sys.argv:
                    running.read_batch = die
                executor = client.get_executor(pure=False)
                for row in survey(sys.argv[1], executor=executor, workers=2):
                    rows.append(row)
                    if len(rows) == 1 and "kill" in sys.argv:
                        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
                print(json.dumps(rows), flush=True)
    """
)


def on_dask(root: Path, folder: Path, option: str) -> list[SurveyRow]:
    """The rows of a survey on a cluster of two workers, of which one is killed, or each that reads a certain model."""
    pytest.importorskip("distributed")
    script = folder / "fleet.py"
    script.write_text(DASK)
    command = [sys.executable, str(script), str(root), option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    rows: list[SurveyRow] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize("option", ["", "kill"])
def test_a_dask_cluster_gives_the_same_rows(tree: Path, tmp_path: Path, option: str) -> None:
    assert comparable(iter(on_dask(tree, tmp_path, option))) == comparable(survey(tree))


def test_a_checkpoint_that_kills_dask_workers_costs_one_row(tmp_path: Path) -> None:
    for number in range(40):
        write_plain(tmp_path / f"tree/{number:02}")
    write_plain(tmp_path / "tree" / DEADLY)
    rows = {row["name"]: row for row in on_dask(tmp_path / "tree", tmp_path, DEADLY)}
    assert len(rows) == 41
    assert {name: row["error_type"] for name, row in rows.items() if row["error"]} == {DEADLY: "KilledWorker"}
