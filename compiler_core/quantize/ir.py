"""The quantized graph: integer operators that an NPU runs, between float parts that the CPU runs.

Tensors of integer operators are logically ``int8[N, C, H, W]`` with
``real = integer * 2**-exponent``. The operators and their bits:
:mod:`compiler_core.quantize.integer_operators`.

``N`` is what one run of the program computes: the model's fixed batch, 1 where it is dynamic. The
first axis of a graph tensor is always ``N``, so any number of samples is that many runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.graph.ir import Graph
from compiler_core.quantize.integer_operators import (
    ComputingOperator as ComputingOperator,
)
from compiler_core.quantize.integer_operators import (
    IntegerConcat as IntegerConcat,
)
from compiler_core.quantize.integer_operators import (
    IntegerConv as IntegerConv,
)
from compiler_core.quantize.integer_operators import (
    IntegerMaxPool as IntegerMaxPool,
)
from compiler_core.quantize.integer_operators import (
    IntegerOperator as IntegerOperator,
)
from compiler_core.quantize.integer_operators import (
    IntegerProduct as IntegerProduct,
)
from compiler_core.quantize.integer_operators import (
    IntegerTranspose as IntegerTranspose,
)
from compiler_core.quantize.integer_operators import (
    integers_read as integers_read,
)


@dataclass(frozen=True)
class QuantizedTensor:
    """An int8 tensor of integer operators.

    Attributes:
        name: Name of the graph tensor it stands for (a view of it where the shapes differ).
        shape: ``(N, C, H, W)``.
        exponent: ``real = integer * 2**-exponent``; may be negative.
    """

    name: str
    shape: tuple[int, int, int, int]
    exponent: int


@dataclass(frozen=True)
class TensorView:
    """How a graph tensor lies over the ``[N, C, H, W]`` tensor of integer operators.

    ``nchw = graph_tensor.reshape(split).transpose(permutation).reshape(N, C, H, W)``. ``split`` and
    ``permutation`` keep the first axis, ``N``, in its place. With ``padded`` sizes, zeros fill the
    axes up to them behind the transposition.
    """

    split: tuple[int, ...]
    permutation: tuple[int, ...]
    padded: tuple[int, ...] = field(default=(), metadata={ONLY_WHERE_OTHER: True})

    @property
    def permuted(self) -> tuple[int, ...]:
        """Sizes behind the transposition, before they are padded."""
        return tuple(self.split[axis] for axis in self.permutation)


@dataclass(frozen=True)
class NumberUnit:
    """A unit that computes parts of a model in numbers of its own.

    Attributes:
        name: Of the unit.
        kind: Of it, whose facet ``numbers`` says what these numbers are.
        number: Name of the format.
        machine: The unit itself.
    """

    name: str
    kind: str
    number: str
    machine: Any


@dataclass(frozen=True)
class NodeOperator:
    """A node of the float graph as an operator of a unit with numbers of its own.

    Attributes:
        name: Of the node, and which launch of it this is.
        inputs: Tensors that it reads, looked at through views; and what it goes on from.
        outputs: Tensors that it writes; or what the next launch of the node goes on from.
        sources: Names of the nodes that it stands for.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class FloatSegment:
    """A run of nodes without an integer operator in between: onnxruntime on the CPU in float, or a
    unit in numbers of its own.

    Attributes:
        name: For people and file names.
        graph: The nodes with their constants; its inputs and outputs carry the names of the whole
            model's tensors. Operators that compute in integers are written out over floats that
            hold those integers exactly.
        qdq: The same in QDQ form where operators compute in integers, else ``None``.
        planned: The operators of the model before those on integers were written out, where some
            are; see :attr:`priced`.
        number: The unit that runs them in numbers of its own; ``None`` for the CPU.
        residents: Inputs and outputs that stay in its memory from run to run: they cross nowhere.
    """

    name: str
    graph: Graph
    qdq: Graph | None = None
    planned: Graph | None = None
    number: NumberUnit | None = None
    residents: frozenset[str] = frozenset()

    @property
    def priced(self) -> Graph:
        """The part as it is planned and priced."""
        return self.graph if self.planned is None else self.planned

    @property
    def unit(self) -> str:
        """Name of that unit; empty for the CPU."""
        return "" if self.number is None else self.number.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors entering."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors leaving."""
        return self.graph.outputs


LaunchedOperator = ComputingOperator | NodeOperator
"""What a unit launches."""


def tensors_read(operator: LaunchedOperator) -> tuple[str, ...]:
    """What an operator that computes reads."""
    if isinstance(operator, NodeOperator):
        return operator.inputs
    return integers_read(operator)


def tensors_written(operator: LaunchedOperator) -> tuple[str, ...]:
    """What an operator that computes writes."""
    return operator.outputs if isinstance(operator, NodeOperator) else (operator.output,)


def tensors_of(operator: LaunchedOperator) -> tuple[str, ...]:
    """What an operator that computes reads and writes."""
    return (*tensors_read(operator), *tensors_written(operator))


@dataclass(frozen=True)
class IntegerSegment:
    """A run of integer operators without a CPU operator in between.

    Attributes:
        name: For people and file names.
        kind: Of the unit that runs it.
        operators: In topological order.
        inputs: Tensors entering: quantized from float by the CPU, or coming from another integer
            segment.
        outputs: Tensors leaving: dequantized by the CPU, or read by another integer segment.
        unit: Name of that unit; empty where it is called after its kind.
    """

    name: str
    kind: str
    operators: tuple[IntegerOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.unit:
            object.__setattr__(self, "unit", self.kind)


@dataclass(frozen=True)
class Entering:
    """A tensor that the CPU brings into the form of a unit.

    Attributes:
        name: Of it.
        source: Name of the integer segment that has computed it in another form; ``None`` where it
            is quantized from float.
    """

    name: str
    source: str | None


Forms = Mapping[str, Hashable]
"""How units hold integers, by name of the unit: those of equal forms read what others write."""

SAME_FORM: Forms = MappingProxyType({})


@dataclass(frozen=True)
class HostGroup:
    """Operators that are one loop.

    Attributes:
        name: Of the last one, or of the one behind which all others read what it writes.
        nodes: Names, in topological order.
        inputs: Tensors that they read and that are no constants, as they name them.
        outputs: Tensors that others read.
        is_table: Whether each result follows from one number, whatever its place: 256 entries.
        moves: Whether results are elements of the inputs.
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_table: bool
    moves: bool


@dataclass(frozen=True, eq=False)
class HostIntegers:
    """What the CPU computes on the integers of the unit beside it.

    The bits: :mod:`compiler_core.quantize.host_arithmetic`.

    Attributes:
        groups: Operators that are one loop, in topological order.
        tensors: What they read and write, by base tensor (see
            :func:`~compiler_core.quantize.host_groups.bases_of`).
        bases: What each tensor of the graph is a view of.
    """

    groups: tuple[HostGroup, ...] = ()
    tensors: Mapping[str, QuantizedTensor] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)

    def base(self, tensor: str) -> str:
        """What a tensor is a view of."""
        return self.bases.get(tensor, tensor)

    @cached_property
    def of_node(self) -> Mapping[str, HostGroup]:
        """The group of each node that is in one."""
        return {node: group for group in self.groups for node in group.nodes}

    @cached_property
    def written(self) -> frozenset[str]:
        """Bases that the groups write."""
        return frozenset(self.base(name) for group in self.groups for name in group.outputs)


@dataclass(frozen=True)
class QuantizedGraph:
    """A model split into float and integer segments, in execution order.

    Entering an integer segment, ``integer = clip(round_half_even(real * 2**exponent), -128, 127)``;
    leaving one, ``real = integer * 2**-exponent`` in float32.

    Attributes:
        source: The float graph that it was made from.
        segments: In execution order.
        tensors: Every int8 tensor by name.
        views: For every name in ``tensors`` that is also fed from or handed to float code: how the
            shapes relate.
        host: What the CPU computes on integers.
    """

    source: Graph
    segments: tuple[FloatSegment | IntegerSegment, ...]
    tensors: dict[str, QuantizedTensor]
    views: dict[str, TensorView]
    host: HostIntegers = field(default_factory=HostIntegers)

    def entering(self, forms: Forms = SAME_FORM) -> dict[str, tuple[Entering, ...]]:
        """Tensors that the CPU brings into the form of each unit's segment, by name of the segment:
        each tensor once per form, before the first segment that reads it so."""
        there: set[tuple[str, Hashable]] = set()
        written: dict[str, str] = {}
        found = {}
        for part in self.unit_segments():
            form, staying = forms.get(part.unit), _staying(part)
            found[part.name] = tuple(
                Entering(name, written.get(name))
                for name in part.inputs
                if (name, form) not in there and name not in staying
            )
            there |= {(name, form) for name in (*part.inputs, *part.outputs)}
            written |= dict.fromkeys(part.outputs, part.name)
        return found

    def entering_alone(self, forms: Forms = SAME_FORM) -> dict[str, frozenset[str]]:
        """Those of them that no other segment reads in that form, nor the CPU as integers, so that
        they may lie as the segment wants them, by its name."""
        parts = tuple(self.unit_segments())
        written: dict[str, Hashable] = {}
        for part in parts:
            written |= dict.fromkeys(_computed(part), forms.get(part.unit))
        readers = Counter((name, forms.get(part.unit)) for part in parts for name in part.inputs)
        found = {}
        for part in parts:
            form = forms.get(part.unit)
            found[part.name] = frozenset(
                name
                for name in part.inputs
                if readers[name, form] == 1
                and (name not in written or written[name] != form)
                and self.host.base(name) not in self.host.tensors
            )
        return found

    def leaving(self) -> dict[str, tuple[str, ...]]:
        """Tensors that the CPU brings from the form of each unit's segment into its own, by name of
        the segment."""
        parts = tuple(self.unit_segments())
        on_cpu = {
            name
            for part in self.segments
            if isinstance(part, FloatSegment) and not part.unit
            for name in part.inputs
        }
        # What only units with numbers of their own read is brought from form to form.
        numbers = {name for part in parts if isinstance(part, FloatSegment) for name in part.inputs}
        apart = numbers - on_cpu - set(self.source.outputs)
        return {
            part.name: tuple(
                name
                for name in part.outputs
                if name not in apart
                and name not in _staying(part)
                and (
                    name in self.views
                    if isinstance(part, IntegerSegment)
                    else name in on_cpu or name in self.source.outputs
                )
            )
            for part in parts
        }

    def unit_segments(self) -> Iterator[IntegerSegment | FloatSegment]:
        """The segments that units run."""
        return (part for part in self.segments if part.unit)


def _staying(part: IntegerSegment | FloatSegment) -> frozenset[str]:
    return part.residents if isinstance(part, FloatSegment) else frozenset()


def _computed(part: IntegerSegment | FloatSegment) -> Iterator[str]:
    if isinstance(part, IntegerSegment):
        return (operator.output for operator in part.operators)
    return (name for node in part.graph.nodes for name in node.outputs)
