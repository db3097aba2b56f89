"""Scales and charts: places of known values, ticks, and text that is never markup."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.report.charts import (
    Dot,
    FrontChart,
    Limits,
    Line,
    ProgressChart,
    RoofDot,
    RooflineChart,
    ScatterChart,
    draw_front,
    draw_progress,
    draw_roofline,
    draw_scatter,
)
from nest_tune.report.gantt import Gantt, GanttBar, Strip, Track, busy_shares, draw_gantt
from nest_tune.report.scale import Scale, fit, short
from nest_tune.report.svg import NARROW, WIDE, Size

EVIL = "</svg><script>alert(1)</script>\"' onload=x"
FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


def parsed(picture: str) -> ElementTree.Element:
    root = ElementTree.fromstring(picture)
    assert all(element.tag not in ("script", "foreignObject") for element in root.iter())
    return root


@given(st.lists(FINITE, min_size=1, max_size=8), st.sampled_from([None, False]))
def test_every_value_lies_on_a_fitted_scale(values: list[float], is_log: bool | None) -> None:
    scale = fit(values, 50.0, 850.0, is_log=is_log)
    places = [scale(value) for value in values]
    assert all(50.0 <= place <= 850.0 for place in places)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(places)[order]) >= -1e-6)
    ticks = scale.ticks(6)
    assert all(scale.low * (1 - 1e-9) - 1e-9 <= tick for tick in ticks if scale.low >= 0)
    assert len(ticks) <= 14


@pytest.mark.parametrize(
    ("low", "high", "wanted", "ticks"),
    [
        (0.0, 10.0, 5, [0, 2, 4, 6, 8, 10]),
        (0.94, 0.9525, 5, [0.94, 0.9425, 0.945, 0.9475, 0.95, 0.9525]),
    ],
)
def test_linear_ticks_are_round(low: float, high: float, wanted: int, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks(wanted) == pytest.approx(ticks)


def test_log_scale_is_even_in_factors() -> None:
    scale = Scale(1.0, 100.0, 0.0, 200.0, is_log=True)
    assert [scale(v) for v in (1, 10, 100)] == pytest.approx([0, 100, 200])
    assert scale.ticks(5) == pytest.approx([1, 10, 100])
    assert Scale(2.0, 50.0, 0.0, 1.0, is_log=True).ticks(5) == pytest.approx([3, 10, 30])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.34294, "0.3429"), (9473, "9473"), (12500, "12.5k"), (2.5e6, "2.5M"),
     (0.00001, "1.0e-05"), (-0.5, "-0.5")],
)  # fmt: skip
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_front_shades_what_a_limit_rules_out(size: Size) -> None:
    dots = (
        Dot(1.0, 0.9, "front", EVIL),
        Dot(2.0, 0.95, "chosen", "trial 2"),
        Dot(3.0, 0.91, "feasible", "trial 3"),
        Dot(3.5, 0.8, "infeasible", "trial 4"),
    )
    chart = FrontChart("ms", EVIL, dots, Limits(high=3.2), Limits(low=0.85))
    root = parsed(draw_front(chart, size))
    boxes = [e for e in root.iter() if e.get("class") == "shade"]
    circles = {e.get("class"): e for e in root.iter() if e.tag.endswith("circle")}
    assert len(boxes) == 2
    assert len(circles) == 4
    right = boxes[0]
    infeasible, good = circles["dot infeasible"], circles["dot feasible"]
    assert float(right.get("x", 0)) < float(infeasible.get("cx", 0))
    assert float(right.get("x", 0)) > float(good.get("cx", 0))
    stairs = next(e for e in root.iter() if e.get("class") == "front-line")
    assert stairs.get("d", "").count("L") == 2  # one corner between the two trials of the front


def test_limits_far_away_do_not_squeeze_the_trials() -> None:
    dots = (Dot(1.0, 0.9, "front", ""), Dot(2.0, 0.95, "chosen", ""))
    near = FrontChart("x", "y", dots)
    far = replace(near, x_limits=Limits(high=1e6))
    assert draw_front(near, WIDE) == draw_front(far, WIDE)


FIGURES = st.lists(
    st.tuples(
        st.floats(0.1, 9.0), st.floats(0.1, 9.0), st.sampled_from(["front", "chosen", "feasible"])
    ),
    min_size=1,
    max_size=8,
)


def test_a_point_of_the_front_far_from_all_others_stands_at_the_edge() -> None:
    """The float model of an exact plan, at 200 dB, leaves the axis to what differs."""
    near = [
        (0.1, 21.0, "front"),
        (0.2, 25.0, "chosen"),
        (0.3, 27.0, "front"),
        (0.2, 24.0, "default"),
    ]
    dots = tuple(Dot(x, y, kind, "t") for x, y, kind in near)
    far = Dot(2.0, 200.0, "front", "exact")
    chart = FrontChart("ms", "dB", (*dots, far))
    assert chart.beyond == {far}
    assert max(chart.shown[1]) == 27.0
    assert max(chart.shown[0]) == 0.3
    chosen = FrontChart("ms", "dB", (*dots, replace(far, kind="chosen")))
    assert not chosen.beyond
    assert not FrontChart("ms", "dB", (*dots[:2], far)).beyond


@given(FIGURES)
def test_chosen_and_default_are_never_at_the_edge(places: list[tuple[float, float, str]]) -> None:
    dots = (Dot(1.0, 50.0, "default", ""), *(Dot(x, y, kind, "") for x, y, kind in places))
    beyond = FrontChart("x", "y", dots).beyond
    assert all(dot.kind not in ("chosen", "default") for dot in beyond)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_progress_ends_at_the_last_trial(size: Size) -> None:
    dots = tuple(Dot(float(i), 10.0 - i, "feasible", "a trial") for i in range(5))
    lines = (Line(10.0, "default 10", "default"), Line(2.0, "bound 2", "bound"))
    best = tuple((dot.x, dot.y) for dot in dots[:3])
    root = parsed(draw_progress(ProgressChart("trial", "ms", dots, best, lines), size))
    path = next(e for e in root.iter() if e.get("class") == "best-line")
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    last = max(float(e.get("cx", 0)) for e in circles)
    assert float(path.get("d", "").split("L")[-1].split()[0]) == pytest.approx(last, abs=0.2)
    tags = [e.text for e in root.iter() if (e.get("class") or "").startswith("tag")]
    assert set(tags) == {"default 10", "bound 2"}


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_dots_that_say_nothing_are_one_path_of_each_kind(size: Size) -> None:
    """They lie where dots with a tip lie, to half a pixel."""
    kinds = ("feasible", "infeasible")
    places = [(float(i), 10.0 - i / 7, kinds[i % 2]) for i in range(40)]

    def drawn(tip: str) -> list[Any]:
        chart = FrontChart("ms", "accuracy", tuple(Dot(x, y, k, tip) for x, y, k in places))
        return list(parsed(draw_front(chart, size)).iter())

    with_tips = [e for e in drawn("a trial") if e.tag.endswith("circle")]
    assert len(with_tips) == len(places)
    paths = [e for e in drawn("") if (e.get("class") or "").startswith("dots ")]
    assert [e.get("class") for e in paths] == ["dots infeasible", "dots feasible"]
    found = [
        tuple(map(float, part.removesuffix("h0").split()))
        for path in reversed(paths)
        for part in path.get("d", "")[1:].split("M")
    ]
    wanted = [
        (float(e.get("cx", 0)), float(e.get("cy", 0)))
        for kind in kinds
        for e in with_tips
        if e.get("class") == f"dot {kind}"
    ]
    assert found == [pytest.approx(place, abs=0.31) for place in wanted]


def test_layers_lie_under_the_roof() -> None:
    dots = (RoofDot(0.5, 3.0, "chosen-layer", EVIL), RoofDot(100.0, 200.0, "default-layer", ""))
    root = parsed(draw_roofline(RooflineChart(256.0, 8.0, dots), WIDE))
    path = next(e for e in root.iter() if e.get("class") == "roof-line")
    corners = [tuple(map(float, part.split())) for part in path.get("d", "")[1:].split("L")]
    assert corners[1][1] == corners[2][1]  # flat from the ridge on
    for circle in (e for e in root.iter() if e.tag.endswith("circle")):
        x, y = float(circle.get("cx", 0)), float(circle.get("cy", 0))
        roof = np.interp(x, [c[0] for c in corners], [c[1] for c in corners])
        assert y > roof


def test_gantt_places_stretches_and_strips() -> None:
    busy = np.array([0.0, 1.0, 1.0, 0.5])
    tracks = (
        Track("CPU", (GanttBar(0.0, 1.0, EVIL, "cpu", EVIL),)),
        Track("NPU", (GanttBar(1.0, 4.0, "conv", "npu", "conv"),)),
    )
    root = parsed(draw_gantt(Gantt(4.0, tracks, (Strip("load", busy),)), WIDE))
    runs = [e for e in root.iter() if (e.get("class") or "").startswith("run ")]
    assert float(runs[1].get("width", 0)) == pytest.approx(3 * float(runs[0].get("width", 0)))
    boxes = [e for e in root.iter() if e.get("class") == "busy"]
    assert [e.get("fill-opacity") for e in boxes] == [None, "0.50"]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12),
    st.integers(1, 30),
)
def test_busy_shares_equal_the_plain_count(steps: list[tuple[int, int]], bins: int) -> None:
    starts, ends, now = [], [], 0
    for gap, length in steps:
        starts.append(now + gap)
        ends.append(now + gap + length)
        now += gap + length
    total = now + 3
    found = busy_shares(np.array(starts, float), np.array(ends, float), float(total), bins)
    for index in range(bins):
        low, high = index * total / bins, (index + 1) * total / bins
        inside = sum(
            max(0.0, min(high, end) - max(low, start))
            for start, end in zip(starts, ends, strict=True)
        )
        assert found[index] == pytest.approx(inside / (high - low), abs=1e-9)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_scatter_puts_equal_values_on_its_line(size: Size) -> None:
    chart = ScatterChart(EVIL, "predicted", ((10.0, 10.0), (40.0, 20.0), (500.0, 500.0)))
    root = parsed(draw_scatter(chart, size))
    line = next(e for e in root.iter() if e.get("class") == "equal-line")
    x1, y1, x2, y2 = (float(line.get(name, "")) for name in ("x1", "y1", "x2", "y2"))
    path = next(e for e in root.iter() if e.get("class") == "dots sample")
    below = []
    for dot in path.get("d", "")[1:].split("M"):
        x, y = map(float, dot.removesuffix("h0").split())
        below.append(y - (y1 + (x - x1) * (y2 - y1) / (x2 - x1)))
    assert below == pytest.approx([0, below[1], 0], abs=0.6)
    assert below[1] > 10


def test_axis_of_progress_holds_what_matters() -> None:
    dots = tuple(
        Dot(float(n), y, "feasible", "t") for n, y in enumerate([1.5, 1.4, 30.0, 1.6, 9.0])
    )
    lines = (Line(1.5, "default", "default"), Line(1.2, "bound", "bound"))
    chart = ProgressChart("trial", "ms", dots, ((0.0, 1.5), (1.0, 1.4)), lines)
    assert sorted(chart.shown) == [1.2, 1.4, 1.5, 1.5, 1.6]
    assert chart.is_focused
    root = parsed(draw_progress(chart, WIDE))
    kinds = [e.get("class") for e in root.iter() if (e.get("class") or "").startswith("dot")]
    assert kinds.count("dot beyond") == 2
    near = replace(chart, dots=dots[:2])
    assert not near.is_focused
    assert "beyond" not in draw_progress(near, WIDE)


def test_a_best_far_from_all_others_stands_at_the_edge() -> None:
    """An exact trial has 200 dB."""
    dots = tuple(Dot(float(i), 20.0 + i, "feasible", "") for i in range(5))
    exact = (*dots, Dot(5.0, 200.0, "feasible", ""))
    best = tuple((dot.x, dot.y) for dot in exact)
    chart = ProgressChart("trial", "dB", exact, best, (Line(20.0, "default 20", "default"),))
    assert max(chart.shown) == 24.0
    assert chart.is_focused
