"""Parts of a graph as graphs: chosen nodes, or what lies between two sets of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads


class Extractor:
    """Cuts parts out of a graph, each in time of its own size.

    Args:
        graph: To cut from.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._places = {node.name: place for place, node in enumerate(graph.nodes)}
        self._outputs = frozenset(graph.outputs)
        self._readers: dict[str, set[str]] = {}
        for node in graph.nodes:
            for tensor in reads(node):
                self._readers.setdefault(tensor, set()).add(node.name)
        self._constants = {name: place for place, name in enumerate(graph.constants)}
        self._types = {name: place for place, name in enumerate(graph.types)}

    def part(self, nodes: Iterable[Node]) -> Graph:
        """The sub-graph of ``nodes`` with their constants.

        Its inputs are the tensors that the nodes read and do not compute, in the order of first
        use; its outputs those that the rest of the graph, or its caller, reads, in the order in
        which they are computed.
        """
        chosen = {node.name for node in nodes} & self._places.keys()
        inside = [
            self._graph.nodes[place] for place in sorted(map(self._places.__getitem__, chosen))
        ]
        computed = dict.fromkeys(output for node in inside for output in node.outputs if output)
        wanted = tuple(
            name
            for name in computed
            if name in self._outputs or not chosen.issuperset(self._readers.get(name, ()))
        )
        used = _used(inside)
        used.update(dict.fromkeys(wanted))
        constants = self._graph.constants
        inputs = tuple(name for name in used if name not in computed and name not in constants)
        names = {*used, *computed}
        known = sorted(names & self._types.keys(), key=self._types.__getitem__)
        held = sorted(names & self._constants.keys(), key=self._constants.__getitem__)
        return replace(
            self._graph,
            inputs=inputs,
            outputs=wanted,
            nodes=tuple(inside),
            constants={name: constants[name] for name in held},
            types={name: self._graph.types[name] for name in known},
            dynamic_batch=self._graph.dynamic_batch & names,
            batch_dependent=self._graph.batch_dependent & names,
        )


def extract(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """One part, as :meth:`Extractor.part` cuts it."""
    return Extractor(graph).part(nodes)


def _used(nodes: Iterable[Node]) -> dict[str, None]:
    """What the nodes read, in the order of first use."""
    used: dict[str, None] = {}
    for node in nodes:
        implicit = sorted(reads(node) - set(node.inputs))
        used.update(dict.fromkeys(name for name in (*node.inputs, *implicit) if name))
    return used


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
    graph: Graph, nodes: tuple[Node, ...], *, outputs: Sequence[str], inputs: Sequence[str]
) -> Graph:
    fed = set(inputs)
    nodes = tuple(node for node in nodes if not any(output in fed for output in node.outputs))
    used = {*_used(nodes), *outputs}
    names = {*used, *fed, *(output for node in nodes for output in node.outputs if output)}
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
