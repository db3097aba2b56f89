"""Which integers a kind of unit computes, and which operators: the facet ``arithmetic``, which
kinds have that run parts of models.

Quantization is handed an :class:`Arithmetic`; where a caller has no target yet, it is that of the
kind that documents do not name, without the limits of any one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.layout import Chw
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.skeleton import Step
from compiler_core.units.registry import kind_of_machine, unnamed_kind
from compiler_core.units.unit import Machine


class RequantizationForm(Enum):
    """How an accumulator becomes an element of the output again."""

    SHIFT = "a right shift"
    MULTIPLIER_AND_SHIFT = "a fixed-point multiplier and a right shift"
    FLOAT = "a floating-point factor"


@dataclass(frozen=True)
class IntegerTraits:
    """The numbers of a unit.

    Attributes:
        channel_block: Channels that lie together in memory; concatenation places whole blocks.
        requantization: From accumulators to elements.
        activations, weights, accumulators: Element types, as NumPy names them.
    """

    channel_block: int
    requantization: RequantizationForm = RequantizationForm.SHIFT
    activations: str = "int8"
    weights: str = "int8"
    accumulators: str = "int32"

    @property
    def weight_levels(self) -> int:
        """The largest weight; the smallest is its negative."""
        return (1 << (int(self.weights.removeprefix("int")) - 1)) - 1


@dataclass(frozen=True)
class OperatorWindow:
    """What one output of an integer operator reads.

    Attributes:
        kernel, dilations: ``(h, w)``.
        image: Rows and columns of the input; padding is never loaded.
        distinct_weights: Whether each tap has weights of its own.
        compares: Whether the pixels are compared (a max pool) rather than multiplied.
        whole: Whether it is never cut: a copy of one tap is not worth steps of all the others.
        outputs: Output channels.
    """

    kernel: tuple[int, int]
    dilations: tuple[int, int]
    image: tuple[int, int]
    distinct_weights: bool
    compares: bool
    outputs: int
    whole: bool = False


class Arithmetic(Protocol):
    """What a unit can compute; a frozen value, equal for machines of equal limits.

    Attributes:
        kind: Name of its kind.
        traits: Its numbers.
        general: The same without the limits of one machine.
    """

    @property
    def kind(self) -> str: ...

    @property
    def traits(self) -> IntegerTraits: ...

    @property
    def general(self) -> Arithmetic: ...

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        """Why it cannot run a node of a float graph; ``None`` where it can, beside neighbours that
        leave the layout that it needs."""
        ...

    def unsupported_scheme(
        self, graph: Graph, node: Node, scheme: QuantizationScheme
    ) -> str | None:
        """Why it cannot run a node that it supports under a scheme; ``None`` where it can."""
        ...

    def misfit(self, window: OperatorWindow) -> str | None:
        """Why no schedule of an operator fits its memories; ``None`` where one may."""
        ...

    def parts(
        self, step: Step, source: Chw, result: Chw, fresh: Callable[[str], str]
    ) -> Iterable[tuple[Step, Chw]]:
        """The steps that compute what one does that is too large for any machine of the kind, with
        the shape of what each writes; the step alone where it is not.

        Args:
            step: An operator.
            source: Shape of its input without the batch.
            result: Shape of its output.
            fresh: A name for a tensor like the one given.
        """
        ...


@runtime_checkable
class Arithmetics(Protocol):
    """What the units of a kind can compute."""

    def of(self, machine: Any | None) -> Arithmetic:
        """Of one machine; with ``None``, without the limits of any."""
        ...


def arithmetic_of(machine: Machine) -> Arithmetic:
    """What a machine can compute.

    Raises:
        InputError: Its kind runs no parts of models, or requantizes in a way that quantization does
            not know.
    """
    kind = kind_of_machine(machine)
    if not kind.has("arithmetic"):
        raise InputError(
            f"units of kind {kind.name!r} are tuned task by task: the kind says nothing of its "
            "arithmetic, so that no part of a model can run there",
            hint="nest-tune task list MODEL --target T",
        )
    found: Arithmetics = kind.facet("arithmetic", Arithmetics)
    arithmetic = found.of(machine)
    if arithmetic.traits.requantization is not RequantizationForm.SHIFT:
        raise InputError(
            f"units of kind {kind.name!r} requantize by {arithmetic.traits.requantization.value}; "
            f"models are quantized for {RequantizationForm.SHIFT.value} alone"
        )
    return arithmetic


@lru_cache(maxsize=1)
def usual_arithmetic() -> Arithmetic:
    """Of the kind that documents do not name, without the limits of any machine."""
    found: Arithmetics = unnamed_kind().facet("arithmetic", Arithmetics)
    return found.of(None)
