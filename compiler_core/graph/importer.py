"""ONNX models as graphs.

A model comes from outside: whatever is wrong with it is one :class:`InputError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.attributes import freeze, read_attributes
from compiler_core.graph.containers import container_name
from compiler_core.graph.contradictions import (
    is_of_the_runtime,
    refuse_contradictions,
    refuse_endless_shapes,
    refuse_what_ends_inference,
    refuse_what_no_definition_allows,
)
from compiler_core.graph.demand import check_demand
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.opset import raised_for_normalization, upgrade_opset
from compiler_core.graph.order import sort_nodes
from compiler_core.graph.plain_ports import plain_ports
from compiler_core.graph.reader import ImportLimits, check_text, read_model
from compiler_core.graph.shapes import infer_types
from compiler_core.graph.sparse import read_sparse
from compiler_core.graph.structure import check_structure
from compiler_core.graph.values import as_floats, read_array, read_inputs

OLDEST_OPSET = 1

_DEFAULT_DOMAINS = ("", "ai.onnx")
_CHECK_WEIGHT_LIMIT = 1024
_WEIGHTED = {"BatchNormalization", "Conv", "ConvTranspose", "Gemm", "LayerNormalization", "MatMul"}


def import_onnx(
    path: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    limits: ImportLimits | None = None,
) -> Graph:
    """Read an ONNX file, opset 1 to the newest that the ``onnx`` package knows.

    Args:
        path: The model; its external data lies in the same folder or below.
        shapes: Shape per input name: of dynamic axes, or instead of what the file says. A dynamic
            first axis without one becomes a batch axis of 1 (see :attr:`Graph.dynamic_batch`).
        limits: What the file may cost.

    Raises:
        InputError: The file or ``shapes`` is wrong; the message names the tensor or node.
    """
    limits = limits or ImportLimits()
    return import_model(read_model(path, limits), where=str(path), shapes=shapes, limits=limits)


def import_model(
    model: onnx.ModelProto,
    *,
    where: str = "in memory",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    limits: ImportLimits | None = None,
) -> Graph:
    """The same as :func:`import_onnx` for a model in memory, without external data.

    Raises:
        InputError: As :func:`import_onnx`.
    """
    limits = limits or ImportLimits()
    try:
        check_text(model)
        return _Importer(plain_ports(model), shapes or {}, limits).graph()
    except InputError as error:
        raise type(error)(f"model {where}: {error.message}", hint=error.hint) from error
    except (MemoryError, RecursionError) as error:
        raise InputError(
            f"model {where}: reading it takes more {_exhausted(error)} than there is",
            hint="check where the model comes from; a network's own files never do",
        ) from error


def _exhausted(error: BaseException) -> str:
    return "memory" if isinstance(error, MemoryError) else "depth of calls"


class _Importer:
    def __init__(
        self, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], limits: ImportLimits
    ) -> None:
        self._model = model
        self._shapes = shapes
        self._limits = limits
        self._constants: dict[str, npt.NDArray[np.generic]] = {}
        self._bytes = 0

    def graph(self) -> Graph:
        proto = self._model.graph
        if not proto.node:
            raise InputError("the graph is empty: it has no nodes")
        check_structure(self._model, self._limits.nodes)
        if not proto.output:
            raise InputError("the graph is empty: it has no outputs")
        opsets = self._opsets()
        used = _read_anywhere(proto)
        for tensor in proto.initializer:
            # What nobody reads may be damaged or huge; it is gone before it is looked at.
            if tensor.name in used or not tensor.name:
                self._add_constant(tensor.name, tensor)
        for sparse in proto.sparse_initializer:
            if sparse.values.name in used or not sparse.values.name:
                self._add_sparse(sparse.values.name, sparse)
        fed = [item for item in proto.input if item.name not in self._constants]
        types, dynamic = read_inputs(fed, self._shapes)
        inputs = list(types)
        nodes = sort_nodes(self._nodes(), {*inputs, *self._constants})
        outputs = self._outputs(nodes, inputs)
        graph = Graph(
            name=proto.name,
            inputs=tuple(inputs),
            outputs=outputs,
            nodes=nodes,
            constants=self._constants,
            types=types,
            opsets=opsets,
            functions=tuple(
                item.SerializeToString(deterministic=True) for item in self._model.functions
            ),
            dynamic_batch=dynamic,
        )
        graph = raised_for_normalization(graph)
        self._check(graph)  # shape inference crashes where a node lacks what its operator needs
        refuse_what_ends_inference(self._model)
        refuse_endless_shapes(graph)
        graph = infer_types(graph)
        check_demand(graph, self._limits)
        upgraded = upgrade_opset(graph)
        if upgraded is not graph:
            graph = infer_types(upgraded)
            check_demand(graph, self._limits)
        refuse_contradictions(graph)
        self._check_weights(graph)
        return graph

    @staticmethod
    def _check(graph: Graph) -> None:
        """Arity, attributes and types of every operator against its definition."""
        refuse_what_no_definition_allows(write_model(graph, weight_limit=_CHECK_WEIGHT_LIMIT))

    def _opsets(self) -> dict[str, int]:
        opsets: dict[str, int] = {}
        for item in self._model.opset_import:
            domain = "" if item.domain in _DEFAULT_DOMAINS else item.domain
            if opsets.setdefault(domain, item.version) != item.version:
                raise InputError(f"operator set {item.domain!r} is imported in two versions")
        used = {
            "" if node.domain in _DEFAULT_DOMAINS else node.domain
            for node in self._model.graph.node
        }
        for domain in sorted(used - set(opsets)):
            raise InputError(f"the model names no version of operator set {domain or 'ai.onnx'!r}")
        newest = onnx.defs.onnx_opset_version()
        version = opsets.get("", newest)
        if not OLDEST_OPSET <= version <= newest:
            raise InputError(
                f"operator set version {version}; {OLDEST_OPSET} to {newest} are supported",
                hint="convert the model with onnx.version_converter",
            )
        # Runtimes differ in which other domains they know by name: only what the nodes use counts.
        if not self._model.functions and not _has_subgraphs(self._model.graph):
            opsets = {domain: opsets[domain] for domain in opsets if domain in used}
        return opsets | {"": version}

    def _add_constant(self, name: str, tensor: onnx.TensorProto) -> None:
        self._require_new(name)
        self._add_array(name, read_array(name, tensor, self._limits))

    def _add_sparse(self, name: str, tensor: onnx.SparseTensorProto) -> None:
        self._require_new(name)
        self._add_array(name, read_sparse(name, tensor, self._limits))

    def _require_new(self, name: str) -> None:
        if not name:
            raise InputError("an initializer has no name")
        if name in self._constants:
            raise InputError(f"tensor {name!r} is defined twice, by two initializers or constants")

    def _add_array(self, name: str, array: npt.NDArray[Any]) -> None:
        self._bytes += array.nbytes
        if self._bytes > self._limits.total_bytes:
            raise InputError(
                f"tensor {name!r}: the constants take {self._bytes} bytes; "
                f"at most {self._limits.total_bytes} are read"
            )
        self._constants[name] = freeze(array)

    def _nodes(self) -> list[Node]:
        taken: set[str] = {node.name for node in self._model.graph.node}
        seen: set[str] = set()
        nodes = []
        for proto in self._model.graph.node:
            domain = "" if proto.domain in _DEFAULT_DOMAINS else proto.domain
            label = proto.name or f"{proto.op_type}:{next(filter(None, proto.output), '')}"
            if not any(proto.output):
                raise InputError(f"node {label!r} ({proto.op_type}) has no outputs")
            if proto.op_type == "Constant" and not domain and self._constant_node(proto, label):
                continue
            if domain == "":
                self._check_operator(proto, label)
            name = label
            for count in range(2, len(self._model.graph.node) + 2):
                if name not in seen and (name == proto.name or name not in taken):
                    break
                name = f"{label}_{count}"
            seen.add(name)
            for attribute in proto.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    read_array(f"{label}.{attribute.name}", attribute.t, self._limits)
            attributes, opaque = self._attributes(proto, label)
            nodes.append(
                Node(
                    name,
                    proto.op_type,
                    tuple(proto.input),
                    tuple(proto.output),
                    attributes,
                    domain,
                    None,
                    opaque,
                )
            )
        return nodes

    def _check_operator(self, proto: onnx.NodeProto, label: str) -> None:
        version = next(
            item.version for item in self._model.opset_import if item.domain in _DEFAULT_DOMAINS
        )
        local = {(item.domain, item.name) for item in self._model.functions}
        known = onnx.defs.has(proto.op_type, version, "") or is_of_the_runtime(
            proto.op_type, version
        )
        if not known and ("", proto.op_type) not in local:
            raise InputError(
                f"node {label!r}: operator set {version} has no operator {proto.op_type!r}"
            )

    @staticmethod
    def _attributes(proto: onnx.NodeProto, label: str) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        names = [attribute.name for attribute in proto.attribute]
        if len(set(names)) < len(names):
            raise InputError(f"node {label!r} ({proto.op_type}) has an attribute twice")
        try:
            return read_attributes(proto.attribute)
        except (ValueError, TypeError) as error:
            raise InputError(f"node {label!r} ({proto.op_type}): bad attribute: {error}") from error

    def _constant_node(self, proto: onnx.NodeProto, label: str) -> bool:
        """Turn a Constant node into a constant; ``False`` for kinds that stay nodes."""
        if len(proto.attribute) != 1 or len(proto.output) != 1 or len(proto.input):
            raise InputError(
                f"node {label!r} (Constant) must have one attribute, one output and no input"
            )
        attribute = proto.attribute[0]
        if attribute.name == "value":
            self._add_constant(proto.output[0], attribute.t)
            return True
        if attribute.name == "sparse_value":
            self._add_sparse(proto.output[0], attribute.sparse_tensor)
            return True
        dtypes = {
            "value_float": "float32",
            "value_floats": "float32",
            "value_int": "int64",
            "value_ints": "int64",
        }
        if attribute.name not in dtypes:
            return False
        if proto.output[0] in self._constants:
            raise InputError(
                f"tensor {proto.output[0]!r} is defined twice, the second time by node {label!r}"
            )
        value = onnx.helper.get_attribute_value(attribute)
        self._add_array(proto.output[0], np.array(value, dtypes[attribute.name]))
        return True

    def _outputs(self, nodes: tuple[Node, ...], inputs: list[str]) -> tuple[str, ...]:
        names = tuple(value.name for value in self._model.graph.output)
        computed = {output for node in nodes for output in node.outputs}
        for position, name in enumerate(names):
            if name not in computed and name not in self._constants and name not in inputs:
                raise InputError(f"graph output {name!r} is not computed by any node")
            if name in names[:position]:
                raise InputError(f"graph output {name!r} is listed twice")
            value = self._model.graph.output[position]
            kind = value.type.WhichOneof("value")
            if kind is not None and kind != "tensor_type" and container_name(value.type) is None:
                raise InputError(
                    f"output {name!r}: type {kind}; tensors, sequences and optionals of them are "
                    "supported"
                )
        return names

    @staticmethod
    def _check_weights(graph: Graph) -> None:
        for node in graph.nodes:
            if node.domain or node.op not in _WEIGHTED:
                continue
            for name in node.inputs[1:]:
                array = graph.constants.get(name)
                wrong = np.empty(0) if array is None else ~np.isfinite(as_floats(array))
                if wrong.any():
                    raise InputError(
                        f"tensor {name!r}, a weight of node {node.name!r}, holds NaN or infinite "
                        f"values (first at flat index {np.flatnonzero(wrong)[0]})"
                    )
            if node.op == "Conv":
                _check_channels(graph, node)


def _check_channels(graph: Graph, node: Node) -> None:
    """Channels of a convolution's input against its weight, which shape inference ignores."""
    data, weight = (graph.types.get(name) for name in node.inputs[:2])
    if data is None or weight is None or len(data.shape or ()) < 2 or len(weight.shape or ()) < 2:
        return
    assert data.shape is not None
    assert weight.shape is not None
    channels, own, groups = data.shape[1], weight.shape[1], node.attributes.get("group", 1)
    if channels is not None and own is not None and channels != own * groups:
        raise InputError(
            f"node {node.name!r} (Conv): input {node.inputs[0]!r} has {channels} channels; "
            f"weight {node.inputs[1]!r} of shape {weight.shape} with group {groups} needs "
            f"{own * groups}"
        )


def _read_anywhere(proto: onnx.GraphProto) -> set[str]:
    """Names that nodes of ``proto`` and of its subgraphs read, and its outputs and inputs."""
    used = {value.name for value in (*proto.output, *proto.input)}
    for node in proto.node:
        used.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                used |= _read_anywhere(inner)
    return used


def _has_subgraphs(graph: onnx.GraphProto) -> bool:
    return any(
        attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        for node in graph.node
        for attribute in node.attribute
    )
