"""The borders of a skeleton: views that the CPU needs, names that float code knows, segments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.ir import NumberUnit, TensorView
from compiler_core.quantize.layout import ChannelAxis, channels_of, view_of
from compiler_core.quantize.layouts import Layouts
from compiler_core.quantize.segments import segment
from compiler_core.quantize.skeleton import (
    ConcatStep,
    PoolStep,
    ProductStep,
    Skeleton,
    Step,
    TransposeStep,
)


def with_borders(
    graph: Graph,
    layouts: Layouts,
    steps: Sequence[Step],
    cpu: Sequence[Node],
    reasons: Mapping[str, str],
    kinds: Mapping[str, str],
    elsewhere: Mapping[str, str],
    others: Sequence[NumberUnit],
    together: Sequence[Sequence[str]],
) -> Skeleton:
    """Decide which views run on the CPU, name the tensors at the borders, cut into segments.

    Args:
        graph: The float graph.
        layouts: Where its tensors lie.
        steps: What the NPUs do, in topological order.
        cpu: Nodes of the CPU; views may join them.
        reasons: Why nodes that were assigned to an NPU are among them, by node.
        kinds: Of the NPUs, by name.
        elsewhere: Units with numbers of their own, by name of the node, among those of ``cpu``.
        others: These units.
        together: Names of nodes of the CPU that run as one loop.
    """
    on_cpu = list(cpu)
    there = {node.name for node in cpu}
    produced = {step.output for step in steps}
    needed = {name for node in on_cpu for name in reads(node)}
    read = {name for step in steps for name in step.inputs}
    needed |= set(graph.outputs) | (layouts.entered & read)
    renamed = _names_at_borders(layouts, produced, needed)
    given = set(renamed.values())
    wanted = list(needed - given)
    while wanted:
        view = layouts.views.get(wanted.pop())
        if view is not None and view.name not in there:
            on_cpu.append(view)
            there.add(view.name)
            needed.add(view.inputs[0])
            if view.inputs[0] not in given:
                wanted.append(view.inputs[0])
    named = [_renamed(step, renamed) for step in steps]
    position = {node.name: number for number, node in enumerate(graph.nodes)}
    nodes = sorted(on_cpu, key=lambda node: position[node.name])
    lanes = _with_views(nodes, elsewhere, graph.outputs, {node.name for node in cpu})
    touched = dict.fromkeys(n for step in named for n in (*step.inputs, step.output))
    views: dict[str, TensorView] = {}
    shapes = {}
    channels: dict[str, ChannelAxis] = {}
    origin = {new: old for old, new in renamed.items()}
    for name in touched:
        placement = layouts.placements[origin.get(name, name)]
        graph_name = name if name in graph.types else node_tensor(name)
        batch = layouts.batch(graph_name)
        shapes[name] = (batch, *placement.chw)
        if name in graph.types:
            place = layouts.placements[name]
            found_axis = channels_of(place.positions(layouts.shape(name)), place.chw)
            if found_axis is not None:
                channels[name] = found_axis
        if name in layouts.entered or (name in needed and name in graph.types):
            found = view_of(
                batch,
                layouts.shape(name),
                layouts.placements[name].index,
                placement.chw,
            )
            if found is None:
                raise AssertionError(f"'{name}' has no view")  # every layout made here has one
            views[name] = found
    parts, run_by = segment(graph, nodes, named, graph.outputs, tuple(kinds), lanes, together)
    by_name = {other.name: other for other in others}
    return Skeleton(
        source=graph,
        segments=parts,
        shapes=shapes,
        views=views,
        cpu_reasons=reasons,
        channels=channels,
        kinds=kinds,
        elsewhere={position: by_name[unit] for position, unit in run_by.items()},
    )


def _with_views(
    nodes: Sequence[Node],
    elsewhere: Mapping[str, str],
    outputs: Sequence[str],
    planned: Collection[str],
) -> dict[str, str]:
    """Units by node, with the views that nodes of one unit alone read; those that are ``planned``
    on the CPU stay there."""
    found = dict(elsewhere)
    if not found:
        return found
    readers: dict[str, set[str]] = {name: {""} for name in outputs}
    for node in reversed(nodes):
        own = set().union(*(readers.get(name, set()) for name in node.outputs))
        looks = node.name not in planned and node.op in VIEW_OPERATORS
        looks = looks and node.op != "Transpose" and node.clip is None
        if looks and len(own) == 1 and "" not in own:
            found[node.name] = next(iter(own))
        for name in reads(node):
            readers.setdefault(name, set()).add(found.get(node.name, ""))
    return found


def _names_at_borders(layouts: Layouts, produced: set[str], needed: set[str]) -> dict[str, str]:
    """Roots that float code reads only through one view carry the name of that view."""
    readers: dict[str, set[str]] = {}
    for tensor in needed:
        placement = layouts.placed(tensor)
        if placement is not None and placement.root in produced:
            readers.setdefault(placement.root, set()).add(tensor)
    renamed = {}
    for root, tensors in sorted(readers.items()):
        tensor = next(iter(tensors))
        if len(tensors) > 1 or tensor == root:
            continue
        found = layouts.placements[tensor]
        if view_of(1, layouts.shape(tensor), found.index, found.chw) is not None:
            renamed[root] = tensor
    return renamed


def node_tensor(name: str) -> str:
    """The graph tensor beside which a tensor of ours (``.../copy0``, ``.../concat``) was made."""
    return name.rsplit("/", 1)[0]


def _renamed(step: Step, names: Mapping[str, str]) -> Step:
    output = names.get(step.output, step.output)
    if isinstance(step, ConcatStep):
        return replace(step, output=output, inputs=tuple(names.get(n, n) for n in step.inputs))
    source = names.get(step.input, step.input)
    if isinstance(step, PoolStep | TransposeStep):
        return replace(step, input=source, output=output)
    if isinstance(step, ProductStep):
        operand = names.get(step.operand, step.operand)
        return replace(step, input=source, operand=operand, output=output)
    residual = None if step.residual is None else names.get(step.residual, step.residual)
    return replace(step, input=source, output=output, residual=residual)
