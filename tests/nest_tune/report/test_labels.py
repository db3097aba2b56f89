"""Labels beside reference lines: none covers another, none leaves the chart."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from nest_tune.report.labels import Label, place_labels

CHART = ((58.0, 30.0), (346.0, 258.0))
"""The narrow one's corners."""
TEXTS = ("default 0.444", "bound of trial 4: 0.363", "limit 0.5", "float model 0.538")


def meet(one: Label, other: Label) -> bool:
    a, b = one.box, other.box
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def covers(label: Label, place: tuple[float, float]) -> bool:
    left, top, right, bottom = label.box
    return left <= place[0] <= right and top <= place[1] <= bottom


@given(
    heights=st.lists(st.floats(30, 258), min_size=1, max_size=4),
    dots=st.lists(st.tuples(st.floats(58, 346), st.floats(30, 258)), max_size=30),
)
def test_labels_cover_neither_each_other_nor_what_is_beside_the_chart(
    heights: list[float], dots: list[tuple[float, float]]
) -> None:
    lines = [(text, height, "bound" in text) for text, height in zip(TEXTS, heights, strict=False)]
    found = place_labels(lines, CHART, dots)
    assert [label.text for label in found] == [text for text, _, _ in lines]
    assert not any(meet(*pair) for pair in combinations(found, 2))
    for label in found:
        left, top, right, bottom = label.box
        assert CHART[0][0] <= left
        assert CHART[0][1] <= top
        assert right <= CHART[1][0]
        assert bottom <= CHART[1][1]


def test_a_label_stands_at_the_right_end_where_nothing_is() -> None:
    (label,) = place_labels([("default 0.444", 100.0, False)], CHART)
    assert label == Label("default 0.444", (342.0, 95.0), "end")


def test_a_label_makes_way_for_the_best_line_and_the_dots_on_it() -> None:
    """The best comes down to its bound: what lies on it is at the right end."""
    path = [(58.0, 60.0), (150.0, 60.0), (150.0, 100.0), (340.0, 100.0)]
    dots = [(x, 99.0) for x in range(150, 340, 10)]
    (label,) = place_labels([("bound 0.3", 102.0, False)], CHART, dots, path)
    assert not any(covers(label, dot) for dot in dots)
    crowd = [(x, y) for x in range(200, 340, 5) for y in range(80, 125, 5)]
    (label,) = place_labels([("bound 0.3", 102.0, False)], CHART, crowd, path)
    assert not any(covers(label, dot) for dot in crowd)
    assert label.anchor == "start"
