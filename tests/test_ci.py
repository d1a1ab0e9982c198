"""The page on continuous integration: its test, its workflow and its hook, each run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import INT4_CONFIG, W4A8, W4A16, write_checkpoint

from quantlevels import BF16, INT4, CheckpointError
from quantlevels.testing import assert_level

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
#: name of a file → what the page says is in it
FILES: dict[str, str] = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
(MESSAGE,) = re.findall(r"^```output\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(folder: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_test_of_an_export(tmp_path: Path) -> None:
    (tmp_path / "test_export.py").write_text(FILES["test_export.py"])
    pytest_there = (sys.executable, "-m", "pytest", "-q", "--rootdir=.", "-p", "no:cacheprovider")
    write_checkpoint(tmp_path / "out", W4A16, INT4_CONFIG)
    assert run(tmp_path, *pytest_there)[0] == 0
    write_checkpoint(tmp_path / "out", W4A8, INT4_CONFIG)
    status, printed = run(tmp_path, *pytest_there)
    assert status == 1
    assert MESSAGE in re.sub(r"^E {3,}(AssertionError: )?", "", printed, flags=re.MULTILINE)


def test_the_workflow(tmp_path: Path) -> None:
    steps = yaml.safe_load(FILES["verify.yml"])["jobs"]["verify"]["steps"]
    command = steps[-1]["run"].split()
    assert command.pop(0) == "quantlevels"
    write_checkpoint(tmp_path / "out", W4A16, INT4_CONFIG)
    assert run(tmp_path, sys.executable, "-m", "quantlevels", *command) == (0, "")
    write_checkpoint(tmp_path / "out", W4A8, INT4_CONFIG)
    status, printed = run(tmp_path, sys.executable, "-m", "quantlevels", *command)
    assert status == 1
    assert printed.startswith("::error file=out,title=QL101 wider-than-declared::model.layers.0.mlp.up_proj: declared")


def hooked(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("out/model.safetensors", True),
        ("out/model.safetensors.index.json", True),
        ("out/model-00001-of-00002.safetensors", False),
        ("model-Q4_K_M.gguf", True),
        ("model-00001-of-00002.gguf", True),
        ("model-00002-of-00002.gguf", False),
        ("onnx/model.onnx", True),
        ("config.json", False),
    ],
)
def test_the_files_of_the_hook(name: str, taken: bool) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hooked(hook["files"], name) and not hooked(hook["exclude"], name)) == taken


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the hook is installed from a repository")
def test_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pre_commit")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    clone, models = tmp_path / "clone", tmp_path / "models"
    assert run(tmp_path, "git", "clone", "-q", str(ROOT), str(clone))[0] == 0
    revision = run(clone, "git", "rev-parse", "HEAD")[1].strip()
    config = re.sub(r"https://github\.com\S+", str(clone), FILES[".pre-commit-config.yaml"])
    for name in ("good", "bad"):
        write_checkpoint(models / name, W4A16 if name == "good" else W4A8, INT4_CONFIG)
    (models / ".pre-commit-config.yaml").write_text(re.sub(r"rev: .*", f"rev: {revision}", config))
    run(models, "git", "init", "-q")
    run(models, "git", "add", ".")
    status, printed = run(models, sys.executable, "-m", "pre_commit", "run", "--all-files")
    assert status == 1
    assert "\nQL101 error wider-than-declared: model.layers.0.mlp.up_proj: " in printed
    assert "\nok good/model.safetensors " in printed
    run(models, "git", "rm", "-rqf", "bad")
    assert run(models, sys.executable, "-m", "pre_commit", "run", "--all-files")[0] == 0


def test_a_config_alone_does_not_meet_a_required_level(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(INT4_CONFIG))
    with pytest.raises(AssertionError, match="QL501 unexpected-level: expected INT4, but it has no weights"):
        assert_level(tmp_path, INT4)


def test_what_counts_can_be_chosen(tmp_path: Path) -> None:
    w4a16 = write_checkpoint(tmp_path, W4A16, INT4_CONFIG)
    assert_level(w4a16, INT4, strict=True)
    with pytest.raises(AssertionError, match="QL501 unexpected-level: expected BF16"):
        assert_level(w4a16, BF16)
    assert_level(w4a16, BF16, ignore=["QL5"])


def test_an_unreadable_file_is_not_an_assertion(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        assert_level(tmp_path / "nothing", INT4)
