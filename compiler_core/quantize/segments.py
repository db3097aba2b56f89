"""Execution order of CPU nodes and integer steps: few, large segments that alternate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from compiler_core.graph.extract import extract
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.quantize.skeleton import Step, StepSegment

Item = Node | Step


def segment(
    graph: Graph, nodes: Sequence[Node], steps: Sequence[Step], outputs: Collection[str]
) -> tuple[Graph | StepSegment, ...]:
    """Split into alternating runs, each as long as dependences allow.

    Taking everything that is ready on one unit before changing to the other gives the fewest
    changes for a given first unit; both first units are tried.

    Args:
        graph: The source of ``nodes``.
        nodes: CPU nodes, topologically sorted.
        steps: Integer steps, topologically sorted.
        outputs: Tensors that the caller of the whole model reads.
    """
    runs = min(_runs(nodes, steps, first) for first in (False, True))
    parts: list[Graph | StepSegment] = []
    items: list[list[Item]] = [[_item(key, nodes, steps) for key in run] for run in runs[1]]
    readers: dict[str, set[int]] = {}
    for position, run in enumerate(items):
        for name in {name for item in run for name in _reads(item)}:
            readers.setdefault(name, set()).add(position)
    for position, run in enumerate(items):
        inside = {name for item in run for name in _writes(item)}
        elsewhere = {name for name in inside if readers.get(name, set()) - {position}}
        if isinstance(run[0], Node):
            part = extract(graph, [item for item in run if isinstance(item, Node)])
            # Steps read other tensors than the nodes they replace: through views, for one.
            computed = (name for node in part.nodes for name in node.outputs if name)
            read_later = elsewhere | set(outputs)
            parts.append(replace(part, outputs=tuple(n for n in computed if n in read_later)))
            continue
        chosen = tuple(item for item in run if not isinstance(item, Node))
        read = dict.fromkeys(name for step in chosen for name in step.inputs)
        wanted = elsewhere | set(outputs)
        parts.append(
            StepSegment(
                chosen,
                tuple(name for name in read if name not in inside),
                tuple(step.output for step in chosen if step.output in wanted),
            )
        )
    return tuple(parts)


def _item(key: tuple[bool, int], nodes: Sequence[Node], steps: Sequence[Step]) -> Item:
    return steps[key[1]] if key[0] else nodes[key[1]]


def _reads(item: Item) -> frozenset[str]:
    return reads(item) if isinstance(item, Node) else frozenset(item.inputs)


def _writes(item: Item) -> tuple[str, ...]:
    return tuple(filter(None, item.outputs)) if isinstance(item, Node) else (item.output,)


def _runs(
    nodes: Sequence[Node], steps: Sequence[Step], start_with_steps: bool
) -> tuple[int, list[list[tuple[bool, int]]]]:
    """Runs of ``(is a step, position)``, preceded by their number."""
    waiting: dict[bool, list[tuple[int, Item]]] = {
        False: list(enumerate(nodes)),
        True: list(enumerate(steps)),
    }
    source: Mapping[str, bool] = {
        name: True for items in waiting.values() for _, item in items for name in _writes(item)
    }
    # Only what the items themselves compute is waited for.
    needed = {
        turn: [[name for name in _reads(item) if name in source] for _, item in items]
        for turn, items in waiting.items()
    }
    done: set[str] = set()
    runs: list[list[tuple[bool, int]]] = []
    turn = start_with_steps
    while waiting[False] or waiting[True]:
        run: list[tuple[bool, int]] = []
        left: list[tuple[int, Item]] = []
        for position, item in waiting[turn]:
            if done.issuperset(needed[turn][position]):
                run.append((turn, position))
                done.update(_writes(item))
            else:
                left.append((position, item))
        waiting[turn] = left
        if run:
            runs.append(run)
        turn = not turn
    return len(runs), runs
