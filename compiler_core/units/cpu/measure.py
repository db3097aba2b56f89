"""Times operators, and whole models, on this machine through onnxruntime.

What is measured here is measured by the clock: it is not deterministic, and every result says how
far the repeats were apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.clock.one import Timing, measure
from compiler_core.errors import InputError
from compiler_core.graph.extract import Extractor
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.targets.target import CpuRow
from compiler_core.units.cpu.cost_table import operator_signature
from compiler_core.units.cpu.measure_integers import profile_integers

Arrays = dict[str, npt.NDArray[Any]]


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
    """Times every distinct operator of a graph as a model of its own, and every loop on integers.

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
        session = FloatSession(part, threads=threads, portable=False)
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
    more = profile_integers(
        graph, threads=threads, repeats=repeats, budget_s=budget_s, progress=progress
    )
    return (*rows, *more)


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
    session = FloatSession(graph, threads=threads, portable=False)
    return measure(lambda: session.run(arrays), repeats=repeats, budget_s=budget_s)


class CpuMeasuring:
    """See :class:`~compiler_core.units.facets.host.HostMeasuring`."""

    def inputs(self, graph: Graph) -> Arrays:
        return random_inputs(graph)

    def operators(
        self,
        graph: Graph,
        feeds: Mapping[str, npt.NDArray[Any]],
        *,
        threads: int,
        repeats: int,
        budget_s: float,
        progress: Callable[[str], None],
    ) -> tuple[CpuRow, ...]:
        return profile_cpu(
            graph,
            threads=threads,
            repeats=repeats,
            budget_s=budget_s,
            feeds=feeds,
            progress=progress,
        )

    def model(
        self,
        graph: Graph,
        feeds: Mapping[str, npt.NDArray[Any]] | None = None,
        *,
        threads: int = 1,
        repeats: int = 30,
        budget_s: float = 5.0,
    ) -> Timing:
        return measure_model(graph, feeds, threads=threads, repeats=repeats, budget_s=budget_s)


MEASURING = CpuMeasuring()
