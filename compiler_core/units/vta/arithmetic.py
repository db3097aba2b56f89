"""What VTA cores compute: the facet :class:`~compiler_core.quantize.arithmetic.Arithmetics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.arithmetic import IntegerTraits, OperatorWindow
from compiler_core.quantize.layout import Chw
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.skeleton import Step
from compiler_core.units.vta.legality.step_parts import parts_of
from compiler_core.units.vta.legality.window_limits import (
    LARGEST,
    BufferLimits,
    buffer_limits,
    window_misfit,
)
from compiler_core.units.vta.machine.hardware import INT8_BITS, VtaCore
from compiler_core.units.vta.operators import CHANNEL_BLOCK, is_product, is_spread, unsupported
from compiler_core.units.vta.schemes import unsupported_scheme


@dataclass(frozen=True)
class VtaArithmetic:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetic`.

    Attributes:
        limits: Of the buffers.
        lanes: Channels that lie together in memory.
        weight_bits: Of a weight.
        halves: Input vectors that an output vector is.
    """

    limits: BufferLimits = LARGEST
    lanes: int = CHANNEL_BLOCK
    weight_bits: int = INT8_BITS
    halves: int = 1

    @property
    def kind(self) -> str:
        return VtaCore.kind

    @property
    def traits(self) -> IntegerTraits:
        return IntegerTraits(self.lanes, weights=f"int{self.weight_bits}")

    @property
    def general(self) -> VtaArithmetic:
        return replace(self, limits=LARGEST)

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        loads = self.weight_bits == INT8_BITS and self.lanes == CHANNEL_BLOCK
        if not loads and is_product(graph, node):
            return (
                "Products of two activations need weights of 8 bits, which activations are, and "
                f"vectors of {CHANNEL_BLOCK} channels. MatMul '{node.name}': weights of "
                f"{self.weight_bits} bits, vectors of {self.lanes}."
            )
        if self.lanes != CHANNEL_BLOCK and is_spread(graph, node):
            return (
                f"Only vectors of {CHANNEL_BLOCK} channels are added to activations of other "
                f"shapes. Add '{node.name}': vectors of {self.lanes}."
            )
        if self.lanes != CHANNEL_BLOCK and node.op == "DepthToSpace":
            return (
                f"Only vectors of {CHANNEL_BLOCK} channels are stored side by side. DepthToSpace "
                f"'{node.name}': vectors of {self.lanes}."
            )
        key = (__name__, node.name, self.lanes)
        known = graph.derived.get(key)
        if known is None or known[0] is not node:
            known = graph.derived[key] = (node, unsupported(graph, node, self.lanes))
        reason: str | None = known[1]
        return reason

    def unsupported_scheme(
        self, graph: Graph, node: Node, scheme: QuantizationScheme
    ) -> str | None:
        return unsupported_scheme(graph, node, scheme)

    def misfit(self, window: OperatorWindow) -> str | None:
        halves = self.halves
        if halves > 1:  # a pixel is several input vectors
            kernel, image = window.kernel, window.image
            window = replace(
                window,
                kernel=(kernel[0], halves * kernel[1]),
                image=(image[0], halves * image[1]),
            )
        return window_misfit(window, self.limits)

    def parts(
        self, step: Step, source: Chw, result: Chw, fresh: Callable[[str], str]
    ) -> Iterator[tuple[Step, Chw]]:
        return parts_of(step, source, result, fresh, self.lanes)


class VtaArithmetics:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetics`."""

    def of(self, machine: VtaCore | None) -> VtaArithmetic:
        if machine is None:
            return VtaArithmetic()
        geometry = machine.geometry
        limits = buffer_limits(machine)
        return VtaArithmetic(limits, geometry.lanes, geometry.weight_bits, geometry.halves)


ARITHMETICS = VtaArithmetics()
