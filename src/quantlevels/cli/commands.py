"""The commands: what each takes, which function of the library answers it, and what is shown."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, get_args

import click
from attrs import asdict

from quantlevels import (
    PluginWarning,
    QuantizationLevel,
    QuantLevelsError,
    UnknownLevelError,
    UntranslatableLevelError,
    __version__,
    levels,
)
from quantlevels.cli.render import Cell, Column, Facts, Line, Table, Value, decimal, show, show_json, visible
from quantlevels.level import Kind

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ANSWER_IS_NO: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130

_LONGEST_REASON: Final = 4000

P = ParamSpec("P")
R = TypeVar("R")


def as_json(command: Callable[P, R]) -> Callable[P, R]:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def run(arguments: Sequence[str]) -> int:
    """Run the command line, and give the exit status: 0 fine, 1 the answer is no, 2 refused, with the reason."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = cli.main(arguments, prog_name="quantlevels", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return REFUSED
    except click.ClickException as error:
        return _refuse(error.format_message().replace("\n", " "))
    except QuantLevelsError as error:
        return _refuse(*str(error).split("\n"))
    except RecursionError:
        return _refuse("nested too deeply to be read")
    except MemoryError:
        return _refuse("too little memory")
    except OSError as error:
        return _refuse(f"{error.filename or 'output'}: {error.strerror}")
    return status if isinstance(status, int) else 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"quantlevels: {visible(message, _LONGEST_REASON)}", err=True)


def _refuse(*reasons: str) -> int:
    for reason in reasons:
        click.echo(f"quantlevels: {visible(reason, _LONGEST_REASON)}", err=True)
    return REFUSED


class LevelName(click.ParamType[QuantizationLevel]):
    """Any spelling of a level."""

    name = "level"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> QuantizationLevel:
        try:
            return value if isinstance(value, QuantizationLevel) else levels[str(value)]
        except LookupError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(level.name, help=level.summary)
            for level in levels
            if level.name.lower().startswith(incomplete.lower())
        ]


@click.group(
    epilog="Example: quantlevels inspect ./Llama-3.1-8B-Instruct-W4A16", context_settings={"max_content_width": 100}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Precision of model weights: every level by its name, and what a checkpoint really stores.

    Only headers are read; nothing is downloaded or executed.
    """


@cli.command("list", epilog="Example: quantlevels list --bits 4 --kind codebook")
@click.option("--bits", type=click.IntRange(min=1), help="Only levels of this nominal width.")
@click.option("--kind", type=click.Choice(sorted(get_args(Kind))), help="Only levels of this family.")
@as_json
def list_(bits: int | None, kind: str | None, as_json: bool) -> None:
    """List the levels."""
    known = levels.all(plugins=True)
    chosen = [level for level in known if bits in (None, level.bits_per_param) and kind in (None, level.kind)]
    if as_json:
        return show_json({"schema_version": 1, "levels": [_record(level) for level in chosen]})
    columns = (
        Column("name", style="strong"),
        Column("bits", right=True),
        Column("bits/weight", right=True),
        Column("vs FP32", right=True, from_width=100),
        Column("kind", style="faint"),
        Column("summary", shrinks=True),
    )
    rows = [
        (
            level.name,
            level.bits_per_param,
            decimal(level.bits_per_weight),
            f"{float(32 / level.bits_per_weight):.2f}x",
            level.kind,
            level.summary,
        )
        for level in chosen
    ]
    return show([Table(columns, rows)])


@cli.command("show", epilog="Example: quantlevels show Q4_K")
@click.argument("level", metavar="NAME", type=LevelName())
@as_json
def show_(level: QuantizationLevel, as_json: bool) -> None:
    """Show all that is known of one level.

    NAME is any spelling: Int4, torch.bfloat16, q4_k.
    """
    if as_json:
        return show_json({"schema_version": 1, **_record(level)})
    block, exact = level.block, level.bits_per_weight
    facts: dict[str, Value] = {
        "name": Cell(level.name, "strong"),
        "label": level.label,
        "summary": level.summary or None,
        "kind": level.kind,
        "bits": level.bits_per_param,
        "bits/weight": str(exact) if exact.denominator == 1 else f"{float(exact)} ({exact})",
        "block": f"{block.weights:,} weights in {block.bits:,} bits" if block.weights > 1 else None,
        "vs FP32": f"{float(32 / exact):.2f}x smaller" if exact < 32 else None,
        "aliases": ", ".join(level.aliases) or None,
        "source": level.source or None,
    }
    spellings = [(dialect, ", ".join(map(str, words))) for dialect, words in sorted(level.spellings.items())]
    return show(
        [Facts(facts)], [Table((Column("dialect", style="faint"), Column("spelling")), spellings)] if spellings else []
    )


@cli.command(epilog="Example: quantlevels translate bf16 --to torch")
@click.argument("level", metavar="NAME", type=LevelName())
@click.option("--to", "dialect", metavar="DIALECT", required=True, help="torch, safetensors, onnx, ggml ...")
@as_json
def translate(level: QuantizationLevel, dialect: str, as_json: bool) -> int:
    """Say a level's name in another naming system.

    Exit status 1 where that system has no word for it, or a word that means another level.
    """
    dialects = {dialect for level in levels for dialect in level.spellings}
    if dialect not in dialects:
        raise UnknownLevelError(
            dialect, tuple(get_close_matches(dialect, dialects)) or tuple(sorted(dialects)), "dialect"
        )
    word, reason = None, None
    try:
        word = level.spelling(dialect)
        if (meant := levels.from_dialect(dialect, word)) != level:
            word, reason = None, f"{word!r} means {meant.name!r} in {dialect!r}"
    except UntranslatableLevelError as error:
        reason = str(error)
    if as_json:
        show_json({"schema_version": 1, "level": level.name, "dialect": dialect, "spelling": word, "reason": reason})
    elif word:
        show([Line((word,))])
    else:
        click.echo(f"quantlevels: {reason}", err=True)
    return 0 if word else ANSWER_IS_NO


@cli.command("schema", epilog="Example: quantlevels schema config > quantlevels.schema.json")
@click.argument(
    "which", metavar="[config|inspection]", type=click.Choice(["config", "inspection"]), default="inspection"
)
def schema_(which: str) -> None:
    """Print the JSON Schema of a level in a config file, or of what `inspect --json` prints."""
    from quantlevels import schema

    show_json(schema.config_schema() if which == "config" else schema.INSPECTION)


@cli.command(epilog="Example: quantlevels plugins --check")
@click.option("--check", is_flag=True, help="Import them all; exit status 1 where one cannot be used.")
@as_json
def plugins(check: bool, as_json: bool) -> int:
    """List the plugins that are installed, and what to do about those in trouble.

    None is imported without --check.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the list says it all
        found = levels.plugins(load=check)
    if as_json:
        show_json({"schema_version": 1, "plugins": [{**asdict(plugin), "remedy": plugin.remedy} for plugin in found]})
    elif not found:
        show([Line(("no plugins are installed",))])
    else:
        columns = (
            Column("plugin", style="strong"),
            Column("version", style="faint", from_width=80),
            Column("brings", style="faint"),
            Column("state"),
            Column("import", right=True, from_width=80),
            Column("installed", style="faint", from_width=100),
        )
        rows = [
            (
                plugin.name,
                plugin.version,
                plugin.group.rpartition(".")[2],
                Cell(plugin.state, "good" if plugin.state == "loaded" else "" if plugin.fine else "bad"),
                None if plugin.seconds is None else f"{1000 * plugin.seconds:.1f} ms",
                "editable" if plugin.editable else None,
            )
            for plugin in found
        ]
        troubles = [
            [Line((Cell(bad.name, "strong"), Cell(bad.state, "bad"))), Line((bad.reason,), 2), Line((bad.remedy,), 2)]
            for bad in found
            if not bad.fine
        ]
        show([Table(columns, rows)], *troubles)
    return ANSWER_IS_NO if check and not all(plugin.fine for plugin in found) else 0


def _record(level: QuantizationLevel) -> dict[str, object]:
    return {
        "name": level.name,
        "label": level.label,
        "bits_per_param": level.bits_per_param,
        "bits_per_weight": float(level.bits_per_weight),
        "memory_reduction_factor": level.memory_reduction_factor,
        "block": {"weights": level.block.weights, "bits": level.block.bits},
        "kind": level.kind,
        "aliases": list(level.aliases),
        "spellings": {dialect: list(words) for dialect, words in level.spellings.items()},
        "summary": level.summary,
        "source": level.source,
    }
