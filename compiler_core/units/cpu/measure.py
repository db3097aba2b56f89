"""Times operators, and whole models, on this machine through onnxruntime.

What is measured here is measured by the clock: it is not deterministic, and every result says how
far the repeats were apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.extract import Extractor
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.targets.target import CpuRow
from compiler_core.units.cpu.cost_table import operator_signature

Arrays = dict[str, npt.NDArray[Any]]

MIN_REPEATS = 5
_WARM_UPS = 2


@dataclass(frozen=True)
class Timing:
    """Repeats of one measurement, in microseconds.

    Attributes:
        median_us: Their median.
        low_us, high_us: Their quartiles.
        repeats: How many.
    """

    median_us: float
    low_us: float
    high_us: float
    repeats: int

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return (self.high_us - self.low_us) / self.median_us if self.median_us else 0.0


def measure(run: Callable[[], object], *, repeats: int, budget_s: float) -> Timing:
    """Times a call: two warm-ups, then repeats until there are enough or the budget is spent.

    At least :data:`MIN_REPEATS` are made, whatever the budget.
    """
    for _ in range(_WARM_UPS):
        run()
    times: list[int] = []
    deadline = perf_counter_ns() + round(budget_s * 1e9)
    while len(times) < repeats and (len(times) < MIN_REPEATS or perf_counter_ns() < deadline):
        start = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - start)
    low, median, high = (float(value) / 1e3 for value in np.percentile(times, (25, 50, 75)))
    return Timing(median, low, high, len(times))


def random_inputs(graph: Graph, seed: int = 0) -> Arrays:
    """Seeded random arrays for the inputs of a graph.

    Raises:
        InputError: The type or shape of an input is not known.
    """
    generator = np.random.default_rng(seed)
    return {name: _random(name, graph.types.get(name), generator) for name in graph.inputs}


def _random(
    name: str, known: TensorType | None, generator: np.random.Generator
) -> npt.NDArray[Any]:
    if known is None or known.shape is None or known.dtype == "string":
        raise InputError(f"tensor {name!r} has no known shape or type to make random values of")
    shape = tuple(size or 1 for size in known.shape)
    dtype = np.dtype(known.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def profile_cpu(
    graph: Graph,
    *,
    threads: int = 1,
    repeats: int = 30,
    budget_s: float = 0.3,
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[CpuRow, ...]:
    """Times every distinct operator of a graph as a model of its own.

    Args:
        graph: Simplified.
        threads: Threads of onnxruntime.
        repeats: Executions per operator.
        budget_s: Time per operator; at least five executions are made.
        feeds: Values for the model's inputs. Where given, every operator is fed what it really
            reads; otherwise seeded random values.
        progress: Told of each operator.

    Raises:
        InputError: onnxruntime cannot run an operator, or its inputs are not known.
    """
    known = dict(feeds or {})
    if feeds is not None:
        known |= _intermediates(graph, feeds)
    counts: dict[str, int] = {}
    for node in graph.nodes:
        signature = operator_signature(graph, node)
        counts[signature] = counts.get(signature, 0) + 1
    rows = []
    extractor = Extractor(graph)
    for node, signature in _distinct(graph):
        progress(f"{node.op} {node.name}")
        part = extractor.part([node])
        arrays = random_inputs(part) if feeds is None else {n: known[n] for n in part.inputs}
        session = FloatSession(part, threads=threads)
        timing = measure(lambda s=session, a=arrays: s.run(a), repeats=repeats, budget_s=budget_s)  # type: ignore[misc]
        rows.append(
            CpuRow(
                node.op,
                signature,
                counts[signature],
                timing.median_us,
                timing.low_us,
                timing.high_us,
                timing.repeats,
            )
        )
    return tuple(rows)


def _distinct(graph: Graph) -> Iterator[tuple[Node, str]]:
    seen: set[str] = set()
    for node in graph.nodes:
        signature = operator_signature(graph, node)
        if signature not in seen:
            seen.add(signature)
            yield node, signature


def _intermediates(graph: Graph, feeds: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    wanted = [name for node in graph.nodes for name in node.outputs if name]
    return FloatSession(graph, wanted, optimize=False).run(feeds)


def measure_model(
    graph: Graph,
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    threads: int = 1,
    repeats: int = 30,
    budget_s: float = 5.0,
) -> Timing:
    """Latency of one run of a model on this machine: what the target ``host`` means.

    Raises:
        InputError: onnxruntime cannot run the model, or its inputs are not known.
    """
    arrays = dict(random_inputs(graph) if feeds is None else feeds)
    session = FloatSession(graph, threads=threads)
    return measure(lambda: session.run(arrays), repeats=repeats, budget_s=budget_s)
