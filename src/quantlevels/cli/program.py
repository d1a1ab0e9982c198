"""The program: its name, its options, the names of its commands, and what becomes of errors.

The commands themselves are imported when one of them is run: ``--help`` and ``--version`` do without.
"""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import click

from quantlevels import __version__
from quantlevels.errors import ConfigError, QuantLevelsError

#: exit status of a command that could not answer
REFUSED: Final = 2
#: what shells expect of a program that Ctrl-C ended: 128 and the number of the signal
INTERRUPTED: Final = 130
#: the same for SIGPIPE. Only the status is that of the signal: if it really ended the process, each connection that a
#: server or a worker closes would do so too, and leave files half-written
UNREAD: Final = 141
#: name of the way in which characters are written that the encoding of a terminal lacks
_REPLACING: Final = "quantlevels"
#: characters that pages draw with → what stands for them, as wide as they are
_STAND_INS: Final = {"…": "~", "━": "=", "╸": "-", "▸": ">", "✗": "x"}

#: name of a command → its line in the help; a test compares them with the commands
COMMANDS: Final = {
    "inspect": "Show what a checkpoint declares, and what it stores.",
    "verify": "Fail if a checkpoint is not what it says, or not what you require.",
    "compare": "Compare two checkpoints weight by weight.",
    "size": "Estimate a checkpoint's size before it is made.",
    "fit": "Show what fits into memory: a checkpoint as it is, and at the levels that are usually deployed.",
    "survey": "List all checkpoints below folders or URLs: what each one is, and what is wrong with it.",
    "list": "List the levels.",
    "show": "Show everything known about a level.",
    "translate": "Translate a level's name into another naming system.",
    "explain": "Explain a finding: what it means, an example, and what to do.",
    "plugins": "List the installed plugins, and what to do if one does not work.",
    "schema": "Print the JSON Schema of a record.",
}


class _UnreadError(Exception):
    """The program that reads the output has ended. Not an OSError: for that click ends the process, with status 1."""


class LazyGroup(click.Group):
    """A group whose commands are in a module that is imported when one of them is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if the name is unknown."""
        if cmd_name in COMMANDS:
            import_module("quantlevels.cli.commands")
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if error.filename is None:
                raise _UnreadError from error
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error  # `--out` to a named pipe

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: if the name is unknown; it names those that are called alike.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # here: only a mistake needs it

            close = get_close_matches(args[0], COMMANDS)
            hint = "`quantlevels --help` lists all commands"
            if close:
                hint = f"did you mean {' or '.join(map(repr, close))}?"
            raise click.UsageError(f"the command {args[0]!r} does not exist; {hint}", ctx) from error

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
    """See how a model's weights are really stored, with one exact name per format.

    Only headers are read, and nothing from a file is executed.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line, and give the exit status: 0 fine, 1 the answer is no, 2 refused, with the reason.

    Raises:
        Exception: a defect of quantlevels, in development mode (``python -X dev``) alone.
    """
    try:
        return _run(arguments)
    except (_UnreadError, BrokenPipeError):
        # `head` has seen enough. What is still held back goes nowhere, or Python would complain at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None if the shell closed it
            os.dup2(nowhere, stream.fileno())
        return UNREAD


def _run(arguments: Sequence[str]) -> int:
    if not sys.stdout:  # None if the shell closed it: `quantlevels ... >&-`
        complain("output: closed")
        return REFUSED
    codecs.register_error(_REPLACING, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_REPLACING)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = complain  # ty: ignore[invalid-assignment]  # it takes more
            # not standalone: click would end the process itself, and print errors in words of its own
            status = cli.main(arguments, prog_name="quantlevels", standalone_mode=False)
        sys.stdout.flush()  # here, so that a full disk is an error with a reason and not one at exit
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return REFUSED
    except (_UnreadError, BrokenPipeError):
        raise
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
            return (f"{error.filename or 'output'}: {error.strerror or error}",)
        case _:
            return None


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that an encoding lacks, as an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    written = [_STAND_INS.get(char) or char.encode("ascii", "backslashreplace").decode("ascii") for char in lacking]
    return "".join(written), error.end


def complain(message: object, *_: object, **__: object) -> None:
    """A line on stderr; also what ``warnings.showwarning`` does while a command runs."""
    from quantlevels.cli.render import LONG, visible  # here: most runs have nothing to complain about

    click.echo(f"quantlevels: {visible(message, LONG)}", err=True)
