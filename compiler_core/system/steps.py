"""The steps of a compiled model and what each has to wait for, before anybody knows how long they
take: CPU nodes, conversions at borders, launches."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.ir import (
    SAME_FORM,
    FloatSegment,
    Forms,
    IntegerConcat,
    IntegerOperator,
    IntegerSegment,
    QuantizedGraph,
    tensors_read,
    tensors_written,
)
from compiler_core.system.host_steps import HostStep, HostSteps
from compiler_core.system.jobs import JobKind
from compiler_core.system.positions import Positions
from compiler_core.units.facets.programs import UnitLayer, UnitLayers


@dataclass(frozen=True, eq=False)
class ExecutionStep:
    """One step.

    Attributes:
        segment: Name of its segment.
        name: Of the node, the converted tensor or the layer.
        kind: What it does.
        after: Positions of the steps that write what it reads, ascending.
        layer: What it launches, where it is a program.
        unit: Name of its segment's unit; empty for nodes of the CPU.
        source: Name of the segment in whose form a tensor was that is converted for its segment.
        host: What it is of the CPU's own work.
        touched: Tensors of the memory of integer segments that it reads or writes in their place,
            where it belongs to none of them.
    """

    segment: str
    name: str
    kind: JobKind
    after: tuple[int, ...]
    layer: UnitLayer | None = None
    unit: str = ""
    source: str = ""
    host: HostStep | None = None
    touched: tuple[str, ...] = ()

    def position(self, positions: Positions) -> int:
        """Where it stands in the model."""
        if self.layer is not None:
            operator = self.layer.operator
            return positions.of_launch(tensors_written(operator)[0], operator.sources)
        if self.kind is JobKind.OPERATOR:
            return positions.of_node(self.name)
        return positions.of_values(self.name)


def model_steps(
    quantized: QuantizedGraph, layers: Sequence[UnitLayers], forms: Forms = SAME_FORM
) -> tuple[ExecutionStep, ...]:
    """Every step in execution order.

    Args:
        quantized: The model.
        layers: Of its integer segments, in order.
        forms: How units hold integers.
    """
    return tuple(_Steps(quantized, layers, forms).build())


_Held = tuple[str, Hashable]
"""A tensor in a form."""


class _Steps:
    def __init__(
        self, quantized: QuantizedGraph, layers: Sequence[UnitLayers], forms: Forms
    ) -> None:
        self._quantized, self._forms = quantized, forms
        self._layers = {part.segment.name: part for part in layers}
        self._entering, self._leaving = quantized.entering(forms), quantized.leaving()
        self._form_of = {part.name: forms.get(part.unit) for part in quantized.unit_segments()}
        parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
        self._host = HostSteps(quantized, self._entering)
        # The CPU works on the integers of one form alone.
        self._host_form = forms.get(parts[0].unit) if parts else None
        self._in_numbers = {
            part.name for part in quantized.unit_segments() if not isinstance(part, IntegerSegment)
        }
        borders = (name for part in parts for name in (*part.inputs, *part.outputs))
        self._borders = self._host.by_base(dict.fromkeys(borders))
        self._count = 0
        # The step after which a tensor is there, in float and in int8 of a form.
        self._floats: dict[str, int] = {}
        self._integers: dict[_Held, int] = {}
        # Concatenations run no program: what is read of one was written by several.
        self._parts: dict[_Held, tuple[str, ...]] = {}

    def build(self) -> Iterator[ExecutionStep]:
        for part in self._quantized.segments:
            if isinstance(part, FloatSegment) and not part.unit:
                for item in self._host.of(part):
                    yield self._of_host(part.name, item)
                continue
            yield from self._unit_segment(part)

    def _of_host(self, segment: str, item: HostStep) -> ExecutionStep:
        form = self._host_form
        after = {*self._known(self._floats, item.reads), *self._written(item.reads_integers, form)}
        self._floats |= dict.fromkeys(item.writes, self._count)
        self._integers |= {(name, form): self._count for name in item.writes_integers}
        touched = self._host.touched(item, self._borders)
        step = self._step(segment, item.name, item.kind, tuple(sorted(after)))
        return replace(step, host=item, touched=touched)

    def _unit_segment(self, part: IntegerSegment | FloatSegment) -> Iterator[ExecutionStep]:
        layers, form = self._layers[part.name].layers, self._form_of[part.name]
        if isinstance(part, IntegerSegment):
            self._find_parts(part.operators, {layer.operator.name for layer in layers}, form)
        for entry in self._entering[part.name]:
            name, source = entry.name, entry.source
            is_integer = isinstance(part, IntegerSegment)
            if source in self._in_numbers and is_integer and self._host.reads_integers(name):
                source = None  # the CPU makes integers of it for its own work, too
            kind = JobKind.QUANTIZE if source is None else JobKind.CONVERT
            if source is None and is_integer and not self._host.enters_from_float(name):
                continue
            if source is None:
                after = self._known(self._floats, (name,))
            else:
                after = self._written((name,), self._form_of[source])
            self._integers[name, form] = self._count
            yield self._step(part.name, name, kind, after, unit=part.unit, source=source or "")
        for layer in layers:
            operator = layer.operator
            after = self._written(tensors_read(operator), form)
            self._integers |= {(n, form): self._count for n in tensors_written(operator)}
            yield self._step(part.name, operator.name, JobKind.PROGRAM, after, layer, part.unit)
        if isinstance(part, FloatSegment):
            self._look_through(part.graph, form)
        for name in self._leaving[part.name]:
            if isinstance(part, FloatSegment) or self._host.leaves_in_float(name):
                after = self._written((name,), form)
                self._floats[name] = self._count
                yield self._step(part.name, name, JobKind.DEQUANTIZE, after, unit=part.unit)

    def _look_through(self, graph: Graph, form: Hashable) -> None:
        """What leaves a part in another shape than it was written in is there as soon."""
        for node in graph.nodes:
            written = self._integers.get((node.inputs[0], form)) if node.inputs else None
            if node.op in VIEW_OPERATORS and written is not None:
                self._integers.setdefault((node.output, form), written)

    def _step(
        self,
        segment: str,
        name: str,
        kind: JobKind,
        after: tuple[int, ...],
        layer: UnitLayer | None = None,
        unit: str = "",
        source: str = "",
    ) -> ExecutionStep:
        self._count += 1
        return ExecutionStep(segment, name, kind, after, layer, unit, source)

    def _find_parts(
        self, operators: Iterable[IntegerOperator], launched: set[str], form: Hashable
    ) -> None:
        for operator in operators:
            if isinstance(operator, IntegerConcat):
                copies = [
                    f"{operator.output}/concat-copy{position}"
                    for position in range(len(operator.inputs))
                ]
                self._parts[operator.output, form] = tuple(
                    copy if copy in launched else name
                    for copy, name in zip(copies, operator.inputs, strict=True)
                )

    def _written(self, names: Iterable[str], form: Hashable) -> tuple[int, ...]:
        """Steps that write int8 tensors in a form, through concatenations."""
        found: set[int] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if (name, form) in self._parts:
                pending += self._parts[name, form]
            elif (name, form) in self._integers:
                found.add(self._integers[name, form])
        return tuple(sorted(found))

    @staticmethod
    def _known(writers: dict[str, int], names: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted({writers[name] for name in names if name in writers}))
