"""The units of a target that compute in integers: what they can, and the form that tensors have
there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler_core.quantize.arithmetic import Arithmetic, arithmetic_of
from compiler_core.quantize.ir import NumberUnit
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.targets.target import Target, Unit
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import INT8, ways_of


@dataclass(frozen=True)
class Form:
    """How tensors lie in a memory: units with equal forms read what the other has written.

    Attributes:
        layout: Number format and order of elements.
        memory: Index of the memory.
    """

    layout: str
    memory: int


def integer_units(target: Target) -> tuple[Unit, ...]:
    """Units for which models are quantized and grouped: those that compute in int8 and say what
    they can. Where none does, the first that says what it can, for the tasks of a model.

    Raises:
        InputError: None says it.
    """
    told = [unit for unit in target.units if kind_of_machine(unit.machine).has("arithmetic")]
    own = [unit for unit in told if INT8 in ways_of(unit.machine).formats(unit.machine)]
    found = own or told[:1]
    if not found:
        arithmetic_of(target.npu)  # refuses
    return tuple(found)


def target_arithmetic(target: Target) -> Arithmetic | UnitArithmetics:
    """What the units of a target compute in the parts of models that they run.

    Raises:
        InputError: No kind of them says it.
    """
    others = tuple(_number_units(target))
    if others and len(others) == len(target.units):
        return UnitArithmetics((), others)
    return task_arithmetic(target)


def needs_plan(target: Target) -> bool:
    """Whether a compile without a plan has a choice: between units, or cores, or where one core has
    numbers of its own, which quantization does not place."""
    if len(target.units) > 1 or target.npu_cores > 1:
        return True
    return bool(target.npu_cores) and any(_number_units(target))


def task_arithmetic(target: Target) -> Arithmetic | UnitArithmetics:
    """What the units of a target compute, for the tasks of a model: operators in integers stand for
    those of units that compute in nothing else than numbers of their own.

    Raises:
        InputError: No kind of them says it.
    """
    found = integer_units(target)
    if len(target.units) == 1 and found[0].name == found[0].kind:
        return arithmetic_of(found[0].machine)
    units = tuple((unit.name, arithmetic_of(unit.machine)) for unit in found)
    return UnitArithmetics(units, tuple(_number_units(target)))


def _number_units(target: Target) -> Iterator[NumberUnit]:
    """Units that run parts of models in numbers of their own."""
    for unit in target.units:
        first = ways_of(unit.machine).formats(unit.machine)[0]
        if first != INT8 and kind_of_machine(unit.machine).has("numbers"):
            yield NumberUnit(unit.name, unit.kind, first, unit.machine)


def integer_forms(target: Target) -> Mapping[str, Form]:
    """The form in which each unit holds tensors in its usual numbers, by its name."""
    return dict(_forms(target))


def _forms(target: Target) -> Iterator[tuple[str, Form]]:
    memories = [memory.name for memory in target.memories]
    for unit in target.units:
        ways = ways_of(unit.machine)
        number = ways.formats(unit.machine)[0]
        layout = ways.form((1, 1, 1, 1), number, unit.machine).layout
        yield unit.name, Form(layout, memories.index(unit.memory))
