"""What the page's script does, in a browser: tips by arrow keys, tables sorted by a column."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

CHART = """<div class="chart"><svg viewBox="0 0 90 20" width="90" height="20">
<circle cx="70" cy="9" r="3"><title>third</title></circle>
<circle cx="10" cy="9" r="3"><title>first</title></circle>
<circle cx="40" cy="9" r="3"><title>second</title></circle></svg></div>"""

TABLE = """<table class="sortable"><thead><tr><th>a</th></tr></thead><tbody>{}</tbody></table>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


def found_by(chromium: str, folder: Path, body: str, probe: str) -> Any:
    """What a probe, the body of a function, returns on a page with the report's script."""
    script = (resources.files("nest_tune.report") / "report.js").read_text("utf-8")
    run = f"document.body.dataset.found=JSON.stringify((() => {{{probe}}})())"
    file = folder / "page.html"
    scripts = f"<script>{script}</script><script>{run}</script>"
    file.write_text(f"<meta charset='utf-8'><body>{body}{scripts}", encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r'data-found="([^"]*)"', shown.stdout)
    assert match is not None, shown.stdout[-500:]
    return json.loads(match[1].replace("&quot;", '"'))


def test_arrow_keys_walk_the_marks_of_a_chart_from_left_to_right(
    chromium: str, tmp_path: Path
) -> None:
    probe = """
      const chart = document.querySelector("svg"), tip = document.getElementById("tip");
      const press = (key) => {
        chart.dispatchEvent(new KeyboardEvent("keydown", { key }));
        return tip.hidden ? "" : tip.textContent;
      };
      const keys = ["ArrowRight", "ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home", "Tab",
        "Escape", "ArrowLeft"];
      return [chart.tabIndex, document.querySelectorAll("title").length, keys.map(press)];
    """
    tab, titles, tips = found_by(chromium, tmp_path, CHART, probe)
    assert tab == 0
    assert titles == 0  # one tip, not two
    assert tips == [
        "first", "second", "third", "first", "third", "first", "first", "", "third",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rising",
    [
        ["-3.5", "+0.0010", "2 [1, 3]", "2.5", "1,234", "12,000 bytes", "word", "–", ""],
        ["conv_2", "conv_10", "fc"],
        ["1_minute", "3x3", "10_minute"],
        ["1.0e-05", "0.001", "2.4 %", "-"],
    ],
)
def test_columns_are_sorted_by_figures_then_words_and_what_is_absent_stays_last(
    chromium: str, tmp_path: Path, rising: list[str]
) -> None:
    rows = [rising[(5 * index + 2) % len(rising)] for index in range(len(rising))]
    if len(set(rows)) < len(rising):
        rows = rising[::-1]
    body = TABLE.format("".join(f"<tr><td>{cell}</td></tr>" for cell in rows))
    probe = """
      const head = document.querySelector("th"), body = document.querySelector("tbody");
      const press = (key) => {
        head.dispatchEvent(new KeyboardEvent("keydown", { key }));
        return [head.getAttribute("aria-sort"), [...body.rows].map((row) => row.textContent)];
      };
      return [press("Tab"), press("Enter"), press(" ")];
    """
    untouched, up, down = found_by(chromium, tmp_path, body, probe)
    assert untouched == [None, rows]
    present = [cell for cell in rising if cell not in ("–", "")]
    assert up[0] == "ascending"
    assert up[1][: len(present)] == present
    assert down[0] == "descending"
    assert down[1][: len(present)] == present[::-1]
    assert set(down[1][len(present) :]) == set(rising) - set(present)


def test_a_graph_wider_than_the_page_begins_in_its_middle(chromium: str, tmp_path: Path) -> None:
    plan = """<div class="plan" style="overflow: auto; width: {}px"><svg width="800" height="9">
      </svg></div>"""
    probe = 'return [...document.querySelectorAll(".plan")].map((plan) => plan.scrollLeft);'
    assert found_by(chromium, tmp_path, plan.format(300) + plan.format(900), probe) == [250, 0]
