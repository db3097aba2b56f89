"""Handler of ensembles of decision trees: their nodes in the order in which they are walked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler_core.graph.ir import Graph, Node, as_text
from compiler_core.graph.spelled.trees import SUMS
from compiler_core.units.cpu.c.convert.builder import Refusal, finite
from compiler_core.units.cpu.c.convert.sources import WEIGHTED_OPS, TensorReader
from compiler_core.units.cpu.c.network import FLOAT
from compiler_core.units.cpu.c.operators.trees import TESTS, Trees

_MOST = (1 << 15) - 1
"""Nodes that a jump goes over."""
_MOST_COLUMNS = 1 << 14


def around_trees(graph: Graph) -> tuple[frozenset[str], frozenset[str]]:
    """Nodes that stay in float32, and inputs: those that only trees read, and what is made of their
    sums, from and up to layers with weights. A tree compares with numbers that 8 bits do not tell
    apart, and its sums have no statistics that are worth a scale."""
    nodes: set[str] = set()

    def is_read(tensor: str) -> bool:
        readers = graph.consumers(tensor)
        return (
            bool(readers)
            and tensor not in graph.outputs
            and all(reader.name in nodes or reader.op == SUMS for reader in readers)
        )

    for node in reversed(graph.nodes):
        if node.op not in WEIGHTED_OPS and all(is_read(name) for name in node.outputs if name):
            nodes.add(node.name)
    found = {name for node in graph.nodes if node.op == SUMS for name in node.outputs}
    for node in graph.nodes:
        computed = [name for name in node.inputs if name and name not in graph.constants]
        if node.op not in WEIGHTED_OPS and computed and found.issuperset(computed):
            nodes.add(node.name)
            found.update(node.outputs)
    return frozenset(nodes), frozenset(name for name in graph.inputs if is_read(name))


def trees(sources: TensorReader, node: Node) -> None:
    """TreeEnsembleRegressor that adds; other ensembles are spelled out as such."""
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    if len(shape) != 2:
        raise Refusal(f"its input has {len(shape)} axes; 2 are supported")
    found = _Ensemble.read(node, shape[1])
    source = sources.real(node.inputs[0], (0, 1))
    place = builder.place(node.output, (0, 1), FLOAT)
    builder.add(found.operator(node.name, source.value.name, place.value.name))


@dataclass(frozen=True)
class _Ensemble:
    """Trees as lists.

    Attributes:
        test: Name of the test of all inner nodes.
        nodes: Per tree and number of a node: column, value, children, whether NaN is true.
        votes: Per tree and number of a leaf: targets and what is added to them.
        base: Per target.
    """

    test: str
    nodes: dict[tuple[int, int], tuple[int, float, int, int, bool] | None]
    votes: dict[tuple[int, int], list[tuple[int, float]]]
    base: Any

    @classmethod
    def read(cls, node: Node, width: int) -> _Ensemble:
        """From the attributes of a node."""
        known = node.attributes
        if as_text(known.get("post_transform", "NONE")) != "NONE":
            raise Refusal("it transforms its sums")
        if as_text(known.get("aggregate_function", "SUM")) != "SUM":
            raise Refusal("its trees are not added up")
        targets = int(known.get("n_targets", 1))
        if any(name in known for name in ("nodes_values_as_tensor", "base_values_as_tensor")):
            raise Refusal("its numbers are float64")
        modes = [as_text(mode) for mode in known["nodes_modes"]]
        tests = {mode for mode in modes if mode != "LEAF"}
        if len(tests) > 1 or not tests <= TESTS.keys():
            raise Refusal(f"its nodes test by {', '.join(sorted(tests))}; one of a kind is written")
        tracked = known.get("nodes_missing_value_tracks_true") or (0,) * len(modes)
        rows = zip(*(known[f"nodes_{name}"] for name in _COLUMNS), modes, tracked, strict=True)
        nodes: dict[tuple[int, int], tuple[int, float, int, int, bool] | None] = {}
        for tree, number, column, value, true, false, mode, tracks in rows:
            if not 0 <= column < min(width, _MOST_COLUMNS) and mode != "LEAF":
                raise Refusal(f"a node tests column {column} of {width}")
            inner = (int(column), float(value), int(true), int(false), bool(tracks))
            nodes[int(tree), int(number)] = None if mode == "LEAF" else inner
        votes: dict[tuple[int, int], list[tuple[int, float]]] = {}
        names = ("treeids", "nodeids", "ids", "weights")
        for tree, number, target, weight in zip(
            *(known[f"target_{name}"] for name in names), strict=True
        ):
            if not 0 <= target < targets:
                raise Refusal(f"a leaf adds to target {target} of {targets}")
            votes.setdefault((int(tree), int(number)), []).append((int(target), float(weight)))
        base = np.asarray(known.get("base_values") or (0.0,) * targets, np.float32)
        if base.size != targets:
            raise Refusal(f"it has {base.size} base values for {targets} targets")
        return cls(tests.pop() if tests else "BRANCH_LEQ", nodes, votes, base)

    def operator(self, name: str, source: str, result: str) -> Trees:
        """With nodes in order."""
        numbers: dict[int, set[int]] = {}
        for tree, number in self.nodes:
            numbers.setdefault(tree, set()).add(number)
        rows: list[list[Any]] = []
        roots = []
        for tree, known in numbers.items():
            children = {c for n in known for c in (self.nodes[tree, n] or (0, 0))[2:4]}
            first = known - {int(child) for child in children}
            if len(first) != 1:
                raise Refusal(f"tree {tree} has {len(first)} roots")
            roots.append(len(rows))
            if self._walk(tree, first.pop(), rows) != known:
                raise Refusal(f"tree {tree} has nodes that its root does not lead to")
        columns, values, jumps = zip(*rows, strict=True)
        return Trees(
            name,
            (source,),
            result,
            self.test,
            np.array(roots, np.int32),
            np.array(columns, np.int16),
            finite(np.array(values, np.float32), "a node's value"),
            np.array(jumps, np.int16),
            self.base,
        )

    def _walk(self, tree: int, root: int, rows: list[list[Any]]) -> set[int]:
        """Appends a tree: a node, what is behind its true test, what is behind the false one; the
        nodes that it has."""
        waiting: list[tuple[int, int]] = [(root, -1)]  # a node, and whose jump leads to it
        seen: set[int] = set()
        while waiting:
            number, parent = waiting.pop()
            if number in seen or (tree, number) not in self.nodes:
                raise Refusal(f"tree {tree} is none at node {number}")
            seen.add(number)
            if parent >= 0:
                if len(rows) - parent > _MOST:
                    raise Refusal(f"tree {tree} has a branch of more than {_MOST} nodes")
                rows[parent][2] = len(rows) - parent
            inner = self.nodes[tree, number]
            if inner is None:
                votes = self.votes.get((tree, number)) or [(0, 0.0)]
                rows += [[-1 - target, weight, 1] for target, weight in votes]
                rows[-1][2] = 0
                continue
            column, value, true, false, tracks = inner
            waiting += [(false, len(rows)), (true, -1)]
            rows.append([2 * column + tracks, value, 0])
        return seen


_COLUMNS = ("treeids", "nodeids", "featureids", "values", "truenodeids", "falsenodeids")
