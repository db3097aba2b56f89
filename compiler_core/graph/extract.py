"""Parts of a graph as graphs: chosen nodes, or what lies between two sets of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from compiler_core.errors import InputError
from compiler_core.graph.attributes import implicit_inputs
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads


def extract(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """The sub-graph of ``nodes`` with their constants.

    Its inputs are the tensors that the nodes read and do not compute, in the order of first use;
    its outputs those that the rest of ``graph``, or its caller, reads, in the order in which they
    are computed.
    """
    chosen = {node.name for node in nodes}
    inside = tuple(node for node in graph.nodes if node.name in chosen)
    computed = [output for node in inside for output in node.outputs if output]
    own = set(computed)
    wanted = own.intersection(graph.outputs)
    for node in graph.nodes:  # of a model of many parts, once for each: no sets are built
        if node.name not in chosen:
            wanted.update(own.intersection(node.inputs))
            if node.opaque:
                wanted |= implicit_inputs(node)
    return _part(graph, inside, outputs=[name for name in computed if name in wanted])


def cut(
    graph: Graph, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Graph:
    """The nodes that compute ``outputs`` from ``inputs`` (by default the graph's own).

    Raises:
        InputError: A tensor is unknown, or ``outputs`` need a graph input that is not among
            ``inputs``.
    """
    fed = set(graph.inputs if inputs is None else inputs)
    results = tuple(graph.outputs if outputs is None else outputs)
    source = {output: node for node in graph.nodes for output in node.outputs if output}
    for name in (*fed, *results):
        if name not in source and name not in graph.inputs and name not in graph.constants:
            raise InputError(f"the graph has no tensor {name!r}")
    needed: set[str] = set()
    pending = [name for name in results if name not in fed]
    while pending:
        name = pending.pop()
        if name in graph.constants:
            continue
        if name not in source:
            raise InputError(
                f"computing {', '.join(results)} needs graph input {name!r}, which is not fed"
            )
        node = source[name]
        if node.name not in needed:
            needed.add(node.name)
            pending += [tensor for tensor in sorted(reads(node)) if tensor not in fed]
    inside = tuple(node for node in graph.nodes if node.name in needed)
    ordered = graph.inputs if inputs is None else tuple(dict.fromkeys(inputs))
    return _part(graph, inside, outputs=results, inputs=ordered)


def _part(
    graph: Graph,
    nodes: tuple[Node, ...],
    *,
    outputs: Sequence[str],
    inputs: Sequence[str] | None = None,
) -> Graph:
    fed = set(inputs or ())
    nodes = tuple(node for node in nodes if not any(output in fed for output in node.outputs))
    computed = {output for node in nodes for output in node.outputs if output}
    used: dict[str, None] = {}
    for node in nodes:
        implicit = sorted(reads(node) - set(node.inputs))
        used.update(dict.fromkeys(name for name in (*node.inputs, *implicit) if name))
    used.update(dict.fromkeys(outputs))
    if inputs is None:
        inputs = [name for name in used if name not in computed and name not in graph.constants]
        fed = set(inputs)
    names = set(used) | computed | fed
    return replace(
        graph,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=nodes,
        constants={
            name: array
            for name, array in graph.constants.items()
            if name in used and name not in fed
        },
        types={name: known for name, known in graph.types.items() if name in names},
        dynamic_batch=graph.dynamic_batch & names,
        batch_dependent=graph.batch_dependent & names,
    )
