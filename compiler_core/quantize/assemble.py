"""From a graph and an assignment to a skeleton: fused groups, layouts, views, segments.

Nodes are visited in topological order. An NPU node asks for its inputs in the layout it needs: an
image ``[N, C, H, W]``, or pixels ``[N, ..., K]`` with the features as channels. A tensor of float
code is laid out as its first reader wants it; later readers have to agree, or run on the CPU. One
that takes any order wants the layout that the tensor has where everything runs on the NPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS, clip_limits, pad_amounts, slice_steps
from compiler_core.graph.windows import window_of
from compiler_core.quantize.arithmetic import OperatorWindow, usual_arithmetic
from compiler_core.quantize.blocks import Reals
from compiler_core.quantize.layout import (
    Chw,
    Index,
    Placement,
    compact,
    pixel_index,
    pixels_of,
)
from compiler_core.quantize.layouts import Layouts, MisfitError, NoRoomError
from compiler_core.quantize.skeleton import (
    ConcatStep,
    ConvKind,
    ConvStep,
    PoolStep,
    Skeleton,
    Step,
)
from compiler_core.quantize.skeleton_borders import with_borders
from compiler_core.quantize.unit_arithmetics import (
    Computing,
    UnitArithmetics,
    unit_arithmetics,
)
from compiler_core.units.names import CPU
from compiler_core.units.numbers import numbers_of

__all__ = ["CPU", "assemble", "roomy_units", "without_room"]

_Floats = npt.NDArray[np.float64]


def assemble(
    graph: Graph, assignment: Mapping[str, str], arithmetic: Computing | None = None
) -> Skeleton:
    """Build the skeleton.

    Args:
        graph: The float graph, simplified.
        assignment: Place of every node name; which core of a unit makes no difference.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Raises:
        InputError: A node has no unit, an unknown one, or one that cannot run it.
    """
    units = unit_arithmetics(arithmetic)
    builder = _Assembler(graph, _usual_placements(graph, assignment, units), units)
    for node in graph.nodes:
        unit = units.unit_of(assignment.get(node.name), node.name)
        own = None if unit is None else units.other(unit)
        if own is not None:
            reason = numbers_of(own.kind).unsupported(graph, node)
        else:
            reason = None if unit is None else units[unit].unsupported(graph, node)
        if reason is not None:
            raise InputError(
                f"node {node.name!r} cannot run on {unit!r}: {reason}",
                hint=f"assign it to {CPU!r}",
            )
        builder.add(node, unit)
    return builder.skeleton()


def _usual_placements(
    graph: Graph, assignment: Mapping[str, str], units: UnitArithmetics
) -> Mapping[str, Placement]:
    """Where tensors lie when every node runs on an NPU that can."""
    able = {node.name: units.able(graph, node) for node in graph.nodes}
    if all(units.is_integer(assignment.get(name)) for name, own in able.items() if own):
        return {}
    builder = _Assembler(graph, {}, units.general)
    for node in graph.nodes:
        builder.add(node, next(iter(able[node.name]), None))
    return builder.placements


def without_room(
    graph: Graph, arithmetic: Computing, assignment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Nodes that no schedule fits on one machine, though one fits others of its kind, and why.

    Args:
        graph: Simplified.
        arithmetic: Of the machines.
        assignment: Place of every node name; by default all on the first NPU that can run it and
            where it has room.
    """
    return roomy_units(graph, arithmetic, assignment)[1]


def roomy_units(
    graph: Graph, arithmetic: Computing, assignment: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """The first unit on which each node has room, and why others, which units can run, have none.

    Args:
        graph, arithmetic, assignment: As for :func:`without_room`.
    """
    units, found, given = unit_arithmetics(arithmetic), dict[str, str](), assignment or {}
    left = {node.name: list(units.able(graph, node)) for node in graph.nodes}
    for name, place in given.items():
        unit = units.unit_of(place, name)
        left[name] = [own for own in left.get(name, []) if own == unit]
    if units == units.general:
        return {name: own[0] for name, own in left.items() if own}, found
    usual = _usual_placements(graph, given, units)
    while True:
        # What an operator had taken in is on its own beside one that left, and may not fit either.
        builder = _Assembler(graph, usual, units)
        for node in graph.nodes:
            builder.add(node, next(iter(left[node.name]), None))
        fresh = builder.without_room
        if not fresh:
            return {name: own[0] for name, own in left.items() if own}, found
        for name, reason in fresh.items():
            left[name].pop(0)
            if not left[name]:
                found[name] = reason


class _Assembler:
    def __init__(
        self, graph: Graph, usual: Mapping[str, Placement], units: UnitArithmetics
    ) -> None:
        self._graph, self._units = graph, units
        # Of the node that is visited.
        self._unit, self._arithmetic = next(iter(units.units), ("", usual_arithmetic()))
        self.without_room: dict[str, str] = {}
        self._layouts = Layouts(graph, usual)
        self._steps: list[Step] = []
        self._cpu: list[Node] = []
        self._elsewhere: dict[str, str] = {}
        """Units with numbers of their own, by name of the node."""
        self._reasons: dict[str, str] = {}
        self._concatenated: set[tuple[str, str]] = set()
        self._readers: dict[str, int] = {}
        self._credited: set[str] = set()
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name] = self._readers.get(name, 0) + 1
        for name in graph.outputs:
            self._readers[name] = self._readers.get(name, 0) + 1

    @property
    def placements(self) -> Mapping[str, Placement]:
        """Where the tensors of the visited nodes lie."""
        return self._layouts.placements

    def skeleton(self) -> Skeleton:
        """What the visited nodes became."""
        kinds = {name: own.kind for name, own in self._units.units}
        return with_borders(
            self._graph,
            self._layouts,
            self._steps,
            self._cpu,
            self._reasons,
            kinds,
            self._elsewhere,
            self._units.others,
        )

    def add(self, node: Node, unit: str | None) -> None:
        """Visit one node, which runs on a unit, or on the CPU."""
        if unit is not None and self._units.other(unit) is not None:
            self._elsewhere[node.name] = unit
            unit = None
        if unit is None:
            self._cpu.append(node)
            return
        if node.op in VIEW_OPERATORS:
            if node.clip is None:
                self._layouts.views[node.output] = node
            else:
                self._leave(node, "a clamp after a view needs an operator of its own")
            return
        self._unit, self._arithmetic = unit, self._units[unit]
        try:
            _HANDLERS[node.op](self, node)
        except NoRoomError as misfit:
            self.without_room[node.name] = str(misfit)
            self._leave(node, str(misfit))
        except MisfitError as misfit:
            self._leave(node, str(misfit))

    def _leave(self, node: Node, reason: str) -> None:
        self._cpu.append(node)
        self._reasons[node.name] = reason

    # Steps ---------------------------------------------------------------------------------------

    def _sources(self, node: Node) -> tuple[str, ...]:
        """The node and the views that its inputs pass through, each view named once."""
        names = [node.name]
        for tensor in node.inputs:
            while tensor in self._layouts.views:
                view = self._layouts.views[tensor]
                if view.name not in self._credited:
                    self._credited.add(view.name)
                    names.insert(0, view.name)
                tensor = view.inputs[0]
        return tuple(names)

    def _emit(self, step: Step, output: str, chw: Chw, index: Index | None = None) -> None:
        source = self._layouts.placements[step.inputs[0]].chw
        before = len(self._steps)
        try:
            for part, shape in self._arithmetic.parts(step, source, chw, self._fresh):
                if isinstance(part, ConvStep):
                    part = replace(part, levels=self._arithmetic.traits.weight_levels)
                self._require_room(part)
                self._steps.append(replace(part, unit=self._unit))
                self._layouts.placements[part.output] = Placement(part.output, shape, None)
        except NoRoomError:
            for part in self._steps[before:]:
                del self._layouts.placements[part.output]
            del self._steps[before:]
            raise
        self._layouts.placements[output] = Placement(output, chw, index)

    def _require_room(self, step: Step) -> None:
        """Leaves an operator to the CPU that no schedule fits."""
        if isinstance(step, ConcatStep):
            return
        shared = isinstance(step, PoolStep) or step.kind in (ConvKind.AVERAGE, ConvKind.ADD)
        pool = isinstance(step, PoolStep)
        kernel = step.kernel if isinstance(step, PoolStep) else step.weight.shape[2:]
        outputs = 1 if isinstance(step, PoolStep) else step.weight.shape[0]
        window = OperatorWindow(
            (kernel[0], kernel[1]),
            step.dilations,
            self._layouts.placements[step.input].chw[1:],
            distinct_weights=not shared,
            compares=pool,
            whole=isinstance(step, ConvStep) and step.kind is ConvKind.COPY,
            outputs=outputs,
        )
        misfit = self._arithmetic.misfit(window)
        if misfit is not None:
            raise NoRoomError(f"no schedule fits '{step.name}': {misfit}")

    def _fresh(self, name: str) -> str:
        while name in self._graph.types or name in self._layouts.placements:
            name += "_"
        return name

    def _producer(self, tensor: str) -> ConvStep | None:
        """The convolution of the same unit that writes root ``tensor`` for one reader, without
        clamp or residual."""
        if self._readers.get(tensor, 0) != 1:
            return None
        for step in reversed(self._steps):
            if step.output == tensor:
                plain = isinstance(step, ConvStep) and step.clip is None and step.residual is None
                own = plain and step.unit == self._unit
                return step if own and isinstance(step, ConvStep) else None
        return None

    def _depthwise(
        self,
        node: Node,
        source: Placement,
        kind: ConvKind,
        *,
        kernel: _Floats | None = None,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
    ) -> ConvStep:
        """One ``float64[kh, kw]`` kernel (default: 1) on every channel."""
        channels = source.chw[0]
        taps = np.ones((1, 1)) if kernel is None else kernel
        return ConvStep(
            name=node.name,
            kind=kind,
            input=source.root,
            output=node.output,
            weight=np.ascontiguousarray(np.broadcast_to(taps, (channels, 1, *taps.shape))),
            bias=np.zeros(channels),
            strides=strides,
            pads=pads,
            dilations=dilations,
            groups=channels,
            sources=self._sources(node),
            clip=node.clip,
        )

    def _image_out(self, tensor: str) -> Chw:
        shape = self._layouts.shape(tensor)
        return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])

    def conv(self, node: Node) -> None:
        """Conv."""
        window = window_of(self._graph, node)
        assert window is not None  # a rule of the operator
        groups = int(node.attributes.get("group", 1))
        weight = self._weight(node)
        weight = weight[:, :, None] if weight.ndim == 3 else weight
        if groups > 1:
            source = self._layouts.image(node.inputs[0])
        else:
            source, order = self._layouts.channels(node.inputs[0])
            if order is not None:
                weight = np.ascontiguousarray(weight[:, np.argsort(order)])
        step = ConvStep(
            name=node.name,
            kind=ConvKind.WEIGHTS,
            input=source.root,
            output=node.output,
            weight=weight,
            bias=self._bias(node, len(weight)),
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
            groups=groups,
            sources=self._sources(node),
            clip=node.clip,
        )
        self._emit(step, node.output, self._image_out(node.output))

    def _weight(self, node: Node) -> Reals:
        """The constant as it is where float64 would hold the same values."""
        constant = self._graph.constants[node.inputs[1]]
        exact = constant.dtype in (np.float32, np.float64)
        return np.asarray(constant, dtype=constant.dtype if exact else np.float64)

    def _bias(self, node: Node, outputs: int) -> _Floats:
        if len(node.inputs) < 3 or not node.inputs[2]:
            return np.zeros(outputs)
        bias = np.asarray(self._graph.constants[node.inputs[2]], dtype=np.float64)
        return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))

    def dense(self, node: Node) -> None:
        """Dense, MatMul, Gemm: a convolution over the layout that its input already has."""
        tensor = node.inputs[0]
        shape = self._layouts.shape(tensor)
        # A single pixel takes its features from wherever they lie.
        lay_out = self._layouts.prefer_usual if prod(shape[:-1]) == 1 else self._layouts.place
        source = lay_out(tensor, pixels_of(shape), pixel_index(shape))
        matrix = self._weight(node)
        matrix = matrix if node.attributes.get("transB") else matrix.T
        bias = self._bias(node, len(matrix))
        if node.op == "Gemm":
            alpha = np.float64(node.attributes.get("alpha", 1.0))
            matrix = matrix if alpha == 1.0 else matrix * alpha
            bias = bias * float(node.attributes.get("beta", 1.0))
        pixels = prod(shape[:-1])
        place = source.positions(shape).reshape(pixels, shape[-1])
        weight = matrix
        if pixels > 1 or not np.array_equal(place[0], np.arange(shape[-1])):
            weight = np.zeros_like(matrix)
        index: Index | None = None
        if pixels == 1:
            if weight is not matrix:
                weight[:, place[0]] = matrix
            weight, chw = weight.reshape(-1, *source.chw), (len(matrix), 1, 1)
        else:
            channel, pixel = place // pixels, place % pixels
            in_pixels = source.chw[0] == shape[-1] and (channel == channel[0]).all()
            if not in_pixels or not (pixel == pixel[:, :1]).all():
                raise MisfitError(f"the features of '{tensor}' are not its channels in memory")
            weight[:, channel[0]] = matrix
            weight, chw = weight[:, :, None, None], (len(matrix), *source.chw[1:])
            index = np.arange(len(matrix))[None, :] * pixels + pixel[:, :1]
            index = compact(index.reshape(*shape[:-1], len(matrix)))
        step = ConvStep(
            name=node.name,
            kind=ConvKind.WEIGHTS,
            input=source.root,
            output=node.output,
            weight=weight,
            bias=bias,
            strides=(1, 1),
            pads=(0, 0, 0, 0),
            dilations=(1, 1),
            groups=1,
            sources=self._sources(node),
            clip=node.clip,
        )
        self._emit(step, node.output, chw, index)

    def add_activations(self, node: Node) -> None:
        """Add: into the accumulator of the convolution that computes an operand, or on its own."""
        first, second = node.inputs
        if (
            self._layouts.placed(first) is None
            and (known := self._layouts.placed(second)) is not None
        ):
            left = self._layouts.place(first, known.chw, known.index)
        else:
            left = self._layouts.any_order(first)
        right = self._layouts.place(second, left.chw, left.index)
        if not left.same_order(right):
            raise MisfitError(f"'{first}' and '{second}' lie in memory in different orders")
        candidates = [
            (producer, other)
            for tensor, other in ((first, right), (second, left))
            if first != second and (producer := self._producer(tensor)) is not None
        ]
        if not candidates:
            alone = self._depthwise(node, left, ConvKind.ADD)
            step: ConvStep = replace(alone, residual=right.root)
        else:
            # The later one is on the main path of most networks.
            fused, other = max(candidates, key=lambda pair: self._steps.index(pair[0]))
            self._steps.remove(fused)
            del self._layouts.placements[fused.output]
            step = replace(
                fused,
                output=node.output,
                residual=other.root,
                clip=node.clip,
                sources=fused.sources + self._sources(node),
            )
        self._emit(step, node.output, left.chw, left.index)

    def max_pool(self, node: Node) -> None:
        """MaxPool."""
        window = window_of(self._graph, node)
        assert window is not None  # a rule of the operator
        source = self._layouts.image(node.inputs[0])
        step = PoolStep(
            name=node.name,
            input=source.root,
            output=node.output,
            kernel=window.kernel,
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
            sources=self._sources(node),
            clip=node.clip,
        )
        self._emit(step, node.output, self._image_out(node.output))

    def average_pool(self, node: Node) -> None:
        """AveragePool."""
        window = window_of(self._graph, node)
        assert window is not None  # a rule of the operator
        step = self._depthwise(
            node,
            self._layouts.image(node.inputs[0]),
            ConvKind.AVERAGE,
            kernel=np.full(window.kernel, 1.0 / prod(window.kernel)),
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
        )
        self._emit(step, node.output, self._image_out(node.output))

    def global_average_pool(self, node: Node) -> None:
        """GlobalAveragePool."""
        source, order = self._layouts.channels(node.inputs[0])
        kernel = np.full(source.chw[1:], 1.0 / prod(source.chw[1:]))
        step = self._depthwise(node, source, ConvKind.AVERAGE, kernel=kernel)
        index = None if order is None else compact(order.reshape(-1, 1, 1))
        self._emit(step, node.output, (source.chw[0], 1, 1), index)

    def concat(self, node: Node) -> None:
        """Concat: every input lies in the output; one that already lies elsewhere is copied."""
        sources = [self._layouts.image(tensor) for tensor in node.inputs]
        names = []
        for position, source in enumerate(sources):
            name = source.root
            if (self._unit, name) in self._concatenated:
                name = self._fresh(f"{node.output}/copy{position}")
                copy = self._depthwise(node, source, ConvKind.COPY)
                copy = replace(copy, name=f"{node.name}/copy{position}", output=name, clip=None)
                self._emit(copy, name, source.chw)
            self._concatenated.add((self._unit, name))
            names.append(name)
        height, width = sources[0].chw[1:]
        chw = (sum(source.chw[0] for source in sources), height, width)
        output = node.output if node.clip is None else self._fresh(f"{node.output}/concat")
        step = ConcatStep(node.name, tuple(names), output, self._sources(node))
        self._emit(step, output, chw)
        if node.clip is not None:
            clamp = self._depthwise(node, self._layouts.placements[output], ConvKind.COPY)
            clamp = replace(clamp, name=f"{node.name}/clip")
            self._emit(clamp, node.output, chw)

    def clamp(self, node: Node) -> None:
        """Relu, Clip."""
        limits = clip_limits(self._graph, node)
        assert limits is not None  # a rule of the operator
        if node.clip is not None:
            limits = max(node.clip[0], min(limits[0], node.clip[1])), min(limits[1], node.clip[1])
        source = self._layouts.any_order(node.inputs[0])
        step = replace(self._depthwise(node, source, ConvKind.COPY), clip=limits)
        self._emit(step, node.output, source.chw, source.index)

    def slice_image(self, node: Node) -> None:
        """Slice: a strided window whose last tap is the first pixel taken."""
        steps = slice_steps(self._graph, node)
        assert steps is not None  # a rule of the operator
        first, strides = steps
        kernel = np.zeros((first[0] + 1, first[1] + 1))
        kernel[-1, -1] = 1.0
        source = self._layouts.image(node.inputs[0])
        step = self._depthwise(node, source, ConvKind.COPY, kernel=kernel, strides=strides)
        self._emit(step, node.output, self._image_out(node.output))

    def pad_image(self, node: Node) -> None:
        """Pad: new channels are outputs without a weight; after a Slice both are one operator."""
        amounts = pad_amounts(self._graph, node)
        assert amounts is not None  # a rule of the operator
        before, after = amounts
        source = self._layouts.image(node.inputs[0])
        pads = (before[1], before[2], after[1], after[2])
        step = self._depthwise(node, source, ConvKind.COPY, pads=pads)
        if before[0] or after[0]:
            inner = self._producer(node.inputs[0])
            taps = np.ones((1, 1))
            if inner is not None and inner.kind is ConvKind.COPY and not any(pads):
                self._steps.remove(inner)
                del self._layouts.placements[inner.output]
                taps = inner.weight[0, 0]
                step = replace(
                    step,
                    input=inner.input,
                    strides=inner.strides,
                    pads=inner.pads,
                    sources=inner.sources + step.sources,
                )
            channels = source.chw[0]
            weight = np.zeros((before[0] + channels + after[0], channels, *taps.shape))
            weight[before[0] + np.arange(channels), np.arange(channels)] = taps
            step = replace(step, weight=weight, bias=np.zeros(len(weight)), groups=1)
        self._emit(step, node.output, self._image_out(node.output))


_HANDLERS: dict[str, Callable[[_Assembler, Node], None]] = {
    "Conv": _Assembler.conv,
    "Dense": _Assembler.dense,
    "MatMul": _Assembler.dense,
    "Gemm": _Assembler.dense,
    "Add": _Assembler.add_activations,
    "MaxPool": _Assembler.max_pool,
    "AveragePool": _Assembler.average_pool,
    "GlobalAveragePool": _Assembler.global_average_pool,
    "Concat": _Assembler.concat,
    "Relu": _Assembler.clamp,
    "Clip": _Assembler.clamp,
    "Slice": _Assembler.slice_image,
    "Pad": _Assembler.pad_image,
}
