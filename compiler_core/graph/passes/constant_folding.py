"""Nodes whose inputs are all constants are computed once, by onnxruntime."""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.attributes import freeze, implicit_inputs
from compiler_core.graph.chance import DRAWING
from compiler_core.graph.extract import extract
from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.session import FloatSession
from compiler_core.graph.work import operations, result_bytes, tensor_bytes

QUANTIZATION = {"DequantizeLinear", "QuantizeLinear"}
"""Operators whose constants hold the scales that a model was quantized with."""
_WIDENED = 4
"""Numbers of a byte as float32."""
_MORE_BYTES = 2**27
"""Constants beside those."""


@dataclass
class Allowance:
    """What folding may take for one model in all, however often it is applied: a small file fills
    neither memory nor time.

    Attributes:
        held_bytes: Of all constants at a time.
        operations: Multiplications that are left.
    """

    held_bytes: int
    operations: int = 2**33

    @classmethod
    def of(cls, graph: Graph) -> Allowance:
        """For a model as it came: what it brings it may also bring in another form."""
        return cls(_MORE_BYTES + _WIDENED * _held_bytes(graph))


@dataclass(frozen=True)
class ConstantFolding:
    """Replace nodes over constants by their values, and ``Shape`` of tensors of fixed shape.

    Attributes:
        tensor_bytes: Larger results stay computed; a result may always be four times as large as
            the constants that it is computed from.
        keep_quantization: Leave QuantizeLinear and DequantizeLinear, whose scales would be lost.
        allowance: Of all applications to a model; each has one of its own where there is none.
    """

    name: ClassVar[str] = "constant-folding"
    tensor_bytes: int = 2**26
    keep_quantization: bool = True
    allowance: Allowance | None = None

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        self._fold_shapes(rewriter)
        graph = rewriter.finish()
        folded = self._foldable(graph)
        if not folded:
            return graph
        values = self._evaluate(graph, folded)
        remaining = tuple(
            node for node in graph.nodes if not values.keys() >= set(node.outputs) - {""}
        )
        if len(remaining) == len(graph.nodes):
            return graph
        constants = {**graph.constants, **{name: freeze(array) for name, array in values.items()}}
        used = {name for node in remaining for name in (*node.inputs, *implicit_inputs(node))}
        used |= set(graph.outputs)
        return replace(
            graph,
            nodes=remaining,
            constants={name: array for name, array in constants.items() if name in used},
        )

    @staticmethod
    def _fold_shapes(rewriter: Rewriter) -> None:
        for node in rewriter.nodes():
            if not is_op(node, "Shape", "Size") or rewriter.pinned(node.output):
                continue
            source = node.inputs[0]
            shape = rewriter.shape(source)
            if shape is None or not rewriter.batch_free(source):
                continue
            rewriter.bypass(node, rewriter.add_constant(node.output, shape_value(node, shape)))

    def _foldable(self, graph: Graph) -> list[Node]:
        allowance = self.allowance or Allowance.of(graph)
        known, held, found = set(graph.constants), _held_bytes(graph), list[Node]()
        readers, sizes = _reader_counts(graph), dict[str, int]()
        for node in graph.nodes:
            if not is_pure(node) or (self.keep_quantization and node.op in QUANTIZATION):
                continue
            if any(name and name not in known for name in node.inputs):
                continue
            size = _result_bytes(graph, node)
            if size is None or set(node.outputs) & set(graph.outputs):
                continue
            inputs = set(node.inputs)
            read = sum(graph.constants[name].nbytes for name in inputs & graph.constants.keys())
            last = [name for name in inputs & sizes.keys() if readers[name] == 1]
            after = held + size - sum(sizes[name] for name in last)
            steps = operations(node, graph.types)
            if size - _WIDENED * read > self.tensor_bytes or after > allowance.held_bytes:
                continue
            if steps > allowance.operations:
                continue
            allowance.operations -= steps
            held = after
            readers.subtract(inputs)
            known |= set(node.outputs)
            sizes |= {name: tensor_bytes(graph.types[name]) or 0 for name in node.outputs if name}
            found.append(node)
        return found

    @staticmethod
    def _evaluate(graph: Graph, nodes: Sequence[Node]) -> dict[str, npt.NDArray[Any]]:
        part = extract(graph, nodes)
        if not part.outputs:
            return {}
        try:
            values = FloatSession(part, optimize=False).run({})
        except InputError:
            return _evaluate_each(graph, nodes)
        computed = dict(values)
        # Results that only folded nodes read are gone with them.
        for node in nodes:
            for output in filter(None, node.outputs):
                computed.setdefault(output, np.empty(0))
        return computed


def is_pure(node: Node) -> bool:
    """Whether a node computes the same of the same inputs, without a graph of its own."""
    return node.op not in DRAWING and not node.opaque and node.domain in ("", NEST_DOMAIN)


def shape_value(node: Node, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """What a ``Shape`` or ``Size`` gives for a tensor of ``shape``."""
    if node.op == "Size":
        return np.array(math.prod(shape), np.int64)
    start = node.attributes.get("start", 0)
    return np.array(shape[start : node.attributes.get("end", len(shape))], np.int64)


def _evaluate_each(graph: Graph, nodes: Sequence[Node]) -> dict[str, npt.NDArray[Any]]:
    """One session per node: a node that onnxruntime refuses stays, with those that read it."""
    values: dict[str, npt.NDArray[Any]] = {}
    for node in nodes:
        known = ChainMap(values, graph.constants)  # type: ignore[arg-type]
        if any(name and name not in known for name in node.inputs):
            continue
        outputs = tuple(filter(None, node.outputs))
        constants = {name: known[name] for name in node.inputs if name}
        single = replace(graph, inputs=(), outputs=outputs, nodes=(node,), constants=constants)
        try:
            values |= FloatSession(single, optimize=False).run({})
        except InputError:
            continue
    return values


def _held_bytes(graph: Graph) -> int:
    """Bytes of all constants; an array that has several names counts once."""
    return sum({id(array): array.nbytes for array in graph.constants.values()}.values())


def _reader_counts(graph: Graph) -> Counter[str]:
    """How many nodes read each tensor."""
    return Counter(name for node in graph.nodes for name in {*node.inputs, *implicit_inputs(node)})


def _result_bytes(graph: Graph, node: Node) -> int | None:
    names = [name for name in node.outputs if name]
    if any(name not in graph.types or graph.types[name].dtype == "string" for name in names):
        return None
    if not all(graph.batch_free(name) for name in names):
        return None
    return result_bytes(node, graph.types)
