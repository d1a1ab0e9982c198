"""The commands: what each takes, which function of the library answers it, and what is shown."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal, ParamSpec, TypeVar, get_args

import click

from quantlevels import (
    FP16,
    PluginWarning,
    QuantizationLevel,
    levels,
)
from quantlevels.cli.options import (
    Amount,
    AnyPath,
    CodePrefixes,
    ExistingPath,
    FilePath,
    FindingCode,
    Natural,
    RecordName,
    check_output,
    check_picture_name,
    completing,
    count,
    keep,
    memory,
    number,
    share,
)
from quantlevels.cli.program import cli, complain
from quantlevels.cli.progress import progress_bar
from quantlevels.cli.render import Line, show, show_json
from quantlevels.cli.values import values_options
from quantlevels.config.click_type import LevelType
from quantlevels.findings import CODES
from quantlevels.vocabulary.level import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.values.records import Mode

#: exit status of a command that worked and whose answer is no: as with grep and diff, 2 is for trouble
ANSWER_IS_NO: Final = 1
#: weights that `compare` lists without ``--all``
FEW: Final = 20

_FILE: Final = FilePath(dir_okay=False)

P = ParamSpec("P")
R = TypeVar("R")


def as_json(command: Callable[P, R]) -> Callable[P, R]:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def svg_option(command: Callable[P, R]) -> Callable[P, R]:
    """The option ``--svg``."""
    return click.option(
        "--svg",
        type=_FILE,
        callback=check_picture_name,
        metavar="FILE",
        help="Also save the result as a picture: x.svg.",
    )(command)


# Functions here import what they run, not the module: a command starts with the code of that command alone, and
# `--help` with none of it. Each answer comes from one public function, so that Python users get the same.


def _register(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path:
        from quantlevels.config.files import levels_file  # here: few need cattrs

        levels_file(path)


def _schemes() -> Sequence[str]:
    from quantlevels.inspection.sizing.storage import scheme_names  # here: only one command needs it

    return scheme_names()


def _dialects() -> Sequence[str]:
    from quantlevels.inspection.reference import dialects  # here: few commands need it

    return dialects()


def levels_file_option(command: Callable[P, R]) -> Callable[P, R]:
    """The option ``--levels-file``, read before any level is named."""
    return click.option(
        "--levels-file",
        type=FilePath(exists=True, dir_okay=False),
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_register,
        help="Levels of your own, from a TOML, JSON or YAML file.",
    )(command)


@cli.command(epilog="\b\nExample: quantlevels inspect examples/dense-Q4_K_M.gguf")
@click.argument("paths", metavar="PATH...", type=AnyPath, nargs=-1)
@click.option(
    "--tensors",
    is_flag=False,
    flag_value="*",
    metavar="[GLOB]",
    help="List all weights, or those whose name matches GLOB.",
)
@values_options
@svg_option
@as_json
@click.pass_context
def inspect(
    ctx: click.Context,
    paths: tuple[str, ...],
    tensors: str | None,
    values: Mode | None,
    checksums: bool,
    svg: Path | None,
    as_json: bool,
) -> int:
    """Show what a checkpoint declares, and what it stores.

    PATH is a folder, a file, an index, the first part of a split GGUF, or a config file alone. Findings are
    shown, but do not change the exit status; use `verify` to fail on findings.
    """
    from quantlevels.cli.checkpoints import Reading, inspect_command

    if tensors and not paths:  # the parser takes a word after --tensors for the glob: `inspect --tensors model`
        paths, tensors = (AnyPath.convert(tensors, None, ctx),), "*"
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    return inspect_command(paths, Reading(values, checksums), as_json=as_json, svg=svg, tensors=tensors)


@cli.command(
    epilog="\b\nExample: quantlevels verify examples/dense-Q4_K_M.gguf --level Q4_K --max-bits-per-weight 5.5 --strict"
)
@click.argument("paths", metavar="PATH...", type=AnyPath, nargs=-1, required=True)
@click.option("--level", type=LevelType(), help="The level that most quantized parameters must have.")
@click.option("--recipe", metavar="NAME", help="The recipe of llama.cpp that each tensor must follow: Q4_K_M.")
@click.option("--max-bits-per-weight", type=number, help="Upper limit of the average bits per weight: 4.5 or 9/2.")
@click.option("--parameters", type=count, help="Number of parameters that the checkpoint must have: 8030261248.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option(
    "--select",
    type=CodePrefixes(),
    default="",
    help="Count only findings whose code starts with one of these: QL1,QL206.",
)
@click.option(
    "--ignore",
    type=CodePrefixes(),
    default="",
    help="Do not count findings whose code starts with one of these: QL204.",
)
@values_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "github", "sarif"]),
    default="text",
    help="How to print findings: as text, GitHub annotations or SARIF 2.1.0.",
)
@levels_file_option
@as_json
def verify(
    paths: tuple[str, ...],
    level: QuantizationLevel | None,
    recipe: str | None,
    max_bits_per_weight: Fraction | None,
    parameters: Amount | None,
    strict: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    values: Mode | None,
    checksums: bool,
    format_: Literal["text", "github", "sarif"],
    as_json: bool,
) -> int:
    """Fail if a checkpoint is not what it says, or not what you require.

    PATH is what `inspect` takes; several paths are verified one after the other. The exit status is 0 if all of them
    pass, 1 if one fails, 2 if one cannot be read.
    """
    from quantlevels.cli.checkpoints import Reading, verify_command
    from quantlevels.inspection.verification import Requirements

    if as_json and format_ != "text":
        raise click.UsageError("give --json or --format, not both")
    requirements = Requirements(
        level=level,
        recipe=recipe,
        max_bits_per_weight=max_bits_per_weight,
        parameters=parameters.value if parameters else None,
        strict=strict,
        select=select,
        ignore=ignore,
    )
    return verify_command(paths, Reading(values, checksums), requirements, "json" if as_json else format_)


@cli.command(epilog="\b\nExample: quantlevels compare examples/dense-Q4_K_M.gguf examples/dense-Q4_K_M.gguf")
@click.argument("before", type=ExistingPath)
@click.argument("after", type=ExistingPath)
@click.option("--all", "everything", is_flag=True, help="Show every weight that differs, not only the first few.")
@svg_option
@as_json
def compare(before: str, after: str, everything: bool, svg: Path | None, as_json: bool) -> int:
    """Compare two checkpoints weight by weight.

    Tensor names of a GGUF file are matched with those of a transformers folder. The exit status is 0 if both have the
    same weights and store them in the same way, 1 if they differ.
    """
    from quantlevels.cli.pages import comparing as comparing_pages
    from quantlevels.inspection.comparison import compare

    report = compare(before, after, progress=progress_bar)
    if svg:
        from quantlevels.cli import svg as pictures  # here: few ask for a picture
        from quantlevels.cli.files import write_picture

        write_picture(svg, pictures.comparison(report), report.before, report.after)
    if as_json:
        show_json(report.to_record())
    else:
        show(*comparing_pages.comparison(report, sys.maxsize if everything else FEW))
    return 0 if report.same else ANSWER_IS_NO


@cli.command(epilog="\b\nExample: quantlevels size examples/dense-Q4_K_M.gguf --recipe Q5_K_M")
@click.argument("path", type=ExistingPath, required=False)
@click.option("--params", type=count, help="A number of parameters instead of a checkpoint: 70.6B.")
@click.option("--level", type=LevelType(), help="The level to store the weights at.")
@click.option("--recipe", metavar="NAME", help="A recipe of llama.cpp in place of a level: Q4_K_M.")
@click.option("--group", type=Natural, help="Number of weights in a row that share a scale.")
@click.option("--scale", type=LevelType(), help="Level of the scales; Float16 unless given.")
@click.option("--zero-point", type=LevelType(), help="Level of the zero points, if they are stored.")
@click.option(
    "--keep",
    type=keep,
    metavar="GLOB=LEVEL",
    multiple=True,
    help="Store modules that match GLOB at LEVEL instead; may be repeated.",
)
@click.option(
    "--scheme",
    metavar="NAME",
    shell_complete=completing(_schemes),
    help="How the weights are packed: compressed-tensors, gptq, awq, mlx, gguf ...",
)
@levels_file_option
@as_json
def size(
    path: str | None,
    params: Amount | None,
    level: QuantizationLevel | None,
    recipe: str | None,
    group: int | None,
    scale: QuantizationLevel | None,
    zero_point: QuantizationLevel | None,
    keep: tuple[tuple[str, QuantizationLevel], ...],
    scheme: str | None,
    as_json: bool,
) -> None:
    """Estimate a checkpoint's size before it is made.

    With PATH and a scheme or recipe, the size is exact to the byte: it is computed from the shapes in the headers of
    the checkpoint. Without a scheme or recipe, or with --params, the size is idealized: padding is not counted.
    """
    from quantlevels.cli.pages import planning as planning_pages
    from quantlevels.inspection.planning import size

    if (level is None) == (recipe is None):
        raise click.UsageError("give --level or --recipe")
    source, description = _source(path, params)
    report = size(
        source,
        level=level,
        recipe=recipe,
        group_size=group,
        scale=scale or FP16,
        zero_point=zero_point,
        keep=dict(keep),
        scheme=scheme,
        progress=progress_bar,
    )
    if as_json:
        return show_json(report.to_record())
    return show(*planning_pages.sizing(report, description))


@cli.command("survey", epilog="\b\nExample: quantlevels survey examples --check")
@click.argument("roots", metavar="[ROOT...]", nargs=-1)
@click.option(
    "--format", "format_", type=click.Choice(["table", "ndjson", "csv", "parquet"]), help="Format of the rows."
)
@click.option(
    "--out",
    type=_FILE,
    callback=check_output,
    metavar="FILE",
    help="Write the rows to a file: NDJSON, unless --format is given.",
)
@click.option("--html", type=_FILE, callback=check_output, metavar="FILE", help="Write a page for a browser: x.html.")
@click.option(
    "--since", type=_FILE, metavar="FILE", help="Rows of an earlier survey: read only checkpoints that changed."
)
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Read in N processes.")
@click.option("--dask", metavar="ADDRESS", help="Read on the workers of a Dask scheduler.")
@click.option("--check", is_flag=True, help="Exit status 1 if a checkpoint is broken or has an error finding.")
@click.option("--strict", is_flag=True, help="With --check: count warnings too.")
@click.option(
    "--select", type=CodePrefixes(), default="", help="With --check: count only codes that start with: QL1,QL206."
)
@click.option(
    "--ignore", type=CodePrefixes(), default="", help="With --check: do not count codes that start with: QL204."
)
@as_json
def survey_(
    roots: tuple[str, ...],
    format_: Literal["table", "ndjson", "csv", "parquet"] | None,
    out: Path | None,
    html: Path | None,
    since: Path | None,
    workers: int,
    dask: str | None,
    check: bool,
    strict: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    as_json: bool,
) -> int:
    """List all checkpoints below folders or URLs: what each one is, and what is wrong with it.

    ROOT is a folder, a cache or a store of models, a bucket (s3://bucket/prefix), or an organization of the Hub
    (hf://org). Without ROOT, the model stores of this user are read. A checkpoint that cannot be read gets a row with
    an error, and the survey goes on.
    """
    from quantlevels.cli.surveys import Check, Options, survey_command

    if as_json and format_:
        raise click.UsageError("give --json or --format, not both")
    if format_ == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    if not check and (strict or select or ignore):
        raise click.UsageError("--strict, --select and --ignore need --check")
    options = Options(
        roots=roots,
        format="ndjson" if as_json else format_ or "table",
        out=out,
        html=html,
        since=since,
        workers=workers,
        dask=dask,
    )
    return survey_command(options, Check(strict, select, ignore) if check else None)


@cli.command(epilog="\b\nExample: quantlevels fit --params 70.6B --memory 80GiB --reserve 20%")
@click.argument("path", type=ExistingPath, required=False)
@click.option("--params", type=count, help="A number of parameters instead of a checkpoint: 70.6B.")
@click.option("--memory", type=memory, required=True, help="Memory of one device: 80GiB, 24GB.")
@click.option("--reserve", type=share, default="0%", help="Share of the memory that is not for weights: 20%.")
@click.option("--devices", type=Natural, default=1, help="How many devices share the weights.")
@click.option("--all", "everything", is_flag=True, help="Try every level, not only what is usually deployed.")
@svg_option
@levels_file_option
@as_json
def fit(
    path: str | None,
    params: Amount | None,
    memory: Amount,
    reserve: Fraction,
    devices: int,
    everything: bool,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Show what fits into memory: a checkpoint as it is, and at the levels that are usually deployed.

    Only weights are counted, not activations or the key-value cache. Sizes are exact if PATH is an unquantized
    checkpoint or a GGUF. With --params, or if PATH is another quantized checkpoint, sizes are idealized: they come from
    the number of parameters, without the scales that a scheme adds.
    """
    from quantlevels.cli.pages import planning as planning_pages
    from quantlevels.inspection.planning import fit

    source, description = _source(path, params)
    report = fit(
        source,
        memory=memory.value,
        reserve=reserve,
        devices=devices,
        known=levels.all(plugins=True) if everything else (),
        progress=progress_bar,
    )
    held = memory.taken
    if devices > 1:
        held += f", on each of {devices} devices"
    if svg:
        from quantlevels.cli import svg as pictures  # here: few ask for a picture
        from quantlevels.cli.files import write_picture

        write_picture(svg, pictures.fit(report, description, held))
    if as_json:
        return show_json(report.to_record())
    return show(*planning_pages.fit(report, description, held))


def _source(path: str | None, params: Amount | None) -> tuple[str | int, str]:
    """A checkpoint or a number of parameters, and which in words."""
    if params and path is None:
        return params.value, params.taken
    if params or path is None:
        raise click.UsageError("give either the PATH of a checkpoint or --params, such as --params 70.6B")
    return path, str(path)


@cli.command("list", epilog="\b\nExample: quantlevels list --bits 4 --kind codebook")
@click.option("--bits", type=Natural, help="Only levels of this nominal width.")
@click.option("--kind", type=click.Choice(sorted(get_args(Kind))), help="Only levels of this family.")
@levels_file_option
@as_json
def list_(bits: int | None, kind: str | None, as_json: bool) -> None:
    """List the levels."""
    from quantlevels.cli.pages import reference as reference_pages
    from quantlevels.inspection.reference import levels_record

    known = levels.all(plugins=True)  # a list that left out what plugins bring would be wrong in silence
    chosen = [level for level in known if bits in (None, level.bits_per_param) and kind in (None, level.kind)]
    if as_json:
        return show_json(levels_record(chosen))
    return show(*reference_pages.listing(chosen))


@cli.command("show", epilog="\b\nExample: quantlevels show Q4_K")
@click.argument("level", metavar="NAME", type=LevelType())
@levels_file_option
@as_json
def show_(level: QuantizationLevel, as_json: bool) -> None:
    """Show everything known about a level.

    NAME is any spelling: Int4, torch.bfloat16, q4_k.
    """
    from quantlevels.cli.pages import reference as reference_pages
    from quantlevels.inspection.reference import level_record

    if as_json:
        return show_json(level_record(level))
    return show(*reference_pages.description(level))


@cli.command(epilog="\b\nExample: quantlevels translate bf16 --to torch")
@click.argument("level", metavar="NAME", type=LevelType())
@click.option(
    "--to",
    "dialect",
    metavar="DIALECT",
    required=True,
    shell_complete=completing(_dialects),
    help="The naming system: torch, safetensors, onnx, ggml ...",
)
@levels_file_option
@as_json
def translate(level: QuantizationLevel, dialect: str, as_json: bool) -> int:
    """Translate a level's name into another naming system.

    The exit status is 1 if DIALECT has no name for the level, or if this name means another level in DIALECT.
    """
    from quantlevels.inspection.reference import translate

    found = translate(level, dialect)
    if as_json:
        show_json(found.to_record())
    elif found.spelling is not None:
        show([Line((str(found.spelling),))])
    else:
        complain(found.reason)
    return ANSWER_IS_NO if found.spelling is None else 0


@cli.command(epilog="\b\nExample: quantlevels explain QL105")
@click.argument("codes", metavar="[CODE...]", type=FindingCode(), nargs=-1)
@as_json
def explain(codes: tuple[str, ...], as_json: bool) -> None:
    """Explain a finding: what it means, an example, and what to do.

    CODE is the code of a finding (QL105), its name (dtype-mismatch), or the beginning of several codes (QL1). Without
    CODE, all findings are listed.
    """
    from quantlevels.cli.pages import reference as reference_pages
    from quantlevels.inspection.reference import explanation_record

    chosen = [code for code in CODES if code.startswith(codes or "QL")]
    records = [explanation_record(code) for code in chosen]
    if as_json:
        for record in records:
            show_json(record, one_line=len(records) > 1)
    elif codes:
        for number, record in enumerate(records):
            show(*reference_pages.explanation(record), after_another=number > 0)
    else:
        show(*reference_pages.explanations(records))


@cli.command("schema", epilog="\b\nExample: quantlevels schema config > quantlevels.schema.json")
@click.argument("record", type=RecordName(), default="inspection")
@as_json
def schema_(record: str, as_json: bool) -> None:
    """Print the JSON Schema of a record.

    A record is what a command prints with --json. RECORD is its name: `inspection` (the default), `verification`,
    `comparison`, `sizing`, `fit` and others; or `config`, for a level in a config file. A schema is printed as JSON,
    with or without --json.
    """
    from quantlevels.inspection.schema import config_schema, record_schema

    show_json(config_schema() if record == "config" else record_schema(record))


@cli.command(epilog="\b\nExample: quantlevels plugins --check")
@click.option("--check", is_flag=True, help="Import all plugins; exit status 1 if one cannot be used.")
@as_json
def plugins(check: bool, as_json: bool) -> int:
    """List the installed plugins, and what to do if one does not work.

    Plugins are imported only with --check.
    """
    from quantlevels.cli.pages import reference as reference_pages
    from quantlevels.inspection.reference import plugins_record

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the list says it all
        found = levels.plugins(load=check)
    if as_json:
        show_json(plugins_record(found))
    else:
        show(*reference_pages.plugins(found))
    return ANSWER_IS_NO if check and not all(plugin.fine for plugin in found) else 0
