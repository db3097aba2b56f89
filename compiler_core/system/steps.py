"""The steps of a compiled model and what each has to wait for, before anybody knows how long they
take: CPU nodes, conversions at borders, launches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from compiler_core.graph.order import reads
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConcat,
    IntegerConv,
    IntegerOperator,
    IntegerSegment,
    QuantizedGraph,
)
from compiler_core.system.jobs import JobKind
from compiler_core.system.positions import Positions
from compiler_core.units.facets.programs import UnitLayer, UnitLayers


@dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Attributes:
        segment: Name of its segment.
        name: Of the node, the converted tensor or the layer.
        kind: What it does.
        after: Positions of the steps that write what it reads, ascending.
        layer: What it launches, where it is a program.
    """

    segment: str
    name: str
    kind: JobKind
    after: tuple[int, ...]
    layer: UnitLayer | None = None

    def position(self, positions: Positions) -> int:
        """Where it stands in the model."""
        if self.layer is not None:
            return positions.of_launch(self.layer.operator.output, self.layer.operator.sources)
        if self.kind is JobKind.OPERATOR:
            return positions.of_node(self.name)
        return positions.of_values(self.name)


def model_steps(quantized: QuantizedGraph, layers: Sequence[UnitLayers]) -> tuple[Step, ...]:
    """Every step in execution order.

    Args:
        quantized: The model.
        layers: Of its integer segments, in order.
    """
    return tuple(_Steps(quantized, layers).build())


class _Steps:
    def __init__(self, quantized: QuantizedGraph, layers: Sequence[UnitLayers]) -> None:
        self._quantized = quantized
        self._layers = {part.segment.name: part for part in layers}
        self._entering = quantized.entering()
        self._count = 0
        # The step after which a tensor is there, in float and in int8.
        self._floats: dict[str, int] = {}
        self._integers: dict[str, int] = {}
        # Concatenations run no program: what is read of one was written by several.
        self._parts: dict[str, tuple[str, ...]] = {}

    def build(self) -> Iterator[Step]:
        for part in self._quantized.segments:
            if isinstance(part, FloatSegment):
                for node in part.graph.nodes:
                    after = self._known(self._floats, reads(node))
                    self._floats |= dict.fromkeys(node.outputs, self._count)
                    yield self._step(part.name, node.name, JobKind.OPERATOR, after)
                continue
            yield from self._integer_segment(part)

    def _integer_segment(self, part: IntegerSegment) -> Iterator[Step]:
        layers = self._layers[part.name].layers
        self._find_parts(part.operators, {layer.operator.name for layer in layers})
        for name in self._entering[part.name]:
            after = self._known(self._floats, (name,))
            self._integers[name] = self._count
            yield self._step(part.name, name, JobKind.QUANTIZE, after)
        for layer in layers:
            operator = layer.operator
            residual = operator.residual if isinstance(operator, IntegerConv) else None
            names = (operator.input,) if residual is None else (operator.input, residual)
            after = self._written(names)
            self._integers[operator.output] = self._count
            yield self._step(part.name, operator.name, JobKind.PROGRAM, after, layer)
        for name in part.outputs:
            if name in self._quantized.views:
                after = self._written((name,))
                self._floats[name] = self._count
                yield self._step(part.name, name, JobKind.DEQUANTIZE, after)

    def _step(
        self,
        segment: str,
        name: str,
        kind: JobKind,
        after: tuple[int, ...],
        layer: UnitLayer | None = None,
    ) -> Step:
        self._count += 1
        return Step(segment, name, kind, after, layer)

    def _find_parts(self, operators: Iterable[IntegerOperator], launched: set[str]) -> None:
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

    def _written(self, names: Iterable[str]) -> tuple[int, ...]:
        """Steps that write int8 tensors, through concatenations."""
        found: set[int] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in self._parts:
                pending += self._parts[name]
            elif name in self._integers:
                found.add(self._integers[name])
        return tuple(sorted(found))

    @staticmethod
    def _known(writers: dict[str, int], names: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted({writers[name] for name in names if name in writers}))
