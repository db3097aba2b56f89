"""The page of a whole study: what it holds, that names stay text, that a browser shows it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import struct
import subprocess
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nest_tune.figures import figure, percent
from nest_tune.report.collect import collect
from nest_tune.report.data import CompiledPart, ReportData
from nest_tune.report.page import page
from nest_tune.report.reproduce import search_commands, search_note
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome
from nest_tune.study.tuning.seam import TunedTask

Run = Callable[..., tuple[int, str, str]]

VOID = {"meta", "br", "img", "link", "input", "hr"}
SECTIONS = {
    "summary", "front", "progress", "timeline", "roofline", "layers", "graph", "quantization",
    "tasks", "predictions", "effects", "failures", "reproduce",
}  # fmt: skip


class Page(HTMLParser):
    """Elements and text; the nesting has to be right."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> set[str]:
        return {str(a["id"]) for tag, a in self.elements if tag == "section" and "id" in a}


@pytest.fixture(scope="module")
def data(result: StudyResult) -> ReportData:
    return collect(result, "min:latency_ms")


@pytest.fixture(scope="module")
def text(data: ReportData) -> str:
    return page(data)


def test_every_section_with_data_is_there(text: str, data: ReportData) -> None:
    shown = Page(text)
    assert data.notes == ()
    assert shown.sections == SECTIONS - {"tasks", "predictions"}  # nothing was tuned
    anchors = {a["href"] for tag, a in shown.elements if tag == "a"}
    assert {f"#{name}" for name in shown.sections - {"summary"}} == anchors
    assert len(text.encode()) < 6 << 20


def test_what_matters_is_measured(data: ReportData, text: str) -> None:
    """The table says what `explain` measures, and that alone."""
    rows = data.compiled.effects.rows
    assert {row.decision for row in rows} == set(data.chosen_decisions) - {"tiling"}
    first = [abs(row.changes["latency_ms"]) for row in rows if row.changes]
    assert first == sorted(first, reverse=True)
    shown = Page(text)
    assert "PED-ANOVA" not in shown.text
    for row in rows:
        assert row.decision in shown.text
        if row.changes.get("accuracy"):
            assert f"{row.changes['accuracy']:+.4f}" in shown.text
    (limit,) = data.compiled.effects.limits
    assert limit[1:] in shown.text


def test_many_decisions_are_told_in_a_line_first(data: ReportData) -> None:
    """A transformer with a number format per operator has a hundred."""
    many = {f"partition.layer{number}": "cpu:u8" for number in range(60)}
    shown = Page(page(replace(data, chosen_decisions={**many, "quantization.clip": "max"})))
    assert "partition.*=cpu:u8 (60 times), quantization.clip=max" in shown.text
    assert "All 61 decisions" in shown.text
    assert "partition.layer59" in shown.text
    assert "All " not in Page(page(replace(data, chosen_decisions={"a.b": "c"}))).text


def test_names_are_text_and_nothing_else(text: str, hostile_name: str) -> None:
    shown = Page(text)
    tags = {tag for tag, _ in shown.elements}
    assert not tags & {"img", "iframe", "link", "object", "embed", "form"}
    assert not [a for _, a in shown.elements for name in a if name.startswith("on")]
    assert hostile_name in shown.text
    assert "<img src=x onerror=alert(1)>.onnx" in shown.text


def test_the_page_runs_its_own_script_and_no_other(text: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == text.count("<script") == 1
    digest = b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "unsafe-inline" not in text.partition("script-src")[2].partition(">")[0]


def test_what_limits_and_what_to_try_next(text: str, data: ReportData) -> None:
    shown = Page(text)
    assert len(data.compiled.shares) > 1
    for share in data.compiled.shares:
        part = f"{figure(share.ms, 'latency_ms')} ms, {percent(share.share)}"
        assert f"{share.label}: {part}" in shown.text
    assert data.next_steps
    for step in data.next_steps:
        assert " ".join(step.reason.split()) in shown.text
        assert step.command in shown.text


def test_suggestions_run_as_they_are_printed(data: ReportData, run: Run) -> None:
    commands = [line for step in data.next_steps for line in step.command.splitlines()]
    assert commands
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "nest-tune"
        if words[1:3] != ["study", "resume"]:  # the other tests want the study as it is
            assert run(*words[1:])[0] == 0


def test_slower_steps_say_why(data: ReportData) -> None:
    slower = [row for row in data.compiled.layers if row.chosen and row.gained_ms < -0.00005]
    assert all(row.slower_because for row in slower)
    assert not any(row.slower_because for row in data.compiled.layers if row not in slower)


def test_nothing_comes_from_the_network(text: str) -> None:
    shown = Page(text)
    for _, attributes in shown.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(a["content"] for t, a in shown.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy


def test_numbers_are_those_of_the_study(text: str, data: ReportData, result: StudyResult) -> None:
    chosen = result.chosen("min:latency_ms")
    assert chosen is not None
    default = result.default
    assert default is not None
    assert data.chosen == chosen.number
    tile = next(tile for tile in data.tiles if tile.label == "latency, ms")
    assert tile.value == figure(chosen.metrics["latency_ms"], "latency_ms")
    assert tile.default == figure(default.metrics["latency_ms"], "latency_ms")
    compiled = data.compiled
    assert compiled.gantt is not None
    assert compiled.gantt.latency_ms == chosen.metrics["latency_ms"]
    layers = [row.chosen for row in compiled.layers if row.chosen is not None]
    assert sum(layer.cycles for layer in layers) == chosen.metrics["npu_cycles"]
    before = [row.default for row in compiled.layers if row.default is not None]
    assert sum(layer.cycles for layer in before) == default.metrics["npu_cycles"]
    assert f"Trial {chosen.number} is chosen" in Page(text).text


def test_intervals_and_changes_are_on_the_cards(text: str, data: ReportData) -> None:
    """An interval has one form, on cards and in the table of the front."""
    (accuracy,) = [tile for tile in data.tiles if tile.label == "accuracy" and tile.interval]
    assert text.count(accuracy.interval) >= 2
    latency = next(tile for tile in data.tiles if tile.label == "latency, ms")
    assert latency.float_value
    shown = Page(text).text.replace("\u00a0", " ")
    assert f"float model {latency.float_value}: {latency.float_change}" in shown
    assert latency.float_change.endswith(" %")
    assert f"default {latency.default}: {latency.change}" in shown
    assert f"{latency.change.removesuffix(' %')}\u00a0%</i>" in text  # a number keeps its unit
    assert accuracy.float_change.endswith(" points")


def test_accuracy_that_nothing_was_chosen_by_is_a_table(data: ReportData) -> None:
    heads = ("", "accuracy", "95 %", "accuracy drop", "95 %")
    rows = (heads, ("float", "0.9500", "[0.9, 0.97]", "", ""))
    shown = Page(page(replace(data, holdout=rows, holdout_samples=149)))
    assert "Accuracy on the 149 samples that nothing was chosen by" in shown.text
    assert "accuracy 95 % accuracy drop 95 % float 0.9500 [0.9, 0.97]" in shown.text


def test_times_say_what_they_are_of(data: ReportData) -> None:
    """With launches apart every layer has a program; else a layer has a share of one."""
    assert not data.compiled.joint
    assert "its share of the program's time" not in page(data)
    joint = page(replace(data, compiled=replace(data.compiled, joint=True)))
    assert "its share of the program's time" in joint
    assert "of each group in a program of its own, so they are longer" in joint


def test_timeline_covers_every_step(data: ReportData) -> None:
    assert data.compiled.gantt is not None
    cpu, npu = data.compiled.gantt.tracks
    launched = [s.name for s in cpu.stretches if s.kind == "launch"]
    assert launched == [s.name for s in npu.stretches]
    ends = [s.end_ms for track in (cpu, npu) for s in track.stretches]
    assert max(ends) == pytest.approx(data.compiled.gantt.latency_ms)
    assert all(
        0 <= strip.busy.min() <= strip.busy.max() <= 1 for strip in data.compiled.gantt.strips
    )


def test_error_of_each_layer_is_measured(data: ReportData) -> None:
    errors = [row.sqnr_db for row in data.compiled.quantized]
    assert errors
    assert all(error is not None and 10 < error < 80 for error in errors)


def test_damage_of_each_layer_alone_is_measured(data: ReportData, text: str) -> None:
    found = data.compiled.alone_db
    weighted = [row.name for row in data.compiled.quantized if len(row.weight_shape) == 4]
    assert len(found) >= 3
    assert set(found) & set(weighted)
    assert all(10 < value < 90 for value in found.values())
    worst = min(found, key=lambda name: found[name])
    assert f"{found[worst]:.1f}" in Page(text).text
    assert 'style="width: 100%"' in text


def test_best_line_only_improves(data: ReportData, result: StudyResult) -> None:
    latency = next(chart for chart in data.progress if chart.y_name == "latency, ms")
    values = [value for _, value in latency.best]
    assert values == sorted(values, reverse=True)
    feasible = [t.metrics["latency_ms"] for t in result.trials if t.is_feasible]
    assert values[-1] == min(feasible)
    kinds = {line.kind for line in latency.lines}
    assert {"default", "bound", "limit"} <= kinds


def test_study_without_a_feasible_trial_says_so(result: StudyResult) -> None:
    trials = tuple(
        replace(t, outcome=Outcome.CONSTRAINTS, message="latency_ms is too much")
        for t in result.trials
    )
    found = collect(replace(result, trials=trials, front=()))
    shown = Page(page(found))
    assert "No trial is feasible" in shown.text
    assert "The trials that break the limits least" in shown.text
    assert "timeline" not in shown.sections


def test_study_of_failures_only_shows_them(result: StudyResult, hostile_name: str) -> None:
    trials = tuple(
        replace(t, outcome=Outcome.COMPILE, message=hostile_name, metrics={})
        for t in result.trials[:3]
    )
    found = collect(replace(result, trials=trials, front=()))
    assert found.failures[0].count == 3
    shown = Page(page(found))
    assert shown.sections <= {"summary", "failures", "tasks", "reproduce"}
    assert hostile_name in shown.text


def test_tuned_tasks_are_listed_farthest_from_their_bound_first(result: StudyResult) -> None:
    tasks = {
        "conv2d-near": TunedTask({}, 1_100, 2_000, 1_000, 64),
        "conv2d-far": TunedTask({}, 9_000, 12_000, 4_000, 128),
    }  # whose records the database does not hold, so that nothing can be predicted
    found = collect(replace(result, tasks=tasks, front=()))
    assert [task.name for task in found.tasks] == ["conv2d-far", "conv2d-near"]
    shown = Page(page(found))
    assert "tasks" in shown.sections
    assert "conv2d-far 12,000 9,000 4,000 44.4 % 128" in shown.text
    assert "predictions" not in shown.sections
    assert "Predicted against measured is left out" in shown.text


def test_what_another_search_does_not_know_is_said(result: StudyResult) -> None:
    chosen = result.chosen()
    assert chosen is not None
    assert len(search_commands(result, chosen)) == 2
    told = replace(result, asked_for=(chosen.point,))
    assert "told to try 1 configuration (nest-tune study enqueue)" in search_note(told)
    assert len(search_commands(told, chosen)) == 1  # its number means another trial there


def test_gone_files_leave_out_what_takes_a_compile(result: StudyResult) -> None:
    settings = result.study.document["settings"] | {"model": "/nowhere/model.onnx"}
    study = replace(result.study, document={**result.study.document, "settings": settings})
    gone = replace(result, study=study, settings=replace(result.settings, model="/nowhere/m.onnx"))
    found = collect(gone)
    assert found.compiled == CompiledPart()
    assert "/nowhere/m.onnx" in found.notes[0]
    assert "front" in Page(page(found)).sections


def test_command_writes_the_page(small_study: Any, nest_tune: Run, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    words = ("study", "report", "small", "-o", output, "--storage", small_study.storage)
    code, written, errors = nest_tune(*words, "--json")
    assert code == 0, errors
    document = json.loads(written)
    assert document["schema"] == "nest-tune/study-report/1"
    assert document["size_bytes"] == output.stat().st_size
    assert nest_tune(*words[:3], "-o", tmp_path, "--storage", small_study.storage)[0] == 2
    assert nest_tune("study", "report", "other", "-o", output, *words[-2:])[0] == 2


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1200, 1), (500, 0)])
def test_browser_shows_it_without_overflow(
    chromium: str, text: str, tmp_path: Path, width: int, scheme: int
) -> None:
    """``scheme``: 0 dark, 1 light, as the browser counts them."""
    probe = (
        "<script>const wide=[...document.querySelectorAll('body *')].filter(e=>"
        "!e.closest('.scroll,.plan,pre,svg')&&e.getBoundingClientRect().right>innerWidth+1)"
        ".map(e=>e.tagName+'.'+e.className);"
        "const page=getComputedStyle(document.body).backgroundColor;"
        "const svgs=[...document.querySelectorAll('.chart svg')]"
        ".filter(e=>e.getBoundingClientRect().width>0).map(e=>e.getAttribute('class'));"
        "document.body.dataset.probe=JSON.stringify({wide,page,svgs:[...new Set(svgs)],"
        "inner:innerWidth,scroll:document.documentElement.scrollWidth});</script></body>"
    )
    file = tmp_path / "report.html"
    # Only the probe may run: the page itself forbids every script.
    open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    file.write_text(open_text.replace("</body>", probe), encoding="utf-8")
    picture = tmp_path / "page.png"
    common = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900",
        f"--blink-settings=preferredColorScheme={scheme}", "--hide-scrollbars",
    ]  # fmt: skip
    command = [*common, "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r'data-probe="([^"]*)"', shown.stdout)
    assert match is not None
    probed = json.loads(match[1].replace("&quot;", '"'))
    assert probed["wide"] == []
    assert probed["scroll"] <= probed["inner"]
    assert probed["svgs"] == (["wide"] if width > 640 else ["narrow"])
    red = int(re.findall(r"\d+", probed["page"])[0])
    assert (red > 128) == (scheme == 1)
    file.write_text(text, encoding="utf-8")
    command = [*common, f"--screenshot={picture}", file.as_uri()]
    subprocess.run(command, capture_output=True, check=True)
    assert struct.unpack(">II", picture.read_bytes()[16:24])[0] == width
