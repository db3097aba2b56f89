"""What the CPU does beside integer operators: operators in float, loops on integers, and the
conversions between the two that no border of another unit does already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.graph.ir import Node
from compiler_core.graph.order import reads
from compiler_core.quantize.ir import (
    Entering,
    FloatSegment,
    HostGroup,
    IntegerSegment,
    QuantizedGraph,
)
from compiler_core.system.jobs import JobKind


@dataclass(frozen=True)
class HostStep:
    """One stretch of work of the CPU in one of its segments.

    Attributes:
        name: Of the node, of the group, or of the tensor that is converted.
        kind: What it does.
        reads, writes: Tensors in float, by name.
        reads_integers, writes_integers: Those in integers.
        group: The loop on integers that it is.
        node: The operator in float that it is; also one that looks at integers in another shape.
    """

    name: str
    kind: JobKind
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reads_integers: tuple[str, ...] = ()
    writes_integers: tuple[str, ...] = ()
    group: HostGroup | None = None
    node: Node | None = None


class HostSteps:
    """Steps of the CPU, segment by segment in execution order.

    Args:
        quantized: The model.
        entering: What is brought into the form of each unit's segment, by name of the segment.
    """

    def __init__(
        self, quantized: QuantizedGraph, entering: Mapping[str, Sequence[Entering]]
    ) -> None:
        self._quantized, self._host = quantized, quantized.host
        self._entering = entering
        parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
        self._unit_writes = {
            self._host.base(operator.output) for part in parts for operator in part.operators
        }
        self._aliases: dict[str, list[str]] = {}
        for part in parts:
            for operator in part.operators:
                names = self._aliases.setdefault(self._host.base(operator.output), [])
                names.append(operator.output)
        self._unit_reads = {name for part in parts for name in part.inputs}
        # Bases that lie as integers from the start, and those that the CPU has made so.
        self._held = self._unit_writes | self._host.written
        self._converted: set[str] = set()
        self._read = {self._host.base(n) for group in self._host.groups for n in group.inputs}
        self._floats, self._integers = self._wanted()

    def _wanted(self) -> tuple[set[str], set[str]]:
        """Tensors that are read in float, and views of integers that another unit reads."""
        floats, integers = set(self._quantized.source.outputs), set[str]()
        nodes = [
            node
            for part in self._quantized.segments
            if isinstance(part, FloatSegment) and not part.unit
            for node in part.priced.nodes
        ]
        # Units with numbers of their own take what others hold in another form from that.
        for part in self._quantized.segments:
            if isinstance(part, FloatSegment) and part.unit:
                entries = self._entering[part.name]
                floats |= {entry.name for entry in entries if entry.source is None}
        for name in self._unit_reads:
            (integers if self._host.base(name) in self._held else floats).add(name)
        for node in reversed(nodes):
            if node.name in self._host.of_node:  # a loop looks at integers in any shape by itself
                continue
            if not self._is_view(node):
                floats |= reads(node)
            else:
                if node.output in floats:
                    floats.add(node.inputs[0])
                if node.output in integers:
                    integers.add(node.inputs[0])
        return floats, integers

    def _is_view(self, node: Node) -> bool:
        return bool(self._host.groups) and self._host.base(node.output) != node.output

    def leaves_in_float(self, tensor: str) -> bool:
        """Whether a tensor that another unit writes is dequantized at its border."""
        return tensor in self._quantized.views and (not self._host.groups or tensor in self._floats)

    def enters_from_float(self, tensor: str) -> bool:
        """Whether a tensor that another unit reads, and none wrote, is quantized at its border; to
        be asked once per border, in execution order."""
        if not self._host.groups:
            return True
        if self._host.base(tensor) in self._held or tensor in self._converted:
            return False
        self._converted.add(tensor)
        return True

    def reads_integers(self, tensor: str) -> bool:
        """Whether a loop reads a tensor, in whatever shape."""
        return self._host.base(tensor) in self._read

    def of(self, part: FloatSegment) -> Iterator[HostStep]:
        """Steps of one segment; segments have to be asked once, in execution order."""
        last = {group.name: group for group in self._host.groups}
        for node in part.priced.nodes:
            if node.name in last:
                yield from self._group(last[node.name])
            elif node.name in self._host.of_node:
                continue
            elif self._is_view(node):
                yield from self._view(node)
            else:
                yield _in_float(node)

    def _view(self, node: Node) -> Iterator[HostStep]:
        if node.output in self._integers:
            names = self._names(node.inputs[0]), (node.output,)
            yield HostStep(node.name, JobKind.OPERATOR, (), (), *names, node=node)
        if node.output in self._floats:
            yield _in_float(node)

    def _group(self, group: HostGroup) -> Iterator[HostStep]:
        for name in group.inputs:
            yield from self._as_integers(name)
        found = dict.fromkeys(other for name in group.inputs for other in self._names(name))
        names = tuple(found), group.outputs
        yield HostStep(group.name, JobKind.OPERATOR, (), (), *names, group=group)
        for name in group.outputs:
            if name in self._floats:
                yield HostStep(name, JobKind.DEQUANTIZE, (), (name,), (name,))

    def _as_integers(self, tensor: str) -> Iterator[HostStep]:
        """The conversion of a tensor that nobody writes as integers, before its first reader."""
        base = self._host.base(tensor)
        if base not in self._held and base not in self._converted:
            self._converted.add(base)
            yield HostStep(base, JobKind.QUANTIZE, (base,), (), (), (base,))

    def _names(self, tensor: str) -> tuple[str, ...]:
        """All names under which somebody may have written what ``tensor`` is a view of."""
        base = self._host.base(tensor)
        return tuple(dict.fromkeys((tensor, base, *self._aliases.get(base, ()))))

    def by_base(self, names: Iterable[str]) -> Mapping[str, Sequence[tuple[int, str]]]:
        """Tensors with their positions, by what they are views of."""
        found: dict[str, list[tuple[int, str]]] = {}
        for at, name in enumerate(names):
            found.setdefault(self._host.base(name), []).append((at, name))
        return found

    def touched(
        self, step: HostStep, tensors: Mapping[str, Sequence[tuple[int, str]]]
    ) -> tuple[str, ...]:
        """Which tensors of other units' memories, as of :meth:`by_base`, a step reads or writes, in
        their order."""
        used = (*step.reads_integers, *step.writes_integers)
        bases = {self._host.base(name) for name in used}
        return tuple(name for _, name in sorted(t for base in bases for t in tensors.get(base, ())))


def _in_float(node: Node) -> HostStep:
    written = tuple(filter(None, node.outputs))
    return HostStep(node.name, JobKind.OPERATOR, tuple(sorted(reads(node))), written, node=node)
