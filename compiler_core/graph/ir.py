"""Graph IR, level 1: operators and tensors of a whole model, free of hardware.

A graph keeps ONNX semantics: a :class:`Node` is an ONNX operator, or ``Dense`` (ours: ``x[..., K]
@ w[K, O] + b[O]``, inputs ``(x, w)`` or ``(x, w, b)``, no attributes), with an optional clamp
fused onto its only output. So any part of a graph can be written back as an ONNX model, and
everything that onnxruntime runs can be represented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

NEST_DOMAIN = "nest"
"""Domain of the operators that are ours (``Dense``)."""


@dataclass(frozen=True)
class TensorType:
    """Element type (NumPy name, ``"string"`` for text) and shape; ``None`` where unknown."""

    dtype: str
    shape: tuple[int | None, ...] | None


def as_text(value: str | bytes) -> str:
    """A word of an attribute; bytes that are no text are one that no operator knows."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: Unique in its graph, never empty.
        op: Operator type, e.g. ``"Conv"``.
        inputs: Tensor names; ``""`` is an absent optional input.
        outputs: Tensor names; ``""`` is an unused optional output.
        attributes: Python values (int, float, str, bytes, tuples of them, arrays); a subgraph is
            its serialized ``AttributeProto`` in :class:`bytes` under :attr:`opaque`.
        domain: ``""`` for the default ONNX domain.
        clip: Clamp ``(low, high)`` fused onto the only output (Relu is ``(0, inf)``), or ``None``.
        opaque: Attributes kept as serialized ``AttributeProto`` (subgraphs and the like).
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""
    clip: tuple[float, float] | None = None
    opaque: tuple[bytes, ...] = ()

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def text(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        return as_text(self.attributes.get(name, default))


@dataclass(frozen=True)
class Graph:
    """An immutable model: nodes in topological order over named tensors.

    Attributes:
        name: For people.
        inputs: Names of the tensors a caller feeds (constants are not among them).
        outputs: Names of the results, in order.
        nodes: Topologically sorted.
        constants: Weights and folded values, read-only arrays.
        types: Type of every tensor that is known, constants included.
        opsets: Version per ONNX domain that the nodes are written in.
        functions: Serialized ``FunctionProto`` of model-local functions, carried along.
        dynamic_batch: Tensors whose leading axis is the model's dynamic batch axis; their type
            holds 1 there. Empty where the model fixes its batch.
        batch_dependent: Tensors whose shape or value depends on the batch in another way (a batch
            folded into another axis, a computed shape); their type holds what batch 1 gives.
            Nothing may be folded from it.
        sample_axes: The axis of an output that carries the samples, where it is not the first
            (``[T, N, C]`` of a sequence-first model).
        kept: Exponents of tensors that the model had quantized itself: ``real = integer * 2**-e``
            in int8 holds each of its values at most half of its own steps away.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[np.generic]]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]
    functions: tuple[bytes, ...] = ()
    dynamic_batch: frozenset[str] = frozenset()
    batch_dependent: frozenset[str] = frozenset()
    sample_axes: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)

    def sample_axis(self, output: str) -> int:
        """The axis of an output along which samples are joined."""
        return self.sample_axes.get(output, 0)

    def batch_free(self, tensor: str) -> bool:
        """Whether the shape of ``tensor`` is the same for every batch size."""
        return tensor not in self.dynamic_batch and tensor not in self.batch_dependent

    def producer(self, tensor: str) -> Node | None:
        """The node that computes ``tensor``; ``None`` for inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Nodes that read ``tensor``, in order."""
        return self._consumers.get(tensor, ())

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What was found out about the graph, which never changes, under keys of whoever did."""
        return {}

    def named(self, names: Iterable[str]) -> tuple[Node, ...]:
        """The nodes of these names, in the graph's order; names that it does not have are none."""
        places = sorted(self._places[name] for name in {*names} if name in self._places)
        return tuple(self.nodes[place] for place in places)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {node.name: place for place, node in enumerate(self.nodes)}

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for node in self.nodes:
            for tensor in filter(None, node.outputs):
                found.setdefault(tensor, node)
        return found

    @cached_property
    def _consumers(self) -> Mapping[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs):
                found.setdefault(tensor, []).append(node)
        return {tensor: tuple(nodes) for tensor, nodes in found.items()}
