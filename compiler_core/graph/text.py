"""A graph as text that reads well and diffs well, and the digest of its content."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType

_SHOWN_ELEMENTS = 8


def graph_text(graph: Graph) -> str:
    """One line per input, node and output, in graph order.

    Tensors are ``%name``; a constant is shown where it is used, with its values if they are few,
    else with its type and a digest of eight digits. ``N`` is the dynamic batch axis, ``*`` marks
    what depends on it otherwise.
    """
    opsets = ", ".join(
        f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(graph.opsets.items())
    )
    lines = [f"graph {graph.name} ({opsets})"]
    lines += [f"  input  %{name}: {_type_text(graph, name)}" for name in graph.inputs]
    lines += [f"  {_node_text(graph, node)}" for node in graph.nodes]
    lines += [f"  output {_tensor_text(graph, name)}" for name in graph.outputs]
    return "\n".join(lines) + "\n"


_DIGEST = "digest"


def graph_digest(graph: Graph) -> str:
    """SHA-256 (hex) over everything but the graph's own name, constants included.

    The order of dictionaries does not matter, the order of nodes does. It is taken once: large
    weights take a second each time.
    """
    known: str | None = graph.derived.get(_DIGEST)
    if known is None:
        known = graph.derived[_DIGEST] = _digest(graph)
    return known


def _digest(graph: Graph) -> str:
    digest = hashlib.sha256()
    structure = {
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [_canonical(node) for node in graph.nodes],
        "types": {name: [known.dtype, known.shape] for name, known in graph.types.items()},
        "opsets": dict(graph.opsets),
        "functions": [item.hex() for item in graph.functions],
        "dynamic_batch": sorted(graph.dynamic_batch),
        "batch_dependent": sorted(graph.batch_dependent),
        "constants": {name: _array_digest(array) for name, array in graph.constants.items()},
    }
    if graph.sample_axes:
        structure["sample_axes"] = dict(graph.sample_axes)
    if graph.kept:
        structure["kept"] = dict(graph.kept)
    digest.update(json.dumps(structure, sort_keys=True).encode())
    return digest.hexdigest()


def _array_digest(array: npt.NDArray[np.generic]) -> str:
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape}\n".encode())
    if array.dtype.kind == "O":
        digest.update(json.dumps([_plain(item) for item in array.ravel().tolist()]).encode())
    else:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _canonical(node: Node) -> list[Any]:
    return [
        node.name,
        node.domain,
        node.op,
        node.inputs,
        node.outputs,
        {name: _plain(value) for name, value in node.attributes.items()},
        None if node.clip is None else [repr(bound) for bound in node.clip],
        [item.hex() for item in node.opaque],
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": _array_digest(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _node_text(graph: Graph, node: Node) -> str:
    results = ", ".join(f"%{name}" if name else "_" for name in node.outputs)
    operands = ", ".join(_tensor_text(graph, name) for name in node.inputs)
    domain = f"{node.domain}." if node.domain else ""
    text = f"{results} = {domain}{node.op}({operands})"
    attributes = [f"{name}={_value_text(value)}" for name, value in sorted(node.attributes.items())]
    attributes += [
        f"<{len(item)} bytes {hashlib.sha256(item).hexdigest()[:8]}>" for item in node.opaque
    ]
    if attributes:
        text += f" {{{', '.join(attributes)}}}"
    if node.clip is not None:
        text += f" clip[{_number(node.clip[0])}, {_number(node.clip[1])}]"
    types = ", ".join(_type_text(graph, name) for name in node.outputs if name)
    return f"{text} -> {types}"


def _tensor_text(graph: Graph, name: str) -> str:
    if not name:
        return "_"
    array = graph.constants.get(name)
    if array is None:
        return f"%{name}"
    if array.size <= _SHOWN_ELEMENTS:
        return f"{_array_text(array)}:{_constant_type(array)}"
    return f"@{name}:{_constant_type(array)}#{_array_digest(array)[:8]}"


def _constant_type(array: npt.NDArray[np.generic]) -> str:
    name = "string" if array.dtype.kind == "O" else array.dtype.name
    return f"{name}[{','.join(map(str, array.shape))}]"


def _array_text(array: npt.NDArray[np.generic]) -> str:
    if array.ndim == 0:
        return _value_text(array.item())
    return f"({', '.join(_value_text(item) for item in array.ravel().tolist())})"


def _value_text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        shown = _array_text(value) if value.size <= _SHOWN_ELEMENTS else "…"
        return f"{shown}:{_constant_type(value)}#{_array_digest(value)[:8]}"
    if isinstance(value, tuple):
        return f"({', '.join(_value_text(item) for item in value)})"
    if isinstance(value, float):
        return _number(value)
    return str(value) if isinstance(value, int) else repr(value)


def _number(value: float) -> str:
    """The shortest text of a float32."""
    if math.isinf(value) or math.isnan(value):
        return str(value)
    return str(np.float32(value)) if abs(value) < 3e38 else repr(value)


def _type_text(graph: Graph, name: str) -> str:
    known: TensorType | None = graph.types.get(name)
    if known is None:
        return "?"
    if known.shape is None:
        return f"{known.dtype}[…]"
    dims = ["?" if dim is None else str(dim) for dim in known.shape]
    if name in graph.dynamic_batch:
        dims[0] = "N"
    return f"{known.dtype}[{','.join(dims)}]" + ("*" if name in graph.batch_dependent else "")
