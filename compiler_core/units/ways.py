# ruff: noqa: ARG002 (protocols have more arguments than each kind reads)
"""Where plans can put an operator on units of a kind: ways of cutting it over their cores, number
formats, and the form that tensors have there. The facet ``ways``, which kinds have that offer more
than int8 on one core each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine

ANY_CORE = -1
ALL_CORES = -2

SUFFIX = re.compile(r"([0-9]|[1-9][0-9])?(-[a-z]+)?")
"""Of names of places, behind that of a unit."""

INT8, FLOAT32 = "int8", "float32"


@dataclass(frozen=True)
class Way:
    """One way of running an operator on the cores of a unit.

    Attributes:
        suffix: What the place's name has after the unit's: nothing, the number of a core, a dash
            and small letters, or both.
        core: The core, :data:`ANY_CORE` for the one that is free first, or :data:`ALL_CORES` where
            the operator is cut over all of them.
        is_searched: Whether searches try it; others run where a plan names them.

    Raises:
        InputError: Nothing can be called by the suffix.
    """

    suffix: str = ""
    core: int = ANY_CORE
    is_searched: bool = True

    def __post_init__(self) -> None:
        if not SUFFIX.fullmatch(self.suffix):
            raise InputError(
                f"way {self.suffix!r}: plans could not name such a place; after the unit's name "
                "stand the number of a core, a dash and small letters, or both"
            )


@dataclass(frozen=True)
class TensorForm:
    """How a unit holds a tensor.

    Attributes:
        layout: Number format and order of elements: units with equal ones in one memory read what
            the other has written.
        bytes: Its size, padding included.
        extra_s: Time of bringing it in or out beside what the CPU takes to copy its bytes.
    """

    layout: str
    bytes: int
    extra_s: float = 0.0


@runtime_checkable
class Ways(Protocol):
    """Where a kind runs operators, and in which form it holds tensors."""

    def formats(self, machine: Any) -> tuple[str, ...]:
        """Number formats in which it computes; the usual one first."""
        ...

    def ways(self, machine: Any, cores: int) -> tuple[Way, ...]:
        """Ways of cutting; the first is that of a whole operator on any core."""
        ...

    def form(self, shape: tuple[int, ...], number: str, machine: Any) -> TensorForm:
        """The form of a tensor.

        Args:
            shape: ``(N, C, H, W)``.
            number: One of the formats.
            machine: The unit.
        """
        ...


class WholeOperators:
    """The ways of kinds that say nothing of them: int8, element by element, whole operators."""

    def formats(self, machine: Machine) -> tuple[str, ...]:
        return (INT8,)

    def ways(self, machine: Machine, cores: int) -> tuple[Way, ...]:
        single = (Way(str(core), core, is_searched=False) for core in range(cores))
        return (Way(), *(single if cores > 1 else ()))

    def form(self, shape: tuple[int, ...], number: str, machine: Machine) -> TensorForm:
        return TensorForm(f"{number} in rows", prod(shape))


_WHOLE = WholeOperators()


def ways_of(machine: Machine) -> Ways:
    """The ways of a machine's kind.

    Raises:
        InputError: The kind is not known, or what it offers is no such facet.
    """
    kind = kind_of_machine(machine)
    found: Ways = kind.facet("ways", Ways) if kind.has("ways") else _WHOLE
    return found
