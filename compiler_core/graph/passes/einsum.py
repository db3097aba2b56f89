"""Einsum of two operands becomes matrix products.

| indices of | are |
|---|---|
| both operands and the result | shared: a product for each of their values |
| both operands alone | summed |
| one operand and the result | free: rows of the first, columns of the second |

Where nothing is summed, activations are multiplied element by element. With constant weights, what
is shared (experts, heads, bands) becomes a dense layer each. So does a MatMul by a constant stack,
on whichever side it stands (queries that are learned, positions that each head sees its own way).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op

_LEAST_OPSET = 7
"""Mul takes operands of different shapes from then on."""
_MOST_LAYERS = 64
_AXES = "abcdefgh"


@dataclass(frozen=True)
class EinsumProducts:
    """Unify Einsum of two operands, and MatMul by a constant stack of matrices or by a constant
    from the left, with MatMul by a matrix."""

    name: ClassVar[str] = "einsum-products"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        if graph.opsets.get("", _LEAST_OPSET) >= _LEAST_OPSET:
            for node in rewriter.nodes():
                terms = _terms(rewriter, node)
                if terms is not None:
                    _multiply(rewriter, node, *terms)
        return rewriter.finish()


def _terms(rewriter: Rewriter, node: Node) -> tuple[str, str, str] | None:
    """Indices of both operands and of the result, each once in a term."""
    shapes = [rewriter.shape(name) for name in (*node.inputs, node.output)]
    if len(shapes) != 3 or rewriter.dtype(node.output) not in FLOATS:
        return None
    if None in shapes:
        return None
    if is_op(node, "MatMul"):
        return _product_terms(rewriter, node)
    if not is_op(node, "Einsum"):
        return None
    text = node.text("equation", "").replace(" ", "")
    operands, arrow, output = text.partition("->")
    first, comma, second = operands.partition(",")
    terms = first, second, output
    if not arrow or not comma or not all(t.isalpha() and len({*t}) == len(t) for t in terms):
        return None
    left, right, result = (shape or () for shape in shapes)
    lengths = [len(term) for term in terms]
    known = {*zip(first, left, strict=False), *zip(second, right, strict=False)}
    sizes = dict(known)
    if lengths != [len(left), len(right), len(result)] or len(known) > len(sizes):
        return None  # sizes of 1 that are stretched
    alone = {*first} ^ {*second}
    return terms if alone <= {*output} <= {*sizes} else None


def _product_terms(rewriter: Rewriter, node: Node) -> tuple[str, str, str] | None:
    """Indices of a MatMul by constant matrices, one for every value of an axis of the other operand
    or several; without leading axes of one, which the constant loses."""
    shapes = [rewriter.shape(name) or () for name in node.inputs]
    constant = [rewriter.constant(node, place) is not None for place in (0, 1)]
    if sum(constant) != 1 or min(map(len, shapes)) < 2:
        return None
    side = constant.index(True)
    known, other = shapes[side], shapes[1 - side]
    stack = known[:-2]
    while stack[:1] == (1,):
        stack = stack[1:]
    rows = len(other) - 2 - len(stack)
    if len(known) > len(other) or stack != other[rows:-2] or len(other) > len(_AXES):
        return None
    if len(known) == 2 and (side or len(other) == 3):
        return None  # a dense layer, or a convolution
    axes = _AXES[: len(other) - 2]
    first, second = axes + "xy", axes + "yz"
    if side:
        second = second[rows:]
    else:
        first = first[rows:]
    return first, second, axes + "xz"


def _multiply(rewriter: Rewriter, node: Node, first: str, second: str, output: str) -> None:
    left, right = node.inputs
    if left in rewriter.constants:
        first, second, left, right = second, first, right, left
    if left in rewriter.constants:
        return
    work = _Products(rewriter, node, first, second, output, left)
    weight = rewriter.constants.get(right)
    if weight is None:
        if _batch_leads(rewriter, node.output, (left, right), (first, second), output):
            work.by_activations(right)
    elif not _batch_leads(rewriter, node.output, (left,), (first,), output):
        return
    elif prod(work.size(name) for name in work.shared) <= _MOST_LAYERS:
        work.by_constants(weight)


def _batch_leads(
    rewriter: Rewriter, result: str, operands: tuple[str, ...], terms: tuple[str, ...], output: str
) -> bool:
    """Whether the batch is the first index of all, or no index of any."""
    if rewriter.leads_with_batch(result):
        leads = all(rewriter.leads_with_batch(name) for name in operands)
        return leads and all(term[:1] == output[:1] for term in terms)
    return all(rewriter.batch_free(name) for name in (result, *operands))


@dataclass(frozen=True)
class _Products:
    """An Einsum that is being written out.

    Attributes:
        rewriter: Of the graph.
        node: What it is in place of.
        first, second, output: Indices of the operands and the result.
        left: The first operand, which is no constant.
        nodes: Written so far.
    """

    rewriter: Rewriter
    node: Node
    first: str
    second: str
    output: str
    left: str
    nodes: list[Node] = field(default_factory=list)

    @property
    def shared(self) -> str:
        """Indices of both operands and the result."""
        return "".join(i for i in self.output if i in self.first and i in self.second)

    @property
    def summed(self) -> str:
        """Indices of both operands alone."""
        return "".join(i for i in self.first if i in self.second and i not in self.output)

    @property
    def rows(self) -> str:
        """Free indices of the first operand, in the order of the result."""
        return "".join(i for i in self.output if i in self.first and i not in self.second)

    @property
    def columns(self) -> str:
        """Free indices of the second operand, in the order of the result."""
        return "".join(i for i in self.output if i in self.second and i not in self.first)

    def size(self, index: str) -> int:
        """How many values an index has."""
        shape = self.rewriter.shape(self.node.output) or ()
        if index in self.output:
            return shape[self.output.index(index)]
        return (self.rewriter.shape(self.left) or ())[self.first.index(index)]

    def by_activations(self, right: str) -> None:
        """One MatMul over all that is shared; a Mul where nothing is summed."""
        if not self.summed:
            self._outer(right)
            return
        left = self._matrix(self.left, self.first, self.rows, self.summed)
        right = self._matrix(right, self.second, self.summed, self.columns)
        found = self.shared + self.rows + self.columns
        flat = len(self.rows) == len(self.columns) == 1
        if flat and found == self.output:
            self._compute(self.node.name, "MatMul", left, right, self.node.output)
        else:
            sizes = [prod(map(self.size, free)) for free in (self.rows, self.columns)]
            whole = self._tensor("product", "", [*map(self.size, self.shared), *sizes])
            self._compute(self.node.name, "MatMul", left, right, whole)
            if not flat:
                free = [self.size(index) for index in self.rows + self.columns]
                whole = self._reshape(whole, [0] * len(self.shared) + free, self.shared)
            self._result(whole, found)
        self.rewriter.replace(self.node, *self.nodes)

    def _compute(self, name: str, op: str, left: str, right: str, result: str) -> None:
        """What multiplies also clamps; all that follows moves values."""
        self.nodes.append(Node(name, op, (left, right), (result,), clip=self.node.clip))

    def _outer(self, right: str) -> None:
        """Every free value of one operand times every one of the other."""
        rows, columns = ([self.size(i) for i in free] for free in (self.rows, self.columns))
        own, ones = [0] * len(self.shared), [1] * len(self.columns)
        left = self._transpose(self.left, self.first, self.shared + self.rows)
        right = self._transpose(right, self.second, self.shared + self.columns)
        left = self._reshape(left, own + rows + ones, self.shared) if ones else left
        ones = [1] * len(rows)
        right = self._reshape(right, own + ones + columns, self.shared) if ones else right
        found = self.shared + self.rows + self.columns
        whole = self._tensor("product", found)
        self._compute(self.node.name, "Mul", left, right, whole)
        self._result(whole, found)
        self.rewriter.replace(self.node, *self.nodes)

    def _matrix(self, source: str, term: str, rows: str, columns: str) -> str:
        """An operand as matrices of rows and columns, one for every value of what is shared."""
        source = self._transpose(source, term, self.shared + rows + columns)
        if len(rows) == len(columns) == 1:
            return source
        sizes = [prod(map(self.size, free)) for free in (rows, columns)]
        return self._reshape(source, [0] * len(self.shared) + sizes, self.shared)

    def _result(self, source: str, found: str) -> None:
        """The result of the Einsum, of a tensor with indices in another order or the same."""
        if found != self.output:
            self._transpose(source, found, self.output, self.node.output)
            return
        name = self._name("result")
        self.nodes.append(Node(name, "Identity", (source,), (self.node.output,)))

    def by_constants(self, weight: npt.NDArray[Any]) -> None:
        """A MatMul by a matrix for every value of what is shared, side by side."""
        if not self.rows or not self.summed:
            return
        axes = [self.second.index(i) for i in self.shared + self.summed + self.columns]
        depth = prod(self.size(i) for i in self.summed)
        weight = weight.reshape(weight.shape[weight.ndim - len(self.second) :])
        matrices = np.ascontiguousarray(weight.transpose(axes))
        matrices = matrices.reshape(-1, depth, prod(self.size(i) for i in self.columns))
        parts = []
        for place, at in enumerate(product(*(range(self.size(i)) for i in self.shared))):
            source, term = self.left, self.first
            for index, value in zip(self.shared, at, strict=True):
                source = self._take(source, term, index, value)
                term = term.replace(index, "")
            source = self._transpose(source, term, self.rows + self.summed)
            if len(self.summed) > 1:
                source = self._reshape(source, [0] * len(self.rows) + [depth], self.rows)
            matrix = self._constant("weight", matrices[place])
            shape = [self.size(i) for i in self.rows] + [matrices.shape[2]]
            target = self._tensor("product", "", shape)
            name = self._name("product")
            self._compute(name, "MatMul", source, matrix, target)
            parts.append(target)
        joined = self._join(parts)
        found = self.rows + self.shared + self.columns
        sizes = [0] * len(self.rows) + [self.size(i) for i in self.shared + self.columns]
        if len(self.shared + self.columns) != 1:
            joined = self._reshape(joined, sizes, found)
        self._result(joined, found)
        self.rewriter.replace(self.node, *self.nodes)

    def _join(self, parts: list[str]) -> str:
        """Columns of all products side by side."""
        if len(parts) == 1:
            return parts[0]
        shape = list(self.rewriter.shape(parts[0]) or ())
        shape[-1] *= len(parts)
        target = self._tensor("joined", "", shape)
        self.nodes.append(
            Node(self._name("join"), "Concat", tuple(parts), (target,), {"axis": len(shape) - 1})
        )
        return target

    def _take(self, source: str, term: str, index: str, value: int) -> str:
        axis = term.index(index)
        target = self._tensor("part", term.replace(index, ""))
        which = self._constant("index", np.array(value, np.int64))
        name = self._name("part")
        self.nodes.append(Node(name, "Gather", (source, which), (target,), {"axis": axis}))
        return target

    def _transpose(self, source: str, before: str, after: str, target: str | None = None) -> str:
        if before == after and target is None:
            return source
        target = target or self._tensor("turned", after)
        order = tuple(before.index(index) for index in after)
        name = self._name("turn")
        self.nodes.append(Node(name, "Transpose", (source,), (target,), {"perm": order}))
        return target

    def _reshape(self, source: str, sizes: list[int], known: str) -> str:
        shape = [size or self.size(known[place]) for place, size in enumerate(sizes)]
        target = self._tensor("shaped", "", shape)
        wanted = self._constant("shape", np.array(sizes, np.int64))
        self.nodes.append(Node(self._name("shape"), "Reshape", (source, wanted), (target,)))
        return target

    def _name(self, what: str) -> str:
        return self.rewriter.fresh_node(f"{self.node.name}/{what}{len(self.nodes)}")

    def _constant(self, what: str, array: npt.NDArray[Any]) -> str:
        return self.rewriter.add_constant(f"{self.node.name}/{what}", array)

    def _tensor(self, what: str, term: str, shape: list[int] | None = None) -> str:
        sizes = [self.size(index) for index in term] if shape is None else shape
        return self.rewriter.add_tensor(f"{self.node.name}/{what}", sizes, self.node.output)
