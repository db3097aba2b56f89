"""Times operators and whole models in number formats on boards, as
:class:`~compiler_core.precision.clock_timer.ClockTimer` does here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from compiler_core.boards.timing import machine_of_boards, time_on_boards
from compiler_core.clock.machine import ClockMachine
from compiler_core.clock.remaining import Remaining
from compiler_core.clock.serving import ShippedPart
from compiler_core.clock.statistics import Interval
from compiler_core.clock.together import Together
from compiler_core.configuration.runtime import Runtime, runtime_table
from compiler_core.errors import InputError
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.precision.parts import PartKey, part_inputs
from compiler_core.precision.verified import PlanTime, plan_times, quotient

_TOGETHER = 32
"""Models of one request: each costs a login."""
_BUDGET_S, _WHOLE_BUDGET_S = 3.0, 15.0
_ROUNDS, _WHOLE_ROUNDS = 15, 41

_Prepared = tuple[PartKey, ShippedPart, Mapping[str, Any]]


class BoardTimer:
    """Measures on boards that are alike, on the first that is free.

    Args:
        boards: Addresses, with commas between.
        threads: Of onnxruntime there.
        progress: Told how many are done.
        values: What tensors of the model hold, by name; others are made up.

    Raises:
        InputError: An address is wrong, or boards are not alike.
        MissingDependencyError: A board cannot be reached, or lacks something.
    """

    def __init__(
        self,
        boards: str,
        threads: int = 1,
        *,
        progress: Callable[[str], None] = lambda _: None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self._boards, self._threads = boards, threads
        self._progress, self._values = progress, values

    @cached_property
    def machine(self) -> ClockMachine:
        """What times belong to."""
        return machine_of_boards(self._boards, self._threads)

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        """See :class:`~compiler_core.precision.table.PartTimer`."""
        found: dict[PartKey, float] = {}
        remaining, done = Remaining(len(parts), self._progress), 0
        for prepared in _requests(self._prepared(parts)):
            found |= self._timed(prepared)
            done += len(prepared)
            remaining(done, "timed")
        return found

    def ratios(
        self, graphs: Mapping[str, Graph], to: str, *, rounds: int = 0
    ) -> Mapping[str, PlanTime]:
        """See :class:`~compiler_core.precision.verified.PlanTimer`.

        Raises:
            InputError: The board refuses a model.
        """
        feeds: dict[str, Any] = {}
        shipped = {}
        for name, graph in graphs.items():
            feeds |= part_inputs(graph, self._values)
            shipped[name] = _shipped(graph)
        together = self._together(shipped, feeds, rounds or _WHOLE_ROUNDS, _WHOLE_BUDGET_S)
        return plan_times(together, to)

    def runtime_times(
        self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
    ) -> Mapping[str, PlanTime]:
        """See :class:`~compiler_core.precision.runtimes.RuntimeTimer`: one request for each, for a
        board opens all models of one with the same threads."""
        found: dict[str, Interval] = {}
        for name in sorted(candidates, key=lambda name: name != to):
            graph, runtime = candidates[name]
            asked: dict[str, Any] = {"threads": runtime.threads, "options": runtime_table(runtime)}
            try:
                timed = time_on_boards(
                    self._boards,
                    {name: [_shipped(graph)]},
                    part_inputs(graph, self._values),
                    profiled=name,
                    repeats=_ROUNDS,
                    budget_s=_BUDGET_S,
                    **asked,
                )
            except InputError:
                if name == to:
                    raise
                continue
            found[name] = timed.timed.together.latency_us(name)
        return {name: PlanTime(own, quotient(own, found[to])) for name, own in found.items()}

    def _prepared(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Iterator[_Prepared]:
        """Models and their inputs, those of one operator side by side."""
        for key in sorted(parts, key=lambda key: key.signature):
            try:
                graph = parts[key]()
                feeds = part_inputs(graph, self._values)
            except InputError:
                continue
            if all(isinstance(value, np.ndarray) for value in feeds.values()):
                yield key, _shipped(graph), feeds

    def _timed(self, prepared: Sequence[_Prepared]) -> dict[PartKey, float]:
        """Times of one request; where the board refuses a model of it, of its halves."""
        feeds: dict[str, Any] = {}
        for _, _, own in prepared:
            feeds |= own
        shipped = {str(number): part for number, (_, part, _) in enumerate(prepared)}
        try:
            together = self._together(shipped, feeds, _ROUNDS, _BUDGET_S)
        except InputError:
            if len(prepared) == 1:
                return {}
            half = len(prepared) // 2
            return self._timed(prepared[:half]) | self._timed(prepared[half:])
        return {
            key: together.latency_us(str(number)).value
            for number, (key, _, _) in enumerate(prepared)
        }

    def _together(
        self, shipped: Mapping[str, ShippedPart], feeds: Mapping[str, Any], rounds: int, s: float
    ) -> Together:
        candidates = {name: [part] for name, part in shipped.items()}
        first = next(iter(shipped))
        asked: dict[str, Any] = {"threads": self._threads, "repeats": rounds, "budget_s": s}
        found = time_on_boards(self._boards, candidates, feeds, profiled=first, **asked)
        return found.timed.together


def _requests(prepared: Iterator[_Prepared]) -> Iterator[Sequence[_Prepared]]:
    """Models that may share a request: inputs of one name are of one type and shape."""
    held: list[_Prepared] = []
    feeds: dict[str, Any] = {}
    for item in prepared:
        if len(held) == _TOGETHER or not _agree(feeds, item[2]):
            yield held
            held, feeds = [], {}
        held.append(item)
        feeds |= item[2]
    if held:
        yield held


def _agree(known: Mapping[str, Any], feeds: Mapping[str, Any]) -> bool:
    return all(
        (known[name].dtype, known[name].shape) == (value.dtype, value.shape)
        for name, value in feeds.items()
        if name in known
    )


def _shipped(graph: Graph) -> ShippedPart:
    model = export_onnx(graph).SerializeToString()
    return ShippedPart("model", graph.inputs, graph.outputs, model)
