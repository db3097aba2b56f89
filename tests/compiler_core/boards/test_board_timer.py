"""Number formats timed over ssh on loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from compiler_core.clock.machine import this_machine
from compiler_core.clock.together import Together
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.board_timer import BoardTimer
from compiler_core.precision.parts import PartKey, parts_of
from compiler_core.quantize.profile import profile_model
from tests.compiler_core.boards.conftest import Server

Parts = Mapping[PartKey, Callable[[], Graph]]


@pytest.fixture
def parts(synthetic: ModuleType, tmp_path: Path) -> tuple[Graph, Parts]:
    """Every operator of a model in float, products in two formats of 8 bits, too."""
    graph = load_model(synthetic.write("residual", tmp_path)).graph
    ranges = profile_model(graph, synthetic.samples("residual", 4)).ranges()
    found = {}
    for name, part in parts_of(graph)[0].items():
        own = {node.name: node for node in graph.nodes}[name]
        places = ("cpu", "cpu:u8s8c", "cpu:s8s8c") if own.op in ("Conv", "Gemm") else ("cpu",)
        for place in places:
            found[part.key([place])] = lambda part=part, place=place: part.lowered([place], ranges)
    return graph, found


def test_operators_and_plans_are_timed_on_a_board(
    board: Server, parts: tuple[Graph, Parts]
) -> None:
    graph, asked = parts
    told: list[str] = []
    timer = BoardTimer(board.address(), progress=told.append)
    assert timer.machine == this_machine(1)  # loopback
    found = timer.times_us(asked)
    assert found.keys() == asked.keys()
    assert min(found.values()) > 0
    times = timer.ratios({"one": graph, "other": graph}, "one")
    assert times["one"].ratio.value == 1.0
    assert times["other"].latency_us.low <= times["other"].latency_us.value


def test_what_a_board_refuses_is_left_out(
    parts: tuple[Graph, Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = parts
    refused = [key for key in asked if key.places == ("cpu:s8s8c",)]
    sizes = []

    def answered(_: Any, shipped: Mapping[str, Any], feeds: Any, *__: Any) -> Together:
        del feeds
        sizes.append(len(shipped))
        if any(b"s8s8c" in part.model for part in shipped.values()):
            raise InputError("cannot run the model")
        samples = {name: (float(len(part.model)),) * 9 for name, part in shipped.items()}
        return Together(samples, None)  # type: ignore[arg-type]

    def marked(key: PartKey) -> Callable[[], Graph]:
        def make() -> Graph:
            graph = asked[key]()
            names = {node.name: f"{node.name} {key.places[0]}" for node in graph.nodes}
            nodes = tuple(replace(node, name=names[node.name]) for node in graph.nodes)
            return replace(graph, nodes=nodes)

        return make

    monkeypatch.setattr(BoardTimer, "_together", answered)
    found = BoardTimer("ssh://board").times_us({key: marked(key) for key in asked})
    assert found.keys() == asked.keys() - {*refused}
    assert max(sizes) > 1
