"""Pages of the site that are made from the code and from the files at the root: run by mkdocs-gen-files."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import mkdocs_gen_files

from quantlevels import levels

ROOT: Final = Path(__file__).parents[2]
REPOSITORY: Final = "https://github.com/quantlevels/quantlevels/blob/main"

#: the modules that users import, in the order of the reference
PUBLIC_MODULES: Final = (
    "quantlevels",
    "quantlevels.formats",
    "quantlevels.config",
    "quantlevels.converters",
    "quantlevels.fields",
    "quantlevels.scheme",
    "quantlevels.container",
    "quantlevels.survey",
    "quantlevels.testing",
)
_LINK: Final = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def site_link(target: str) -> str:
    """Where a link of a file at the root leads on the site."""
    pages = {
        "src/quantlevels/inspection/explanations.md": "findings.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
    }
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return pages.get(target, f"{REPOSITORY}/{target}")


def write(page: str, text: str) -> None:
    """Write one page of the site."""
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(text)


def copy_page(page: str, source: str) -> None:
    """A file at the root of the repository as a page, its links led to pages of the site."""
    text = (ROOT / source).read_text(encoding="utf-8")
    write(page, _LINK.sub(lambda link: site_link(link[1]), text))
    mkdocs_gen_files.set_edit_path(page, f"../{source}")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


def levels_page() -> str:
    """Every level that comes with the package, by kind."""
    text = (
        "---\nhide: [toc]\n---\n\n# Levels\n\n"
        "Every level that comes with quantlevels. Plugins add theirs; `quantlevels list` shows them too.\n"
    )
    kinds = dict.fromkeys(level.kind for level in levels)
    for kind in kinds:
        rows = [
            (
                f"`{level.name}`",
                level.label,
                level.summary,
                level.bits_per_param,
                f"{float(level.bits_per_weight):g}",
                f"{level.block.weights} in {level.block.bits} bits" if level.block.weights > 1 else "",
                ", ".join(f"`{alias}`" for alias in level.aliases),
            )
            for level in levels
            if level.kind == kind
        ]
        headings = ("name", "label", "summary", "bits", "bits per weight", "block", "aliases")
        text += f"\n## {kind}\n\n{table(headings, rows)}"
    return text


def containers_page() -> str:
    """Every file format that is read."""
    from quantlevels.checkpoint.catalogue import CONTAINERS, FOREIGN

    rows = [(f"`{one.name}`", " ".join(f"`{word}`" for word in (*one.suffixes, *one.names))) for one in CONTAINERS]
    others = "".join(f"- {foreign.format}: {foreign.advice}\n" for foreign in FOREIGN)
    return (
        "# Containers\n\nThe file formats that quantlevels reads, each by its header alone. "
        f"[Plugins](../plugins.md) add theirs.\n\n{table(('format', 'names of its files'), rows)}\n"
        f"Named, but not read:\n\n{others}"
    )


def python_page() -> str:
    """Every public name, from its docstring."""
    text = "# Python\n"
    for name in PUBLIC_MODULES:
        module = importlib.import_module(name)
        text += f"\n## {name}\n\n{(module.__doc__ or '').strip()}\n\n"
        text += "".join(f"::: {name}.{public}\n\n" for public in public_names(module))
    return text


def public_names(module: ModuleType) -> list[str]:
    """The classes and functions of a module that users import, sorted."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
    ]
    return sorted((name for name in names if name[0] != "_" and callable(getattr(module, name))), key=str.lower)


def schemas_page() -> str:
    """The schema of every record, published beside the page."""
    rows = []
    for path in sorted((ROOT / "docs/schemas").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        record = path.name.removesuffix(".schema.json")
        summary = schema.get("description", schema.get("title", record)).partition("\n")[0]
        rows.append((f"[`{record}`](../schemas/{path.name})", summary))
    text = "The [JSON Schema](https://json-schema.org) of each record that `--json` prints."
    return f"# Record schemas\n\n{text}\n\n{table(('record', 'what it is'), rows)}"


#: page → what makes it
PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/levels.md": levels_page,
    "reference/containers.md": containers_page,
    "reference/python.md": python_page,
    "reference/schemas.md": schemas_page,
}

for page, make in PAGES.items():
    write(page, make())
for page, source in {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}.items():
    copy_page(page, source)
