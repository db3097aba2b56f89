"""Frozen values to plain ones and back; whatever does not fit is one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.files.plain import ONLY_WHERE_OTHER, PlainReader, from_plain, to_plain
from compiler_core.tensor.digest import digest


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True)
class Line:
    colour: Colour
    ends: tuple[Point, Point]
    weights: tuple[float, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    middle: Point | None = None


points = st.builds(Point, st.integers(), st.integers())
lines = st.builds(
    Line,
    st.sampled_from(Colour),
    st.tuples(points, points),
    st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    st.dictionaries(st.text(), st.text()),
    st.none() | points,
)

GOOD = {"colour": "red", "ends": [{"x": 1}, {"x": 2, "y": 3}], "weights": [1.5, 2]}


@given(lines)
def test_round_trip(line: Line) -> None:
    assert from_plain(Line, to_plain(line), "line") == line


def test_defaults_and_integers_as_floats() -> None:
    line = from_plain(Line, GOOD, "line")
    assert line == Line(Colour.RED, (Point(1), Point(2, 3)), (1.5, 2.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "green"}, "line.colour: 'green'; allowed are red, blue"),
        ({"colour": None}, "line.colour: None"),
        ({"color": "red"}, "unknown key 'color'"),
        ({"ends": [{"x": 1}]}, "line.ends: a list of 1; 2 entries"),
        ({"ends": [{"x": 1}, {"x": True}]}, "line.ends[1].x: True; an integer"),
        ({"ends": [{"x": 1}, {"y": 1}]}, "line.ends[1]: key 'x' is missing"),
        ({"ends": [{"x": 1.0}, {"x": 1}]}, "line.ends[0].x: 1.0; an integer"),
        ({"weights": ["1"]}, "line.weights[0]: '1'; a finite number"),
        ({"weights": [float("nan")]}, "line.weights[0]: nan"),
        ({"weights": {}}, "line.weights: {}; a list"),
        ({"names": {"a": 1}}, "line.names.a: 1; a text"),
        ({"names": []}, "line.names: []; a table"),
        ({"middle": 3}, "line.middle: 3; a table"),
    ],
)
def test_errors_name_place_value_and_what_is_allowed(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as raised:
        from_plain(Line, GOOD | change, "line")
    assert words in raised.value.message


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(InputError) as raised:
        from_plain(Line, GOOD | {"color": 1}, "line")
    assert raised.value.hint == "did you mean 'colour'?"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from(sorted(GOOD)))
def test_any_value_is_read_or_refused(value: Any, key: str) -> None:
    for document in (value, GOOD | {key: value}):
        message = "line"
        try:
            from_plain(Line, document, "line")
        except InputError as error:
            message = error.message
        assert message.startswith("line")


def test_a_reader_of_its_own_reads_a_field() -> None:
    @dataclass(frozen=True)
    class Inner:
        text: str

    def read(value: Any, where: str) -> Inner:
        if not isinstance(value, dict):
            raise InputError(f"{where}: no table")
        return Inner(value["shown"])

    annotated = Annotated[Any, PlainReader(read)]
    assert from_plain(annotated, {"shown": "x"}, "here") == Inner("x")  # type: ignore[arg-type]
    assert from_plain(Annotated[int, "a note"], 5, "here") == 5  # type: ignore[arg-type]
    with pytest.raises(InputError, match="here: no table"):
        from_plain(annotated, 5, "here")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Grown:
    old: int
    fresh: int = field(default=8, metadata={ONLY_WHERE_OTHER: True})


def test_fields_that_came_later_are_written_only_where_they_differ() -> None:
    assert to_plain(Grown(1)) == {"old": 1}
    assert to_plain(Grown(1, 4)) == {"old": 1, "fresh": 4}
    assert from_plain(Grown, {"old": 1}, "x") == Grown(1)
    assert from_plain(Grown, {"old": 1, "fresh": 4}, "x") == Grown(1, 4)


def test_digests_do_not_know_of_them_either() -> None:
    @dataclass(frozen=True)
    class Before:
        old: int

    Before.__name__ = "Grown"
    assert digest(Grown(1)) == digest(Before(1)) != digest(Grown(1, 4))
