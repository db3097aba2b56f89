"""Times small models by the clock, those of one operator together.

Sessions of one thread compute on the thread that calls them. They are compared by its CPU time, so
that other processes have little to say in which is the faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from compiler_core.clock import sessions
from compiler_core.clock.conditions import clock_of
from compiler_core.clock.machine import ClockMachine, this_machine
from compiler_core.clock.pinning import pinned
from compiler_core.clock.remaining import Remaining
from compiler_core.clock.together import measure_together
from compiler_core.configuration.runtime import Runtime
from compiler_core.errors import InputError
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.runtime import RUNTIME_ERRORS, open_session
from compiler_core.precision.parts import PartKey, part_inputs
from compiler_core.precision.verified import PlanTime, plan_times

_TOGETHER = 24
"""Models that are held open at the same time."""
_WHOLE_ROUNDS = 41
_WHOLE_BUDGET_S = 15.0


class ClockTimer:
    """Measures on this machine.

    Args:
        threads: Of onnxruntime.
        repeats: Rounds.
        budget_s: Of one set of models that are timed together.
        progress: Told how many are done.
        values: What tensors of the model hold, by name; others are made up.
    """

    def __init__(
        self,
        threads: int = 1,
        *,
        repeats: int = 15,
        budget_s: float = 2.0,
        progress: Callable[[str], None] = lambda _: None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self._threads, self._repeats, self._budget_s = threads, repeats, budget_s
        self._progress, self._values = progress, values

    @property
    def machine(self) -> ClockMachine:
        """What times belong to."""
        return this_machine(self._threads)

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        """See :class:`~compiler_core.precision.table.PartTimer`."""
        found: dict[PartKey, float] = {}
        remaining, done = Remaining(len(parts), self._progress), 0
        with pinned(self._threads):
            for keys in _sets(parts):
                runs: dict[str, tuple[PartKey, Callable[[], object]]] = {}
                for key in keys:
                    run = self._run_of(parts[key])
                    if run is not None:
                        runs[str(len(runs))] = (key, run)
                if runs:
                    calls = {name: run for name, (_, run) in runs.items()}
                    together = measure_together(
                        calls,
                        repeats=self._repeats,
                        budget_s=self._budget_s,
                        threads=self._threads,
                        clock=clock_of(self._threads),
                    )
                    for name, (key, _) in runs.items():
                        found[key] = together.latency_us(name).value
                done += len(keys)
                remaining(done, "timed")
        return found

    def ratios(
        self, graphs: Mapping[str, Graph], to: str, *, rounds: int = 0
    ) -> Mapping[str, PlanTime]:
        """See :class:`~compiler_core.precision.verified.PlanTimer`.

        Raises:
            InputError: onnxruntime refuses a model.
        """
        with pinned(self._threads):
            runs = {}
            for name, graph in graphs.items():
                run = self._run_of(lambda graph=graph: graph)  # type: ignore[misc]
                if run is None:
                    raise InputError(f"onnxruntime cannot run the plan {name!r}")
                runs[name] = run
            together = measure_together(
                runs,
                repeats=rounds or _WHOLE_ROUNDS,
                budget_s=_WHOLE_BUDGET_S,
                threads=self._threads,
                clock=clock_of(self._threads),
            )
        return plan_times(together, to)

    def runtime_times(
        self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
    ) -> Mapping[str, PlanTime]:
        """See :class:`~compiler_core.precision.runtimes.RuntimeTimer`."""
        threads = max(runtime.threads for _, runtime in candidates.values())
        runs = {}
        with pinned(threads):
            for name, (graph, runtime) in candidates.items():
                run = self._run_of(lambda graph=graph: graph, runtime)  # type: ignore[misc]
                if run is not None:
                    runs[name] = run
            together = measure_together(
                runs, repeats=_WHOLE_ROUNDS, budget_s=_WHOLE_BUDGET_S, threads=threads
            )
        return plan_times(together, to)

    def _run_of(
        self, make: Callable[[], Graph], runtime: Runtime | None = None
    ) -> Callable[[], object] | None:
        """What runs a model once, as usual or with a runtime; ``None`` where onnxruntime refuses
        it."""
        try:
            graph = make()
            session: Any
            if runtime is None:
                session = open_session(export_onnx(graph), threads=self._threads, portable=False)
            else:
                content = export_onnx(graph).SerializeToString()
                options = runtime.session_options()
                session = sessions.open_session(content, options, runtime.provider)
            feeds, outputs = part_inputs(graph, self._values), list(graph.outputs)
        except (InputError, ValueError, *RUNTIME_ERRORS):
            return None
        try:
            session.run(outputs, feeds)
        except (*RUNTIME_ERRORS, RuntimeError):
            return None  # RuntimeError: it cannot hand out what NumPy has no type for (bfloat16)
        return lambda: session.run(outputs, feeds)


def _sets(parts: Mapping[PartKey, object]) -> Iterator[tuple[PartKey, ...]]:
    """Keys of one operator, or of one pair, side by side."""
    ordered = sorted(parts, key=lambda key: key.signature)
    for _, keys in groupby(ordered, key=lambda key: key.signature):
        alike = list(keys)
        for start in range(0, len(alike), _TOGETHER):
            yield tuple(alike[start : start + _TOGETHER])
