"""Which operators of a model are tasks of the unit: the facet
:class:`~compiler_core.quantize.arithmetic.Arithmetics`.

The unit computes in bfloat16. Quantization knows integers alone, so that a model's integer dense
layers stand for the products that they are; what is asked here is whether they are such products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.windows import sample_shape
from compiler_core.quantize.arithmetic import (
    Arithmetic,
    IntegerTraits,
    OperatorWindow,
    usual_arithmetic,
)
from compiler_core.quantize.layout import Chw
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.skeleton import Step
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.operators.products import MOST_ROWS

_PRODUCTS = ("Dense", "MatMul", "Gemm")


@dataclass(frozen=True)
class AimArithmetic:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetic`."""

    @property
    def kind(self) -> str:
        return AimMachine.kind

    @property
    def traits(self) -> IntegerTraits:
        return IntegerTraits(channel_block=1)

    @property
    def general(self) -> AimArithmetic:
        return self

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        if node.op not in _PRODUCTS:
            return f"{node.op} is no product of a matrix that lies in the banks."
        shape = sample_shape(graph, node.inputs[0]) or ()
        rows = 1
        for extent in shape[:-1]:
            rows *= extent
        if rows > MOST_ROWS:
            return f"A product of {rows} rows does not pay in memory; at most {MOST_ROWS} are run."
        return _usual().unsupported(graph, node)

    def unsupported_scheme(
        self, graph: Graph, node: Node, scheme: QuantizationScheme
    ) -> str | None:
        return _usual().unsupported_scheme(graph, node, scheme)

    def misfit(self, window: OperatorWindow) -> str | None:
        del window
        return None

    def parts(
        self, step: Step, source: Chw, result: Chw, fresh: Callable[[str], str]
    ) -> Iterator[tuple[Step, Chw]]:
        del source, fresh
        yield step, result


class AimArithmetics:
    """See :class:`~compiler_core.quantize.arithmetic.Arithmetics`."""

    def of(self, machine: AimMachine | None) -> AimArithmetic:
        del machine
        return AimArithmetic()


ARITHMETICS = AimArithmetics()


def _usual() -> Arithmetic:
    """What integers and their layout ask of a node, whoever computes it."""
    return usual_arithmetic()
