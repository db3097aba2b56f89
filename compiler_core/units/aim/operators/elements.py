"""Products of two tensors of a model, element by element.

Both are written to the banks and their product is read back, three blocks for 16 multiplications:
a plan has the choice, and hardly ever takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.schedule.workload import ElementProduct


@dataclass(frozen=True)
class ModelElements:
    """A product of elements of a model.

    Attributes:
        node: Name of the node.
        workload: What is computed.
    """

    node: str
    workload: ElementProduct


def model_elements(graph: Graph, node: Node) -> ModelElements | str:
    """The product of elements that a ``Mul`` is; or why it is none."""
    known = [graph.types.get(name) for name in (*node.inputs, node.output)]
    shapes = [() if own is None else own.shape or () for own in known]
    if any(name in graph.constants for name in node.inputs) or node.clip is not None:
        return f"Mul '{node.name}' is no product of two tensors alone."
    if any(own is None or own.dtype != "float32" for own in known):
        return f"Mul '{node.name}' multiplies other numbers than float32."
    sizes = [size for shape in shapes for size in shape]
    if not sizes or len(set(shapes)) != 1 or any(size is None or size < 1 for size in sizes):
        return f"Mul '{node.name}' is no product of two tensors of one known shape."
    elements = prod(int(size or 1) for size in shapes[0])
    return ModelElements(node.name, ElementProduct(elements, crosses=True))
