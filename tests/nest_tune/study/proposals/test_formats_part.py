"""Number formats of operators in studies on this machine."""

from __future__ import annotations

from itertools import product

import pytest

from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.precision.table import FormatCosts
from nest_tune.study.proposals.formats_part import FormatsPart
from tests.conftest import ROOT


@pytest.fixture
def part() -> FormatsPart:
    graph = load_model(ROOT / "examples/digits/model.onnx").graph
    places = {node.name: ("cpu",) for node in graph.nodes}
    places |= dict.fromkeys(("first", "second"), ("cpu", "cpu:u8s8", "cpu:f16"))
    us = {name: (1.0,) * len(kept) for name, kept in places.items()}
    return FormatsPart(graph, FormatCosts(places, us, ()), known=())


def test_plans_of_lock_files_are_points(part: FormatsPart) -> None:
    sizes = [range(len(parameter)) for parameter in part.parameters]
    points = list(product(*sizes))
    assert len(points) == 9
    for point in points:
        named = {**dict.fromkeys(("first", "second", "stem"), "cpu"), **part.decode(point)}
        assert part.placed(part.default, named) == point
    assert part.placed((1, 2), {"first": "cpu"}) == (0, 2)


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"first": "cpu:int4"}, "first: cpu:int4; the space holds cpu, cpu:u8s8, cpu:f16"),
        ({"stem": "cpu:u8s8"}, "stem: cpu:u8s8; the space holds cpu alone"),
    ],
)
def test_places_that_the_space_lacks_are_refused(
    part: FormatsPart, units: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        part.placed(part.default, units)


def test_offers_come_first_and_what_the_space_lacks_stays_float() -> None:
    graph = load_model(ROOT / "examples/digits/model.onnx").graph
    places = {node.name: ("cpu",) for node in graph.nodes}
    places |= dict.fromkeys(("first", "second"), ("cpu", "cpu:u8", "cpu:f16"))
    us = {name: tuple(9.0 - at for at, _ in enumerate(kept)) for name, kept in places.items()}
    offers = [{"first": "cpu:u8"}, {"second": "cpu:f16", "stem": "cpu:u8"}, {}]
    part = FormatsPart(graph, FormatCosts(places, us, ()), offers=offers)
    first, second, *others = part.guesses()
    assert part.decode(first) == {"first": "cpu:u8"}
    assert part.decode(second) == {"second": "cpu:f16"}
    assert others
    assert part.default not in part.guesses()
