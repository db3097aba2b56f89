"""The system timeline of a compiled model: its own programs, conversions and CPU nodes, each as
soon as what it reads is there and its unit is free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compiler_core.graph.order import reads
from compiler_core.package.executable import Executable
from compiler_core.package.report import LayerReport, Report
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConcat,
    IntegerConv,
    IntegerOperator,
    IntegerSegment,
    QuantizedGraph,
)
from compiler_core.system.timeline import (
    PICOSECONDS,
    Resource,
    Task,
    TaskKind,
    Timeline,
    ranks,
    simulate,
)

_PICOSECONDS_PER_MILLISECOND = 10**9


@dataclass(frozen=True)
class CompiledTimeline:
    """A compiled model, simulated.

    Attributes:
        tasks: One per layer of the report, in its order; ``subject`` is the layer's number.
        timeline: When each ran.
    """

    tasks: tuple[Task, ...]
    timeline: Timeline

    @property
    def latency_ms(self) -> float:
        """From start to end."""
        return self.timeline.latency_ps / _PICOSECONDS_PER_MILLISECOND


def compiled_timeline(
    quantized: QuantizedGraph, executable: Executable, report: Report
) -> CompiledTimeline:
    """Simulates one run.

    Args:
        quantized: What was compiled.
        executable: Its programs.
        report: What each step costs, in execution order.
    """
    tasks = tuple(_Tasks(quantized, executable, report).build())
    return CompiledTimeline(tasks, simulate(tasks, ranks(tasks)))


class _Tasks:
    def __init__(self, quantized: QuantizedGraph, executable: Executable, report: Report) -> None:
        self._quantized, self._executable, self._report = quantized, executable, report
        # The task after which a tensor is there: in float; in int8; in int8 within one segment.
        self._floats: dict[str, int] = {}
        self._integers: dict[str, int] = {}
        self._entered: dict[tuple[str, str], int] = {}
        # Concatenations run no program: what is read of one was written by several.
        self._parts: dict[str, tuple[str, ...]] = {}

    def build(self) -> Iterator[Task]:
        parts = {part.name: part for part in self._quantized.segments}
        steps = {
            part.name: {operator.name: operator for operator in part.operators}
            for part in self._quantized.segments
            if isinstance(part, IntegerSegment)
        }
        for name, operators in steps.items():
            self._find_parts(name, operators.values())
        nodes = {
            node.name: node
            for part in self._quantized.segments
            if isinstance(part, FloatSegment)
            for node in part.graph.nodes
        }
        clock = self._executable.target.npu.clock_hz
        overhead = round(self._executable.target.launch_overhead_s * PICOSECONDS)
        for number, layer in enumerate(self._report.layers):
            part = parts[layer.segment]
            if isinstance(part, FloatSegment):
                node = nodes[layer.name]
                after = self._known(self._floats, reads(node))
                self._floats |= dict.fromkeys(node.outputs, number)
                yield _on_cpu(number, layer, TaskKind.OPERATOR, after)
            elif layer.operator == "quantize":
                after = self._known(self._floats, (layer.name,))
                self._entered[part.name, layer.name] = number
                yield _on_cpu(number, layer, TaskKind.QUANTIZE, after)
            elif layer.operator == "dequantize":
                after = self._written(part.name, (layer.name,))
                self._floats[layer.name] = number
                yield _on_cpu(number, layer, TaskKind.DEQUANTIZE, after)
            else:
                run = round(layer.cycles * PICOSECONDS / clock)
                after = self._launch(number, layer, steps[part.name])
                yield Task(number, TaskKind.PROGRAM, Resource.NPU, run, overhead, after)

    def _find_parts(self, segment: str, operators: Iterable[IntegerOperator]) -> None:
        launched = {
            layer.name for layer in self._report.layers if layer.segment == segment and layer.cycles
        }
        for operator in operators:
            if isinstance(operator, IntegerConcat):
                copies = [
                    f"{operator.output}/concat-copy{position}"
                    for position in range(len(operator.inputs))
                ]
                self._parts[operator.output] = tuple(
                    copy if copy in launched else name
                    for copy, name in zip(copies, operator.inputs, strict=True)
                )

    def _launch(
        self, number: int, layer: LayerReport, operators: dict[str, IntegerOperator]
    ) -> tuple[int, ...]:
        operator = operators.get(layer.name)
        if operator is None:  # a copy for a concatenation, named after its place there
            output, _, position = layer.name.rpartition("/concat-copy")
            whole = next(
                item
                for item in operators.values()
                if isinstance(item, IntegerConcat) and item.output == output
            )
            self._integers[layer.name] = number
            return self._written(layer.segment, (whole.inputs[int(position)],))
        assert not isinstance(operator, IntegerConcat)
        self._integers[operator.output] = number
        residual = operator.residual if isinstance(operator, IntegerConv) else None
        names = (operator.input,) if residual is None else (operator.input, residual)
        return self._written(layer.segment, names)

    def _written(self, segment: str, names: Iterable[str]) -> tuple[int, ...]:
        """Tasks that write int8 tensors, through concatenations."""
        found: set[int] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in self._parts:
                pending += self._parts[name]
            elif (segment, name) in self._entered:
                found.add(self._entered[segment, name])
            elif name in self._integers:
                found.add(self._integers[name])
        return tuple(sorted(found))

    @staticmethod
    def _known(writers: dict[str, int], names: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted({writers[name] for name in names if name in writers}))


def _on_cpu(number: int, layer: LayerReport, kind: TaskKind, after: tuple[int, ...]) -> Task:
    time = round(layer.latency_ms * _PICOSECONDS_PER_MILLISECOND)
    return Task(number, kind, Resource.CPU, time, 0, after)
