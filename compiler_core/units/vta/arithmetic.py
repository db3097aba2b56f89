"""What VTA cores compute: the facet :class:`~compiler_core.quantize.arithmetic.Arithmetics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.operators import CHANNEL_BLOCK, unsupported
from compiler_core.units.vta.schemes import unsupported_scheme

_TRAITS = IntegerTraits(CHANNEL_BLOCK)


@dataclass(frozen=True)
class VtaArithmetic:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetic`.

    Attributes:
        limits: Of the buffers.
    """

    limits: BufferLimits = LARGEST

    @property
    def kind(self) -> str:
        return VtaCore.kind

    @property
    def traits(self) -> IntegerTraits:
        return _TRAITS

    @property
    def general(self) -> VtaArithmetic:
        return VtaArithmetic()

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        return unsupported(graph, node)

    def unsupported_scheme(
        self, graph: Graph, node: Node, scheme: QuantizationScheme
    ) -> str | None:
        return unsupported_scheme(graph, node, scheme)

    def misfit(self, window: OperatorWindow) -> str | None:
        return window_misfit(window, self.limits)

    def parts(
        self, step: Step, source: Chw, result: Chw, fresh: Callable[[str], str]
    ) -> Iterator[tuple[Step, Chw]]:
        return parts_of(step, source, result, fresh)


class VtaArithmetics:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetics`."""

    def of(self, machine: VtaCore | None) -> VtaArithmetic:
        return VtaArithmetic() if machine is None else VtaArithmetic(buffer_limits(machine))


ARITHMETICS = VtaArithmetics()
