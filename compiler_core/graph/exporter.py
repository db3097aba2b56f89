"""A graph written as an ONNX model that stock onnxruntime runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.graph.attributes import write_attributes
from compiler_core.graph.containers import container_proto, is_container
from compiler_core.graph.dtypes import array_dtype_name, dtype_number
from compiler_core.graph.extract import cut
from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node, TensorType

IR_VERSION = 10
"""ONNX IR version of written models: the newest that every supported onnxruntime reads."""

BATCH_AXIS = "batch"
"""Symbol of the dynamic leading axis in written models."""

_CLIP_WITH_INPUTS_OPSET = 11

LARGE_BYTES = 1 << 20
"""Of a constant that may lie outside of a model."""

_PLAIN = frozenset(map(np.dtype, ("<f4", "<f8", "<i1", "<u1", "<i4", "<i8")))
"""Types whose bytes are those of a model."""


def export_onnx(
    graph: Graph,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    outside: dict[str, npt.NDArray[np.generic]] | None = None,
) -> onnx.ModelProto:
    """Write ``graph``, or the part of it between two sets of tensors, as an ONNX model.

    ``Dense`` becomes Gemm, or MatMul and Add; a fused clamp becomes Relu or Clip after its node. A
    dynamic batch axis is symbolic in the written model.

    Args:
        graph: Its nodes may hold fused clamps and ``Dense``.
        inputs: Tensors to feed; the graph's own inputs by default.
        outputs: Tensors to return, any of the graph; the graph's own outputs by default.
        outside: Takes the large constants, by name, which the model then only names:
            :func:`~compiler_core.graph.runtime.open_session` wants them beside it.

    Raises:
        InputError: ``outputs`` cannot be computed from ``inputs``.
    """
    if inputs is not None or outputs is not None:
        graph = cut(graph, inputs=inputs, outputs=outputs)
    # A branch that is never taken need not fit the shapes of this model's inputs.
    inner = any(_may_branch(node) for node in graph.nodes)
    return write_model(
        graph, open_shapes=inner, outside=None if inner or graph.functions else outside
    )


def _may_branch(node: Node) -> bool:
    """Whether a node has graphs of its own, other than the body of a Scan that has none itself."""
    inner = [onnx.AttributeProto.FromString(item).g.node for item in node.opaque]
    deeper = (part for nodes in inner for one in nodes for part in one.attribute)
    return bool(inner) and (node.op != "Scan" or any(part.HasField("g") for part in deeper))


def write_model(
    graph: Graph,
    *,
    batch: int | None = None,
    weight_limit: int | None = None,
    open_shapes: bool = False,
    outside: dict[str, npt.NDArray[np.generic]] | None = None,
) -> onnx.ModelProto:
    """Write a whole graph.

    Args:
        graph: What to write.
        batch: Size of the dynamic batch axis; symbolic by default.
        weight_limit: Constants of more elements become graph inputs, so that only their type is
            written.
        open_shapes: Leave the sizes of inputs and outputs open, so that a runtime concludes nothing
            from them.
        outside: See :func:`export_onnx`.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.add(node)
    opsets = [
        onnx.helper.make_opsetid(domain, version)
        for domain, version in sorted(graph.opsets.items())
    ]
    # Filled in place: whatever is made first and added then is copied, weights and all.
    model = onnx.helper.make_model(
        onnx.GraphProto(),
        opset_imports=opsets,
        functions=[onnx.FunctionProto.FromString(item) for item in graph.functions],
        ir_version=IR_VERSION,
        producer_name="nest-tune",
    )
    proto = model.graph
    proto.name = graph.name or "graph"
    proto.node.extend(writer.protos)
    proto.input.extend(_value(graph, name, batch) for name in graph.inputs)
    proto.output.extend(_value(graph, name, batch) for name in graph.outputs)
    for name, array in graph.constants.items():
        if weight_limit is not None and array.size > weight_limit:
            proto.input.append(_value(graph, name, batch))
        else:
            _add_constant(proto, name, array, outside)
    proto.initializer.extend(writer.initializers)
    if open_shapes:
        for value in (*proto.input, *proto.output):
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return model


def _add_constant(
    proto: onnx.GraphProto,
    name: str,
    array: npt.NDArray[np.generic],
    outside: dict[str, npt.NDArray[np.generic]] | None,
) -> None:
    """Adds a constant, or, where it is large and there is such a place, names it as one that lies
    outside of the model."""
    if array.nbytes < LARGE_BYTES or array.dtype not in _PLAIN:
        proto.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return
    tensor = proto.initializer.add()
    tensor.name, tensor.data_type = name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)
    if outside is None:
        tensor.raw_data = array.tobytes()
        return
    outside[name] = array
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": "outside", "offset": "0", "length": str(array.nbytes)}
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _value(graph: Graph, name: str, batch: int | None) -> onnx.ValueInfoProto:
    known = graph.types.get(name)
    if known is None and name in graph.constants:
        array = graph.constants[name]
        known = TensorType(array_dtype_name(array), array.shape)
    if known is None:
        return onnx.ValueInfoProto(name=name)
    if is_container(known.dtype):
        return onnx.helper.make_value_info(name, container_proto(known.dtype))
    shape: list[int | str | None] | None = None
    if known.shape is not None and name not in graph.batch_dependent:
        shape = list(known.shape)
        if name in graph.dynamic_batch:
            shape[0] = BATCH_AXIS if batch is None else batch
    return onnx.helper.make_tensor_value_info(name, dtype_number(known.dtype), shape)


class _Writer:
    """Collects the node protos of one graph; makes fresh names."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names = {output for node in graph.nodes for output in node.outputs}
        self._names |= set(graph.inputs) | set(graph.constants)
        self.protos: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, node: Node) -> None:
        result = node.outputs[0] if node.clip is None else self._fresh(f"{node.output}/unclipped")
        if node.domain == NEST_DOMAIN:
            self._add_dense(node, result)
        else:
            proto = onnx.helper.make_node(
                node.op,
                node.inputs,
                (result, *node.outputs[1:]),
                name=node.name,
                domain=node.domain,
            )
            proto.attribute.extend(write_attributes(node.attributes, node.opaque))
            self.protos.append(proto)
        if node.clip is not None:
            self._add_clip(node, result, node.clip)

    def _add_dense(self, node: Node, result: str) -> None:
        data = self._graph.types.get(node.inputs[0])
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        if data is not None and data.shape is not None and len(data.shape) == 2:
            self._emit("Gemm", [name for name in node.inputs if name], result, node.name)
        elif bias:
            product = self._fresh(f"{node.output}/product")
            self._emit("MatMul", node.inputs[:2], product, f"{node.name}/product")
            self._emit("Add", [product, bias], result, node.name)
        else:
            self._emit("MatMul", node.inputs[:2], result, node.name)

    def _add_clip(self, node: Node, source: str, clip: tuple[float, float]) -> None:
        low, high = clip
        if low == 0 and high == math.inf:
            self._emit("Relu", [source], node.output, f"{node.name}/relu")
            return
        name = f"{node.name}/clip"
        if self._graph.opsets.get("", _CLIP_WITH_INPUTS_OPSET) < _CLIP_WITH_INPUTS_OPSET:
            bounds = {"min": low, "max": high}
            finite: dict[str, Any] = {key: v for key, v in bounds.items() if math.isfinite(v)}
            self.protos.append(
                onnx.helper.make_node("Clip", [source], [node.output], name=name, **finite)
            )
            return
        known = self._graph.types.get(node.output)
        dtype = np.dtype("float32" if known is None else known.dtype)
        inputs = [source]
        for suffix, bound in (("min", low), ("max", high)):
            if not math.isfinite(bound):
                inputs.append("")
                continue
            inputs.append(self._fresh(f"{name}_{suffix}"))
            self.initializers.append(
                onnx.numpy_helper.from_array(np.array(bound, dtype), inputs[-1])
            )
        self._emit("Clip", inputs, node.output, name)

    def _emit(self, op: str, inputs: Iterable[str], output: str, name: str) -> None:
        self.protos.append(onnx.helper.make_node(op, list(inputs), [output], name=name))

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name
