"""What a page says, command by command, laid out in blocks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.cli.render import (
    Bar,
    Block,
    Cell,
    Column,
    Facts,
    Line,
    Note,
    Style,
    Table,
    Value,
    decimal,
    percent,
    short_size,
    size,
)
from quantlevels.cli.values import values_page
from quantlevels.findings import Finding, Severity, pluralize
from quantlevels.vocabulary.builtin import FP32
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.container import UnknownType
    from quantlevels.inspection.comparison import Comparison, Recipe
    from quantlevels.inspection.planning import Candidate, Fit
    from quantlevels.inspection.records import ExplanationRecord
    from quantlevels.inspection.report import Inspection
    from quantlevels.inspection.sizing.sizes import SizedLevel, Sizing
    from quantlevels.inspection.totals import StoredLevel, StoredTotals, Tally
    from quantlevels.inspection.verification import Requirements
    from quantlevels.scheme import DeclaredLevel
    from quantlevels.schemes.declaration import Declared
    from quantlevels.vocabulary.plugins import PluginStatus

_SEVERITIES: Final[dict[Severity, Style]] = {"error": "bad", "warning": "warning", "info": "faint"}
#: levels named in one line
MOST_LEVELS: Final = 4


def against_fp32(bits_per_weight: Fraction | None) -> tuple[str, str]:
    """How many times smaller than FP32, or how many times its size: ``3.49x``, ``smaller than FP32``."""
    if not bits_per_weight:
        return "-", "smaller than FP32"
    larger = bits_per_weight / FP32.bits_per_weight
    if larger >= 1:
        return f"{float(larger):.2f}x", "the size of FP32"
    return f"{float(1 / larger):.2f}x", "smaller than FP32"


def _bits_per_weight(exact: Fraction | None) -> str | None:
    return f"{decimal(exact)}, {' '.join(against_fp32(exact))}" if exact else None


def inspection(report: Inspection) -> list[list[Block]]:
    """Declared beside stored, totals, levels, findings."""
    facts: dict[str, Value] = {"declared": "nothing"}
    if report.declared:
        facts = {"declared": Cell(declared_line(report.declared), "strong"), "by": _by(report.declared)}
    if report.stored:
        worst = any(it.severity == "error" for it in report.findings)
        facts |= {"stored": Cell(stored_line(report.stored), "bad" if worst else "strong"), **_totals(report.stored)}
    return [
        [_title(str(report.path), _format(report)), Facts(facts)],
        [_stored_levels(report.stored)] if report.stored and report.stored.levels else [],
        values_page(report),
        findings(report.findings) or [Line((Cell("no findings", "good"),))],
        remedies(report.findings),
    ]


def _title(path: str, what: str) -> Line:
    return Line((Cell(path, "strong"), Cell(f"({what})", "faint")))


def _format(report: Inspection) -> str:
    files = len(report.files)
    return report.format if files < 2 else f"{report.format}, {files:,} files"


def declared_line(declared: Declared) -> str:
    """The levels that are declared, in one line."""
    levels = [_declared_level(level) for level in declared.levels[:MOST_LEVELS]]
    if declared.dtype and (not levels or len(declared.levels) < MOST_LEVELS):
        levels.append(str(declared.dtype))
    if len(declared.levels) > MOST_LEVELS:
        levels.append(f"{len(declared.levels) - MOST_LEVELS} more")
    return " + ".join(levels) or "a level that is not known"


def _declared_level(declared: DeclaredLevel) -> str:
    words = [
        at(declared.level, declared.bits_per_weight),
        f"groups of {declared.group_size}" if declared.group_size and declared.group_size > 0 else "",
        f"blocks of {'x'.join(map(str, declared.block))}" if declared.block else "",
        {True: "symmetric", False: "asymmetric", None: ""}[declared.symmetric],
    ]
    return ", ".join(filter(None, words))


def _by(declared: Declared) -> str:
    method = f"{declared.method} in " if declared.method else ""
    unknown = "" if declared.known else ", a method quantlevels does not know"
    cache = f", key-value cache {declared.kv_cache}" if declared.kv_cache else ""
    return f"{method}{declared.source}{unknown}{cache}"


def stored_line(stored: StoredTotals) -> str:
    """The levels of the stored weights, in one line."""
    levels = [
        at(level.level, level.bits_per_weight) if level.quantized else str(level.level)
        for level in stored.levels
        if level.parameters
    ]
    more = [f"{len(levels) - MOST_LEVELS} more"] if len(levels) > MOST_LEVELS else []
    return " + ".join((*levels[:MOST_LEVELS], *more)) or "no weights"


def at(level: QuantizationLevel | UnknownType, bits_per_weight: Fraction | None) -> str:
    """A level and what it takes: ``INT4 at 4.125 bits``."""
    return str(level) if bits_per_weight is None else f"{level} at {float(round(bits_per_weight, 4)):g} bits"


def _totals(stored: StoredTotals) -> dict[str, Value]:
    share = Fraction(stored.quantized_parameters, stored.parameters or 1)
    part = "none" if share == 0 else "all" if share == 1 else percent(share)
    return {
        "parameters": f"{stored.parameters:,}, {part} of them quantized" if stored.parameters else "0",
        "size": f"{size(stored.tensor_bytes)}, {pluralize(stored.tensors, 'tensor')}",
        "bits/weight": _bits_per_weight(stored.bits_per_weight),
        "buffers": _tally(stored.buffers),
        "unexplained": _tally(stored.unexplained),
    }


def _tally(tally: Tally) -> str | None:
    return f"{pluralize(tally.tensors, 'tensor')}, {size(tally.nbytes)}" if tally.tensors else None


def _levels(rows: Iterable[tuple[Value, StoredLevel | SizedLevel, Style]], nbytes: int) -> Table:
    """What levels take of so many bytes: of each how it is called, the weights at it, and the style of its bar."""
    columns = (
        Column("level"),
        Column("group", right=True, from_width=70),
        Column("weights", right=True, from_width=100),
        Column("parameters", right=True),
        Column("size", right=True),
        Column("bytes", right=True, style="faint", from_width=110),
        Column("bits/weight", right=True),
        Column("share"),
    )
    return Table(
        columns,
        [
            (
                name,
                it.group_size,
                it.weights,
                it.parameters,
                short_size(it.nbytes),
                it.nbytes,
                decimal(it.bits_per_weight),
                Bar(Fraction(it.nbytes, nbytes or 1), style),
            )
            for name, it, style in rows
        ],
    )


def _stored_levels(stored: StoredTotals) -> Table:
    rows: list[tuple[Value, StoredLevel, Style]] = []
    for level in stored.levels:
        style: Style = "quantized" if level.quantized else "plain"
        rows.append((Cell(str(level.level), style), level, style))
    return _levels(rows, stored.tensor_bytes)


def verdict(report: Inspection, failed: Sequence[Finding], requirements: Requirements) -> list[list[Block]]:
    """What fails, what is only noted, and the verdict; what the caller ignores is counted."""
    others = [finding for finding in report.findings if finding not in failed]
    ignored = sum(requirements.is_ignored(finding) for finding in others)
    noted: list[Block] = [
        Note(finding, "info" if finding.severity == "error" else finding.severity)
        for finding in others
        if not requirements.is_ignored(finding)
    ]
    facts = [stored_line(report.stored)] if report.stored else []
    facts += [f"{pluralize(ignored, 'finding')} ignored"] if ignored else []
    word = Cell(f"failed: {pluralize(len(failed), 'finding')}", "bad") if failed else Cell("ok", "good")
    pieces = [word, Cell(str(report.path), "strong"), *(Cell(f"({fact})", "faint") for fact in facts)]
    return [findings(failed), noted, remedies(failed), [Line(tuple(pieces))]]


def tensors(report: Inspection, pattern: str) -> list[list[Block]]:
    """One row per weight whose name matches."""
    columns = (
        Column("weight", style="strong", shrinks="keeps end"),
        Column("level"),
        Column("group", right=True, from_width=80),
        Column("shape", style="faint", from_width=100),
        Column("parameters", right=True),
        Column("size", right=True),
        Column("bytes", right=True, style="faint", from_width=120),
    )
    rows = [
        (
            record["name"],
            record["label"],
            record["group_size"],
            " ".join("x".join(map(str, tensor["shape"])) for tensor in record["tensors"][:1]) or None,
            record["parameters"],
            short_size(record["bytes"]),
            record["bytes"],
        )
        for record in report.weight_records(pattern)
    ]
    none = Line((Cell(f"no weight is called {pattern}", "warning"),))
    return [[_title(str(report.path), _format(report))], [Table(columns, rows) if rows else none]]


def findings(found: Sequence[Finding]) -> list[Block]:
    """A note each."""
    return [Note(it, it.severity) for it in found]


def remedies(found: Sequence[Finding]) -> list[Block]:
    """Where to read on."""
    if not found:
        return []
    return [Line((Cell(f"Run `quantlevels explain {found[0].code}` for cause and fix.", "faint"),))]


def comparison(report: Comparison, most: int) -> list[list[Block]]:
    """Totals side by side, levels in bytes, and the weights that differ, the first ``most`` of them."""
    before, after = report.before, report.after
    assert before.stored
    assert after.stored
    totals = Table(
        (
            Column("", style="faint"),
            Column("before", shrinks="wraps"),
            Column("after", shrinks="wraps"),
            Column("change", right=True),
        ),
        (
            ("path", Cell(str(before.path), "strong"), Cell(str(after.path), "strong"), ""),
            ("format", before.format, after.format, ""),
            _side("parameters", before.stored.parameters, after.stored.parameters),
            (
                "size",
                size(before.stored.tensor_bytes),
                size(after.stored.tensor_bytes),
                signed_size(after.stored.tensor_bytes - before.stored.tensor_bytes),
            ),
            (
                "bits/weight",
                decimal(before.stored.bits_per_weight),
                decimal(after.stored.bits_per_weight),
                _ratio(before.stored.bits_per_weight, after.stored.bits_per_weight),
            ),
        ),
    )
    levels = Table(
        (
            Column("level"),
            Column("group", right=True),
            Column("before", right=True),
            Column("after", right=True),
            Column("change", right=True),
            Column("bytes", right=True, style="faint", from_width=100),
        ),
        [
            (
                str(it.level),
                it.group_size,
                short_size(it.before) if it.before else None,
                short_size(it.after) if it.after else None,
                Cell(signed_size(it.gained), _growth(it.gained)),
                f"{it.gained:+,}" if it.gained else "0",
            )
            for it in report.levels
        ],
    )
    pages: list[list[Block]] = [[totals], [levels]]
    if report.changed:
        columns = (
            Column("weights", shrinks="keeps end"),
            Column("count", right=True),
            Column("before"),
            Column("after"),
            Column("change", right=True),
        )
        alike: dict[tuple[str, str, str], list[int]] = {}
        for it in report.changed:
            resized = it.parameters_before != it.parameters_after
            key = (
                alike_name(it.name),
                recipes(it.before) + (f" x {it.parameters_before:,}" if resized else ""),
                recipes(it.after) + (f" x {it.parameters_after:,}" if resized else ""),
            )
            alike.setdefault(key, []).append(it.bytes_after - it.bytes_before)
        rows = [
            (name, len(changes), old, new, signed_size(sum(changes)))
            for (name, old, new), changes in list(alike.items())[:most]
        ]
        pages.append([Table(columns, rows), *_more(len(alike), most)])
    for names, where in ((report.only_before, "before"), (report.only_after, "after")):
        if names:
            counts = Counter(map(alike_name, names))
            only = Column(f"only {where}", shrinks="keeps end"), Column("count", right=True)
            pages.append([Table(only, list(counts.items())[:most]), *_more(len(counts), most)])
    verdict = Cell("the same recipe", "good") if report.same else Cell("different recipes", "warning")
    return [*pages, [Line((verdict,))]]


def alike_name(name: str) -> str:
    """A name without its numbers, the same in all layers: ``model.layers.*.mlp.up_proj``."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def _more(rows: int, most: int) -> list[Block]:
    return [Line((Cell(f"... and {rows - most:,} more rows; --all shows them", "faint"),))] if rows > most else []


def _side(name: str, before: int, after: int) -> tuple[Value, ...]:
    return name, f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "="


def _ratio(before: Fraction | None, after: Fraction | None) -> str:
    return f"{float(after / before):.2f}x" if before and after and after != before else "="


def signed_size(nbytes: int) -> str:
    """A change in bytes: ``+1.31 GiB``; ``=`` where there is none."""
    return f"{'+' if nbytes > 0 else '-'}{short_size(abs(nbytes))}" if nbytes else "="


def _growth(nbytes: int) -> Style:
    return "warning" if nbytes > 0 else "good" if nbytes < 0 else "faint"


def recipes(of: Iterable[Recipe]) -> str:
    """Recipes in short: ``INT4 g128 asymmetric``."""
    return " + ".join(_recipe(recipe) for recipe in of)


def _recipe(recipe: Recipe) -> str:
    words = [str(recipe.level)]
    if recipe.group_size:
        words.append(f"g{recipe.group_size}")
    if recipe.symmetric is False:
        words.append("asymmetric")
    nominal = recipe.level.block.bits_per_weight if isinstance(recipe.level, QuantizationLevel) else recipe.code_bits
    if recipe.code_bits is not None and recipe.code_bits > (nominal or 0):
        words.append(f"in {float(recipe.code_bits):g} bits")
    return " ".join(words)


#: What a size is reckoned from → what that means for it.
_SIZING_BASIS: Final = {
    "tensors": "exact: every tensor as it would be stored",
    "shapes": "idealized: no scheme is named, so only what the options say is counted beside the weights",
    "count": "idealized: from a count alone, without padding or what is kept at another level",
}


def sizing(report: Sizing, source: str) -> list[list[Block]]:
    """Totals, levels, and the tensors that cannot have theirs."""
    target = report.target
    facts: dict[str, Value] = {
        "from": Cell(source, "strong"),
        "level": str(target.level),
        "scheme": target.scheme,
        "recipe": target.recipe,
        "parameters": report.parameters,
        "size": Cell(size(report.nbytes), "strong"),
        "bits/weight": _bits_per_weight(report.bits_per_weight),
        "": Cell(_SIZING_BASIS[report.basis], "faint" if report.exact else "warning"),
    }
    levels = _levels(
        ((str(it.level), it, "quantized" if it.level == target.level else "plain") for it in report.levels),
        report.nbytes,
    )
    ragged = [(it.tensor, it.columns, str(it.wanted), str(it.given)) for it in report.fallbacks]
    fallbacks = Table(
        (
            Column("tensor", shrinks="keeps end"),
            Column("row", right=True),
            Column("cannot be", style="faint"),
            Column("becomes", style="warning"),
        ),
        ragged,
    )
    return [[Facts(facts)], [levels] if report.basis != "count" else [], [fallbacks] if ragged else []]


def same_size(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Candidates that take the same bytes, together; the checkpoint as it is stands by itself."""
    groups: dict[tuple[bool, int], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.way.level is None, candidate.nbytes), []).append(candidate)
    return list(groups.values())


def candidate_names(group: Iterable[Candidate]) -> str:
    """What candidates of one size are called."""
    return ", ".join(dict.fromkeys(candidate.way.name for candidate in group))


def candidate_size(candidate: Candidate) -> str:
    """The size of a candidate, with a mark if it is only estimated."""
    return short_size(candidate.nbytes) if candidate.way.exact else f"~{short_size(candidate.nbytes)}"


def fit(report: Fit, source: str, memory: str) -> list[list[Block]]:
    """The checkpoint as it is, then from the largest to the smallest, with the budget drawn where it falls."""
    budget, reserve = report.budget, report.reserve
    is_estimate = not all(candidate.way.exact for candidate in report.candidates)
    estimate = "; ~ is idealized from the number of parameters, without what a scheme adds" if is_estimate else ""
    facts: dict[str, Value] = {
        "from": Cell(source, "strong"),
        "memory": memory,
        "budget": f"{size(budget)}{f', {float(100 * reserve):g}% held back' if reserve else ''}",
        "": Cell(f"weights only: no key-value cache, no activations{estimate}", "faint"),
    }
    groups = same_size(report.candidates)
    rows = [_candidate_row(group, budget) for group in groups]
    mark: Sequence[Value] = (
        "",
        Cell("budget", "warning"),
        Cell(short_size(budget), "warning"),
        "",
        Cell(f"{report.devices:,}", "warning"),
        Bar(Fraction(1), "warning"),
    )
    as_stored = sum(group[0].way.level is None for group in groups)
    too_large = sum(not group[0].fits for group in groups[as_stored:])
    rows.insert(as_stored + too_large, mark)
    columns = (
        Column(""),
        Column("stored as", shrinks="wraps"),
        Column("size", right=True),
        Column("margin", right=True),
        Column("devices", right=True, from_width=80),
        Column("of budget"),
    )
    return [[Facts(facts)], [Table(columns, rows)]]


def _candidate_row(group: Sequence[Candidate], budget: int) -> Sequence[Value]:
    first = group[0]
    style: Style = "" if first.fits else "faint"
    return (
        Cell("fits", "good") if first.fits else Cell("no", "faint"),
        Cell(candidate_names(group), style),
        Cell(candidate_size(first), style),
        Cell(signed_size(first.margin), "good" if first.fits else "faint"),
        Cell(f"{first.devices_needed:,}", style),
        Bar(Fraction(first.nbytes, budget or 1), "quantized" if first.fits else "faint"),
    )


def listing(levels: Sequence[QuantizationLevel]) -> list[list[Block]]:
    """A row each."""
    columns = (
        Column("name", style="strong"),
        Column("bits", right=True),
        Column("bits/weight", right=True),
        Column("memory_reduction_factor", right=True, from_width=140),
        Column("exact_reduction_factor", right=True, from_width=120),
        Column("kind", style="faint", from_width=100),
        Column("summary", shrinks="keeps start"),
    )
    rows = [
        (
            level.name,
            level.bits_per_param,
            decimal(level.bits_per_weight),
            f"{level.memory_reduction_factor:.2f}",
            f"{level.exact_reduction_factor:.2f}",
            level.kind,
            level.summary,
        )
        for level in levels
    ]
    return [[Table(columns, rows) if rows else Line(("no level is of that width and kind",))]]


def description(level: QuantizationLevel) -> list[list[Block]]:
    """All that is known of one level, and its words in every dialect."""
    block, exact = level.block, level.bits_per_weight
    facts: dict[str, Value] = {
        "name": Cell(level.name, "strong"),
        "label": level.label,
        "summary": level.summary or None,
        "kind": level.kind,
        "bits": level.bits_per_param,
        "bits/weight": str(exact) if exact.denominator == 1 else f"{float(exact)} ({exact})",
        "block": f"{block.weights:,} weights in {block.bits:,} bits" if block.weights > 1 else None,
        "per row": f"{block.row_bits:,} bits more" if block.row_bits else None,
        "memory_reduction_factor": f"{level.memory_reduction_factor:g} (nominal: 32 / {level.bits_per_param} bits)",
        "exact_reduction_factor": f"{level.exact_reduction_factor:.4g} (as stored: 32 / {decimal(exact)} bits)",
        "aliases": ", ".join(level.aliases) or None,
        "source": level.source or None,
    }
    spellings = [(dialect, ", ".join(map(str, words))) for dialect, words in sorted(level.spellings.items())]
    columns = Column("dialect", style="faint"), Column("spelling")
    return [[Facts(facts)], [Table(columns, spellings)] if spellings else []]


def explanation(record: ExplanationRecord) -> list[list[Block]]:
    """The finding, and the paragraphs on it."""
    head = Line(
        (Cell(record["code"], "strong"), Cell(record["slug"], "strong"), Cell(f"({record['severity']})", "faint"))
    )
    lines: list[Block] = [Line((it.lstrip(),), len(it) - len(it.lstrip())) for it in record["text"].split("\n\n")]
    return [[head], *([line] for line in lines)]


def explanations(records: Sequence[ExplanationRecord]) -> list[list[Block]]:
    """One row per finding, with the first sentence on it."""
    columns = (
        Column("code", style="strong"),
        Column("severity"),
        Column("name"),
        Column("meaning", shrinks="keeps start", style="faint"),
    )
    rows = [
        (
            record["code"],
            Cell(record["severity"], _SEVERITIES[record["severity"]]),
            record["slug"],
            record["text"].partition("\n")[0].partition(". ")[0].rstrip("."),
        )
        for record in records
    ]
    return [[Table(columns, rows)], [Line((Cell("Run `quantlevels explain CODE` for cause and fix.", "faint"),))]]


def plugins(found: Sequence[PluginStatus]) -> list[list[Block]]:
    """A row each, and what to do about those in trouble."""
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
    troubles: list[list[Block]] = [
        [Line((Cell(bad.name, "strong"), Cell(bad.state, "bad"))), Line((bad.reason,), 2), Line((bad.remedy,), 2)]
        for bad in found
        if not bad.fine
    ]
    return [[Table(columns, rows) if rows else Line(("no plugins are installed",))], *troubles]
