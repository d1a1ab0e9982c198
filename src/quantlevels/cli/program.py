"""The program: its name, its options, the names of its commands, and what becomes of errors.

The commands themselves are imported when one of them is run: ``--help`` and ``--version`` do without.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import click

from quantlevels import __version__
from quantlevels.errors import ConfigError, QuantLevelsError

REFUSED: Final = 2
INTERRUPTED: Final = 130

#: name of a command → its line in the help; a test compares them with the commands
COMMANDS: Final = {
    "inspect": "Show what a checkpoint declares, and what it stores.",
    "verify": "Fail where a checkpoint is not what it says, or not what is expected.",
    "compare": "Compare two checkpoints weight by weight.",
    "size": "Say what a checkpoint will take, before it is made.",
    "fit": "Show which levels fit into memory.",
    "survey": "List every checkpoint below some folders: what it is, what is wrong with it.",
    "list": "List the levels.",
    "show": "Show all that is known of one level.",
    "translate": "Say a level's name in another naming system.",
    "explain": "Explain a finding: what it means, an example, and what to do.",
    "plugins": "List the plugins that are installed, and what to do about those in trouble.",
    "schema": "Print the JSON Schema of a record.",
}


class LazyGroup(click.Group):
    """A group whose commands are in a module that is imported when one of them is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if there is none."""
        if cmd_name in COMMANDS:
            import_module("quantlevels.cli.commands")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog="\b\nExample: quantlevels inspect examples/dense-Q4_K_M.gguf",
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Precision of model weights: every level by its name, and what a checkpoint really stores.

    Only headers are read; nothing is downloaded or executed.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line, and give the exit status: 0 fine, 1 the answer is no, 2 refused, with the reason.

    Raises:
        Exception: a defect of quantlevels, in development mode (``python -X dev``) alone.
    """
    if not sys.stdout:
        complain("output: closed")
        return REFUSED
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = complain  # ty: ignore[invalid-assignment]  # it takes more
            status = cli.main(arguments, prog_name="quantlevels", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return REFUSED
    except Exception as error:
        lines = reasons(error)
        if lines is None:
            if sys.flags.dev_mode:
                raise
            lines = (f"a defect of quantlevels, please report it: {type(error).__name__}: {error}",)
        for line in lines:
            complain(line)
        return REFUSED
    return status if isinstance(status, int) else 0


def reasons(error: Exception) -> tuple[str, ...] | None:
    """Why a command could not do its work, one line per reason; None for a defect of quantlevels."""
    match error:
        case click.ClickException():
            return (error.format_message().replace("\n", " "),)
        case ConfigError():
            return error.messages
        case QuantLevelsError():
            return (str(error),)
        case RecursionError():
            return ("nested too deeply to be read",)
        case MemoryError():
            return ("not enough memory",)
        case OSError():
            return (f"{error.filename or 'output'}: {error.strerror}",)
        case _:
            return None


def complain(message: object, *_: object, **__: object) -> None:
    """A line on stderr; also what ``warnings.showwarning`` does while a command runs."""
    from quantlevels.cli.render import LONG, visible  # here: most runs have nothing to complain about

    click.echo(f"quantlevels: {visible(message, LONG)}", err=True)
