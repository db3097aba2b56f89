"""ArrayFeatureExtractor of classical learners, which takes labels and columns, becomes Gather."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.learner_types import DOMAIN
from compiler_core.graph.passes.rewriter import Rewriter


@dataclass(frozen=True)
class ArrayFeatures:
    """Indices of any shape along the last axis are a row of indices for Gather.

    Its result has their number as its last axis, and a leading axis of one where the data are a
    list. No shape inference knows it, and nothing but onnxruntime runs it.
    """

    name: ClassVar[str] = "array-features"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        if not graph.opsets.get("") or not any(node.domain == DOMAIN for node in graph.nodes):
            return graph
        work = Rewriter(graph)
        for node in work.nodes():
            if node.domain == DOMAIN and node.op == "ArrayFeatureExtractor":
                _write(work, node)
        return work.finish()


def _write(work: Rewriter, node: Node) -> None:
    data, indices = node.inputs
    shape, places = work.shape(data), work.shape(indices)
    if not shape or places is None or not work.batch_free(indices):
        return
    if len(shape) == 1 and not all(map(work.batch_free, (data, node.output))):
        return
    count = prod(places)
    row = work.add_tensor(f"{node.name}/row", (count,), indices)
    sizes = work.add_constant(f"{node.name}/count", np.array([count], np.int64))
    nodes = [Node(work.fresh_node(f"{node.name}/flat"), "Reshape", (indices, sizes), (row,))]
    own, axis = (data, row), {"axis": len(shape) - 1}
    if len(shape) > 1:
        nodes.append(Node(node.name, "Gather", own, node.outputs, axis))
    else:
        found = work.add_tensor(f"{node.name}/found", (count,), data)
        nodes.append(Node(node.name, "Gather", own, (found,), axis))
        whole = work.add_constant(f"{node.name}/shape", np.array([1, count], np.int64))
        last = work.fresh_node(f"{node.name}/whole")
        nodes.append(Node(last, "Reshape", (found, whole), node.outputs))
    work.replace(node, *nodes)
