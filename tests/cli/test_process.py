"""What only a process shows: entry points, missing extras, signals, pipes, streams."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.writers import write_safetensors

import quantlevels
from quantlevels.cli.commands import cli
from quantlevels.cli.program import COMMANDS

QUANTLEVELS = [sys.executable, "-m", "quantlevels"]
EXAMPLE = Path(__file__).parents[2] / "examples/dense-Q4_K_M.gguf"

if TYPE_CHECKING:
    from tests.cli.conftest import Ask


def test_version(process: Ask) -> None:
    assert process("--version").out == f"quantlevels {quantlevels.__version__}\n"


def test_the_script_says_the_same() -> None:
    script = Path(sys.executable).with_name("quantlevels")
    assert subprocess.check_output([script, "--version"], text=True) == f"quantlevels {quantlevels.__version__}\n"


def test_without_the_extra_one_line_says_which_to_install(tmp_path: Path, process: Ask) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None")
    answer = process("list", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert answer.status == 2
    assert answer.err == "quantlevels: the command line needs rich: pip install 'quantlevels[cli]'\n"


def test_no_command_shows_the_help(process: Ask) -> None:
    answer = process()
    assert answer.status == 2
    assert answer.err.startswith("Usage: quantlevels")


def test_a_pipe_gets_no_color_and_rich_is_not_imported() -> None:
    code = "import sys; from quantlevels.cli.program import run; run(['list']); assert 'rich' not in sys.modules"
    out = subprocess.check_output([sys.executable, "-c", code], text=True, env={**os.environ, "TERM": "xterm-256color"})
    assert "\x1b" not in out


def test_output_that_cannot_be_encoded_is_escaped(process: Ask) -> None:
    answer = process("show", "int4", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert answer.status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_said_in_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([*QUANTLEVELS, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "quantlevels: output: No space left on device\n")


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_shows_an_example_that_works_when_pasted(process: Ask, tmp_path: Path, command: str) -> None:
    answer = process(command, "--help", env={**os.environ, "COLUMNS": "60"})
    assert answer.status == 0
    *_, example = answer.out.splitlines()
    arguments = example.removeprefix("  Example: quantlevels ").partition(" > ")[0].split()
    assert arguments[0] == command
    shutil.copytree(Path(__file__).parents[2] / "examples", tmp_path / "examples")
    assert process(*arguments, cwd=tmp_path).status == 0


def test_the_help_lists_every_command_by_its_own_first_line() -> None:
    first_lines = {name: command.get_short_help_str(200) for name, command in cli.commands.items()}
    assert first_lines == COMMANDS


#: arguments → what they do without: `inspect` of plain weights needs no quantizer, and no command draws or explains
NOT_IMPORTED: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("inspect", "{plain}"): (
        *("rich", "html", "importlib.resources", "logging", "dataclasses", "cattrs", "importlib_metadata", "numpy"),
        *("quantlevels.cli.svg", "quantlevels.cli.files", "quantlevels.cli.surveys", "quantlevels.cli.reports"),
        *("quantlevels.inspection.explanations", "quantlevels.inspection.sizing", "quantlevels.inspection.planning"),
        *("quantlevels.vocabulary.formats", "quantlevels.vocabulary.entry_points", "quantlevels.values"),
        *("quantlevels.schemes.patterns", "quantlevels.schemes.gptq", "quantlevels.schemes.declaration.reading"),
        *("quantlevels.checkpoint.gguf", "quantlevels.checkpoint.onnx", "quantlevels.checkpoint.pytorch"),
        *("quantlevels.checkpoint.remote", "quantlevels.llamacpp", "quantlevels.config.fields"),
    ),
    ("list",): ("rich", "quantlevels.checkpoint", "quantlevels.schemes", "quantlevels.inspection.report"),
    ("show", "int4"): ("rich", "quantlevels.checkpoint", "quantlevels.schemes", "quantlevels.inspection.report"),
    ("explain", "QL101"): ("rich", "quantlevels.checkpoint", "quantlevels.schemes", "quantlevels.inspection.report"),
}


@pytest.mark.parametrize("arguments", NOT_IMPORTED, ids=" ".join)
def test_a_command_imports_what_it_uses(arguments: tuple[str, ...], tmp_path: Path) -> None:
    plain = write_safetensors(tmp_path / "model.safetensors", {"a.weight": ("BF16", (4, 8))})
    command = [argument.format(plain=plain) for argument in arguments]
    code = (
        f"import sys; from quantlevels.cli.program import run; assert run({command!r}) == 0; "
        f"print(*set({NOT_IMPORTED[arguments]!r}) & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


#: what only remote checkpoints need
NETWORK = ("urllib3", "fsspec", "huggingface_hub", "http.client", "quantlevels.checkpoint.remote")


@pytest.mark.parametrize(
    "command",
    [
        "inspect {folder}",
        "inspect {folder} --values sample",
        "verify {folder}",
        "compare {folder} {folder}",
        "size {folder} --level int4 --scheme gptq",
        "fit {folder} --memory 1GiB",
        "survey {folder}",
    ],
)
def test_a_command_on_a_local_path_imports_no_network(command: str, tmp_path: Path) -> None:
    if "--values" in command:
        pytest.importorskip("numpy")
    write_safetensors(tmp_path / "model.safetensors", {"a.weight": ("BF16", (64, 128))})
    arguments = [argument.format(folder=tmp_path) for argument in command.split()]
    code = (
        f"import sys; from quantlevels.cli.program import run; assert run({arguments!r}) == 0; "
        f"print(*set({NETWORK!r}) & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


@pytest.mark.parametrize("arguments", ["['--help']", "['--version']"])
def test_help_and_version_import_no_command(arguments: str) -> None:
    code = (
        f"import sys; from quantlevels.cli.program import run; run({arguments}); "
        "assert not {'attrs', 'rich', 'quantlevels.cli.commands', 'quantlevels.vocabulary'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_takes_json(command: str) -> None:
    assert "--json" in [name for option in cli.commands[command].params for name in option.opts]


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors")
def test_a_closed_output_is_said_in_one_line() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *QUANTLEVELS, "list"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "quantlevels: output: closed\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize(
    "arguments", [["list", "--json"], ["inspect", *[str(EXAMPLE)] * 200, "--json"], ["show", "nf5"]]
)
def test_a_reader_that_has_seen_enough_ends_it_in_silence(arguments: list[str]) -> None:
    with subprocess.Popen([*QUANTLEVELS, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        if arguments[0] == "show":  # which complains
            child.stderr.close()
            assert child.wait(timeout=60) == 141
            return
        assert (child.stderr.read(), child.wait(timeout=60)) == (b"", 141)


#: waits for ever in plain code, or first in a destructor, whose exceptions Python drops
WAITS = {
    "plain code": "def wait(*a, **k): print('on', flush=True); time.sleep(60)",
    "a destructor": (
        "class Slow:\n    def __del__(self): print('on', flush=True); time.sleep(60)\n"
        "def wait(*a, **k): Slow(); time.sleep(60)"
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("place", WAITS)
def test_an_interrupt_leaves_no_mess(tmp_path: Path, place: str, number: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import quantlevels.vocabulary.registry as r, signal, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # ignored if these tests are run by nohup
        f"{WAITS[place]}\nr.Registry.all = wait\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [*QUANTLEVELS, "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)
        child.send_signal(number)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 128 + number
    assert err.strip() == ""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_encoding_has_a_character_for_what_is_drawn(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "FORCE_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [*QUANTLEVELS, "verify", EXAMPLE, "--level", "Int8"],
        env=environment,
        capture_output=True,
        check=False,
    )
    text = done.stdout.decode(encoding)
    assert "QL501" in text
    assert "\\u" not in text
    assert "\x1b[" in text  # FORCE_COLOR: as on a terminal, in a pipe


def test_no_color_is_no_color_in_a_pipe() -> None:
    done = subprocess.run([*QUANTLEVELS, "inspect", EXAMPLE], capture_output=True, text=True, check=False)
    assert "\x1b" not in done.stdout


def test_a_misspelt_command_is_answered_before_commands_are_imported(process: Ask) -> None:
    answer = process("inspct", "model")
    assert answer.status == 2
    assert answer.err.startswith("quantlevels: the command 'inspct' does not exist; did you mean 'inspect'")
