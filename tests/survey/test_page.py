"""The page of a survey in a real browser: it lists, sorts and filters; nothing in a name becomes part of the page."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from tests.survey.stores import write_tree

from quantlevels.survey import SurveyRow, survey
from quantlevels.survey.page import page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
#: does what a reader does, and leaves what the reader then sees in the title
ACTIONS = """
<script>
const names = () => [...document.querySelectorAll("#rows tbody tr")].map(row => row.cells[0].firstChild.textContent);
const click = title => [...document.querySelectorAll("th button")].find(node => node.textContent === title).click();
const filter = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById("filter").dispatchEvent(new Event("input"));
};
const seen = {first: names()};
click("name"); seen.ascending = names();
click("name"); seen.descending = names();
filter("text", "several"); seen.text = names();
filter("text", ""); filter("trouble", "error"); seen.errors = names();
filter("trouble", ""); filter("store", "tree"); seen.store = names();
seen.scripts = document.scripts.length;
filter("store", ""); seen.all = names();
seen.count = document.getElementById("count").textContent;
seen.more = !document.getElementById("more").hidden;
// only the table scrolls sideways, never the page
seen.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
document.title = JSON.stringify(seen);
</script>
"""


@pytest.fixture
def rows(tmp_path: Path) -> list[SurveyRow]:
    write_tree(tmp_path / "tree")
    return list(survey(tmp_path / "tree"))


def seen(text: str, folder: Path, width: int = 1400) -> dict[str, Any]:  # Any: JSON of the actions above
    """What a reader sees of a page in a window after each of the actions."""
    if BROWSER is None:
        pytest.skip("needs Chromium")
    file = folder / "page.html"
    file.write_text(text.replace("</body>", f"{ACTIONS}</body>"), encoding="utf-8")
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}"),
        f"--window-size={width},900",
        *("--dump-dom", file.as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    (title,) = re.findall("<title>(.*?)</title>", dom, re.DOTALL)
    found: dict[str, Any] = json.loads(html.unescape(title))
    return found


def test_the_page_sorts_and_filters(rows: list[SurveyRow], tmp_path: Path) -> None:
    found = seen(page(rows, ["tree"]), tmp_path)
    names = sorted(row["name"] for row in rows)
    assert sorted(found["first"]) == found["ascending"] == names
    assert found["descending"] == names[::-1]
    assert found["text"] == ["several/b.gguf", "several/a.gguf"]
    assert found["errors"] == [row["name"] for row in sorted(rows, key=lambda row: row["name"], reverse=True)
                               if row["error"] or any(f["severity"] == "error" for f in row["findings"])]  # fmt: skip
    assert sorted(found["store"]) == names


@pytest.mark.parametrize("width", [500, 1400])
def test_five_thousand_rows_fit_into_any_window(rows: list[SurveyRow], tmp_path: Path, width: int) -> None:
    many = [cast("SurveyRow", {**rows[number % len(rows)], "name": f"{number:04}"}) for number in range(5000)]
    found = seen(page(many, ["tree"]), tmp_path, width)
    assert found["ascending"] == [f"{number:04}" for number in range(500)]
    assert found["descending"][0] == "4999"
    assert found["count"].startswith("5,000 of 5,000 checkpoints")
    assert (found["fits"], found["more"]) == (True, True)


def test_a_name_cannot_become_part_of_the_page(rows: list[SurveyRow], tmp_path: Path) -> None:
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    found = seen(page([cast("SurveyRow", {**rows[0], "name": name})], [name]), tmp_path)
    assert found["first"] == [name]
    assert found["scripts"] == 3  # the data, the page's own and that of this test


def test_the_page_asks_nothing_of_other_hosts(rows: list[SurveyRow]) -> None:
    assert not re.search(r"(?:src|href)\s*=|https?://|@import|url\(", page([], []))
