"""Times loops on integers on this machine: a table as one lookup per element, what moves as moves
of bytes through onnxruntime, other loops in float, which is what their registers hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.clock.one import measure
from compiler_core.errors import InputError
from compiler_core.graph.extract import extract
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.host_groups import groups_beside
from compiler_core.quantize.ir import HostGroup
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.target import CpuRow
from compiler_core.units.cpu.cost_table import group_signature

_Run = Callable[[], object]


def profile_integers(
    graph: Graph,
    *,
    threads: int = 1,
    repeats: int = 30,
    budget_s: float = 0.3,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[CpuRow]:
    """Times every distinct loop beside a unit of the usual kind.

    Args:
        graph: Simplified.
        threads: Threads of onnxruntime.
        repeats: Executions per loop.
        budget_s: Time per loop; at least five executions are made.
        progress: Told of each loop.
    """
    groups = groups_beside(graph, unit_arithmetics(None)).groups
    by_signature: dict[str, list[HostGroup]] = {}
    for group in groups:
        by_signature.setdefault(group_signature(graph, group), []).append(group)
    for signature, same in by_signature.items():
        progress(f"int8 {same[0].name}")
        run = _loop(graph, same[0], threads)
        if run is None:
            continue
        timing = measure(run, repeats=repeats, budget_s=budget_s)
        kind = "table" if same[0].is_table else "loop"
        yield CpuRow(
            f"int8 {kind}",
            signature,
            len(same),
            timing.median_us,
            timing.low_us,
            timing.high_us,
            timing.repeats,
        )


def _loop(graph: Graph, group: HostGroup, threads: int) -> _Run | None:
    """What runs a group once; ``None`` where nothing here runs it on bytes."""
    generator = np.random.default_rng(0)
    levels = {
        name: generator.integers(-128, 128, _shape(graph, name)).astype(np.int8)
        for name in group.inputs
    }
    if group.is_table:
        table = generator.integers(-128, 128, 256).astype(np.int8)
        codes = levels[group.inputs[0]].view(np.uint8)
        found: npt.NDArray[Any] = np.empty(codes.shape, np.int8)
        return lambda: np.take(table, codes, out=found, mode="clip")
    part = extract(graph, graph.named(group.nodes))
    feeds: dict[str, npt.NDArray[Any]] = dict(levels)
    if group.moves:
        names = {*group.inputs, *group.outputs}
        bytes_ = {name: TensorType("int8", part.types[name].shape) for name in names}
        part = replace(part, types={**part.types, **bytes_})
    else:
        feeds = {name: value.astype(np.float32) for name, value in levels.items()}
    try:
        session = FloatSession(part, threads=threads, portable=False)
        session.run(feeds)
    except InputError:  # a kernel that this runtime has for float alone
        return None
    return lambda: session.run(feeds)


def _shape(graph: Graph, tensor: str) -> tuple[int, ...]:
    return tuple(size or 1 for size in graph.types[tensor].shape or ())
