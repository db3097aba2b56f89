"""Execution order of CPU nodes and integer steps: few, large segments, each of one unit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from compiler_core.errors import InternalError
from compiler_core.graph.extract import Extractor
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.quantize.skeleton import Step, StepSegment

Item = Node | Step


def segment(
    graph: Graph,
    nodes: Sequence[Node],
    steps: Sequence[Step],
    outputs: Collection[str],
    units: Sequence[str],
    numbers: Mapping[str, str],
    together: Sequence[Sequence[str]] = (),
) -> tuple[tuple[Graph | StepSegment, ...], dict[int, str]]:
    """Split into runs of one unit each, as long as dependences allow.

    Taking everything that is ready on one unit before changing to another gives the fewest changes
    between two for a given first one; units take turns, and each is tried as the first.

    Args:
        graph: The source of ``nodes``.
        nodes: CPU nodes, topologically sorted.
        steps: Integer steps, topologically sorted.
        outputs: Tensors that the caller of the whole model reads.
        units: Names of the units of the steps.
        numbers: Units with numbers of their own, by name of the node.
        together: Names of nodes of the CPU that have to be in one part; only the last one's
            results are read by others.

    Returns:
        The parts, and by position the unit of those of nodes that the CPU does not run.
    """
    names = ("", *units, *sorted({*numbers.values()}))
    lanes = {name: number for number, name in enumerate(names)}
    lane_of = [lanes[numbers.get(node.name, "")] for node in nodes]
    loops = _loops(nodes, together)
    runs = min(_runs(nodes, steps, lanes, lane_of, first, loops) for first in range(len(lanes)))
    parts: list[Graph | StepSegment] = []
    items: list[list[Item]] = [
        [
            item
            for lane, at in run
            for item in (
                (steps[at],)
                if 0 < lane <= len(units)
                else tuple(nodes[own] for own in loops.get(at, (at,)))
            )
        ]
        for run in runs[1]
    ]
    run_by = {
        position: names[run[0][0]] for position, run in enumerate(runs[1]) if run[0][0] > len(units)
    }
    readers: dict[str, set[int]] = {}
    for position, run in enumerate(items):
        for name in {name for item in run for name in _reads(item)}:
            readers.setdefault(name, set()).add(position)
    extractor, returned = Extractor(graph), frozenset(outputs)
    for position, run in enumerate(items):
        inside = {name for item in run for name in _writes(item)}
        elsewhere = {name for name in inside if readers.get(name, set()) - {position}}
        if isinstance(run[0], Node):
            part = extractor.part([item for item in run if isinstance(item, Node)])
            # Steps read other tensors than the nodes they replace: through views, for one.
            computed = (name for node in part.nodes for name in node.outputs if name)
            read_later = elsewhere | returned
            parts.append(replace(part, outputs=tuple(n for n in computed if n in read_later)))
            continue
        chosen = tuple(item for item in run if not isinstance(item, Node))
        read = dict.fromkeys(name for step in chosen for name in step.inputs)
        wanted = elsewhere | returned
        parts.append(
            StepSegment(
                chosen,
                tuple(name for name in read if name not in inside),
                tuple(step.output for step in chosen if step.output in wanted),
            )
        )
    return tuple(parts), run_by


def _reads(item: Item) -> frozenset[str]:
    return reads(item) if isinstance(item, Node) else frozenset(item.inputs)


def _writes(item: Item) -> tuple[str, ...]:
    return tuple(filter(None, item.outputs)) if isinstance(item, Node) else (item.output,)


def _loops(nodes: Sequence[Node], together: Sequence[Sequence[str]]) -> dict[int, tuple[int, ...]]:
    """Positions of the nodes of each loop, by that of its last node; loops between whose nodes
    others run, through views, are left open."""
    if not together:
        return {}
    position = {node.name: number for number, node in enumerate(nodes)}
    readers: dict[str, set[str]] = {}
    for node in nodes:
        for name in reads(node):
            readers.setdefault(name, set()).add(node.name)
    found = {}
    for names in together:
        own = sorted(position[name] for name in names if name in position)
        members = frozenset(names)
        inner = (name for at in own[:-1] for name in _writes(nodes[at]))
        if len(own) == len(names) > 1 and all(
            readers.get(name, set()) <= members for name in inner
        ):
            found[own[-1]] = tuple(own)
    return found


def _runs(
    nodes: Sequence[Node],
    steps: Sequence[Step],
    lanes: Mapping[str, int],
    lane_of: Sequence[int],
    first: int,
    loops: Mapping[int, Sequence[int]],
) -> tuple[int, list[list[tuple[int, int]]]]:
    """Runs of ``(lane, position)``, preceded by their number; the CPU has lane 0.

    Args:
        nodes, steps: Topologically sorted.
        lanes: Number of the lane of each unit.
        lane_of: Lane of each node.
        first: Lane of the first run.
        loops: Positions of nodes that run together, by that of the last.
    """
    inside = {position for own in loops.values() for position in own} - loops.keys()
    items: dict[tuple[int, int], tuple[Item, ...]] = {
        **{
            (lane_of[position], position): tuple(
                nodes[own] for own in loops.get(position, (position,))
            )
            for position in range(len(nodes))
            if position not in inside
        },
        **{(lanes[step.unit], position): (step,) for position, step in enumerate(steps)},
    }
    source = {name: key for key, own in items.items() for item in own for name in _writes(item)}
    waiting: dict[tuple[int, int], int] = {}
    followers: dict[tuple[int, int], list[tuple[int, int]]] = {}
    ready: list[list[int]] = [[] for _ in lanes]  # heaps
    for key, own in items.items():
        # Only what the items themselves compute is waited for.
        read = {name for item in own for name in _reads(item)}
        needed = {source[name] for name in read if name in source} - {key}
        waiting[key] = len(needed)
        for before in needed:
            followers.setdefault(before, []).append(key)
        if not needed:
            heappush(ready[key[0]], key[1])
    runs: list[list[tuple[int, int]]] = []
    turn = first
    while any(ready):
        run: list[tuple[int, int]] = []
        while ready[turn]:
            key = turn, heappop(ready[turn])
            run.append(key)
            for follower in followers.get(key, ()):
                waiting[follower] -= 1
                if not waiting[follower]:
                    heappush(ready[follower[0]], follower[1])
        if run:
            runs.append(run)
        turn = (turn + 1) % len(ready)
    if any(waiting.values()):
        raise InternalError("some of the model's operators wait for one another")
    return len(runs), runs
