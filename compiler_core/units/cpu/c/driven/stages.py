"""A compiled model as stages: what the processor computes, and what it has an NPU compute.

| form | a tensor as |
|---|---|
| ``float`` | float32 in the model's layout |
| ``integer`` | int8 ``[N, C, H, W]`` |
| ``memory`` | bytes as they lie in the NPU's memory |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.spelled.for_sources import graph_for_sources
from compiler_core.quantize.borders import from_nchw, to_nchw
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.driven.layouts import Map, moved
from compiler_core.units.cpu.c.network import FLOAT, Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.real import Dequantize, Quantize
from compiler_core.units.facets.driving import DrivenModel, DrivenStep

Buffer = tuple[str, str]
"""Form and tensor; of what lies in memory the segment's name is before the tensor's."""


@dataclass(frozen=True, eq=False)
class DrivenStage:
    """One step.

    Attributes:
        label: For people.
        reads, writes: Buffers.
        network: What the processor computes; ``None`` where the NPU does.
        step: What the NPU does.
    """

    label: str
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    network: Network | None = None
    step: DrivenStep | None = None


class Stages:
    """Derives the stages of a model.

    Args:
        model: Compiled.

    Raises:
        InputError: A part of it cannot be written as C.
    """

    def __init__(self, model: DrivenModel) -> None:
        self._model = model
        self.stages: list[DrivenStage] = []
        self.sizes: dict[Buffer, tuple[int, str]] = {}
        self._known: set[Buffer] = set()
        for name in model.signature.inputs:
            self._announce(("float", name), int(np.prod(self._shape(name))), "float32")
        for step in model.steps:
            (self._on_npu if step.segment is not None else self._on_cpu)(step)
        for name in model.signature.outputs:
            self._real(name)

    def _on_cpu(self, step: DrivenStep) -> None:
        for name in step.inputs:
            self._real(name)
        proto = onnx.load_model_from_string(step.model)
        graph = graph_for_sources(simplify(import_model(proto)))
        options = Options(precision="float32", float_ports=True, channels_last=False)
        network = to_network(graph, {}, options)
        order = {name: position for position, name in enumerate(network.tensors)}
        if set(graph.inputs) != set(step.inputs) or set(graph.outputs) != set(step.outputs):
            raise InputError(f"segment {step.name!r}: its model has other inputs or outputs")
        for name in step.outputs:
            value = network.values[network.outputs[order[name] - len(network.inputs)]]
            self._announce(("float", name), value.size, "float32")
        reads = tuple(("float", name) for name in graph.inputs)
        writes = tuple(("float", name) for name in graph.outputs)
        self.stages.append(DrivenStage(step.name, reads, writes, network))

    def _on_npu(self, step: DrivenStep) -> None:
        segment = step.segment
        assert segment is not None
        entering, leaving = [], []
        for name in step.inputs:
            entering.append(("memory", f"{step.name}/{name}"))
            self._enter(step, name)
        for name in step.outputs:
            buffer = ("memory", f"{step.name}/{name}")
            leaving.append(buffer)
            self._announce(buffer, segment.tensors[name].places.size, "int8")
        self.stages.append(DrivenStage(step.name, tuple(entering), tuple(leaving), None, step))
        for name in step.outputs:
            self._leave(step, name)

    def _shape(self, name: str) -> tuple[int, ...]:
        known = self._model.signature.types.get(name)
        shape = None if known is None else known.shape
        if known is None or shape is None or known.dtype != "float32":
            raise InputError(f"tensor {name!r}: no float32 tensor of a known shape")
        fixed = tuple(int(size or 1) for size in shape)
        if None in shape[1:]:
            raise InputError(f"tensor {name!r}: its shape {shape} is not fixed")
        return fixed

    def _announce(self, buffer: Buffer, size: int, dtype: str) -> None:
        self.sizes[buffer] = (size, dtype)
        self._known.add(buffer)

    def _integers(self, name: str) -> Type:
        tensor = self._model.tensors[name]
        if tensor.shape[0] != 1:
            raise InputError(f"tensor {name!r}: {tensor.shape[0]} samples at once; 1 is written")
        return Type("int8", 2.0**-tensor.exponent, 0)

    def _view(self, name: str) -> Map:
        """Per element of ``[N, C, H, W]``, that of the model's tensor."""
        shape = self._shape(name)
        numbers = np.arange(1, int(np.prod(shape)) + 1, dtype=np.int64).reshape(shape)
        return to_nchw(numbers, self._model.views[name], self._model.tensors[name]) - 1

    def _enter(self, step: DrivenStep, name: str) -> None:
        """A tensor into the layout of a segment's memory."""
        kind, integer = self._integers(name), ("integer", name)
        assert step.segment is not None
        tensor = self._model.tensors[name]
        places = step.segment.tensors[name].places
        lanes = _lanes(places.size, tensor.shape)
        buffer = ("memory", f"{step.name}/{name}")
        if integer in self._known:
            source, values = integer, {}
            operators: list[Operator] = []
            first = Value("a", name, (prod(tensor.shape),), kind)
        else:
            source = self._real(name)
            size = self.sizes[source][0]
            values = {"x": Value("x", name, (size,), FLOAT)}
            first = Value("a", name, (size,), kind)
            operators = [Quantize(name, ("x",), "a", kind)]
            flat = self._view(name).ravel()
            places = np.where(places < 0, -1, flat[np.maximum(places, 0)])
        shaped = places.reshape(lanes) if lanes else places
        self._stage(f"{name} to the NPU", source, buffer, first, values, operators, shaped, kind)

    def _leave(self, step: DrivenStep, name: str) -> None:
        """A tensor from the layout of a segment's memory."""
        kind = self._integers(name)
        assert step.segment is not None
        places = step.segment.tensors[name].places
        shape = self._model.tensors[name].shape
        inverse = np.full(int(np.prod(shape)), -1, np.int64)
        there = np.flatnonzero(places >= 0)
        inverse[places[there]] = there
        source, result = ("memory", f"{step.name}/{name}"), ("integer", name)
        first = Value("a", name, (places.size,), kind)
        lanes = _lanes(places.size, shape)
        block = lanes[3] if lanes else 1
        channels = shape[1]
        rows: Map = inverse.reshape(channels, shape[2], shape[3])
        if channels % block == 0:
            rows = rows.reshape(channels // block, block, shape[2], shape[3])
        self._stage(f"{name} from the NPU", source, result, first, {}, [], rows, kind)

    def _real(self, name: str) -> Buffer:
        """A tensor in float32, converted where it is of integers."""
        buffer = ("float", name)
        if buffer in self._known:
            return buffer
        source = ("integer", name)
        if source not in self._known:
            raise InputError(f"tensor {name!r} is not computed before it is read")
        kind, tensor = self._integers(name), self._model.tensors[name]
        shape = self._shape(name)
        numbers = np.arange(prod(tensor.shape), dtype=np.int64).reshape(tensor.shape)
        places = from_nchw(numbers, self._model.views[name], shape).reshape(shape)
        values = {"x": Value("x", name, (prod(tensor.shape),), kind)}
        first = Value("a", name, (prod(tensor.shape),), FLOAT)
        operators: list[Operator] = [Dequantize(name, ("x",), "a", kind)]
        self._stage(f"{name} as float", source, buffer, first, values, operators, places, FLOAT)
        return buffer

    def _stage(
        self,
        label: str,
        source: Buffer,
        result: Buffer,
        first: Value,
        values: Mapping[str, Value],
        operators: list[Operator],
        places: Map,
        kind: Type,
    ) -> None:
        """Adds a stage that moves what operators make of a buffer."""
        last = Value("y", label, (places.size,), kind)
        spare = Value("s", label, (first.size + 1,), kind)
        moves = moved(label, first, last, places, spare)
        every = {**values, "a": first, "y": last}
        if any(item.output == "s" for item in moves):
            every["s"] = spare
        port = "x" if values else "a"
        axes = dict.fromkeys((port, "y"), (0,))
        ports = (port,), ("y",), (port, "y")
        network = Network(label, every, *ports, axes, (*operators, *moves))
        self._announce(result, places.size, kind.dtype)
        self.stages.append(DrivenStage(label, (source,), (result,), network))


def _lanes(size: int, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Blocks of channels, rows, columns and channels of a block of a tensor in memory, where it
    lies so."""
    _, channels, height, width = shape
    packed, rest = divmod(size, height * width)
    if rest or packed < channels:
        return None
    for block in range(1, packed + 1):
        if packed % block == 0 and -(-channels // block) * block == packed and block % 16 == 0:
            return packed // block, height, width, block
    return None
