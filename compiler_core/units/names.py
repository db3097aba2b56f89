"""Names of units in plans and configurations.

| name | where an operator runs |
|---|---|
| ``cpu`` | on the CPU |
| ``vta`` | on the NPU core that is free first |
| ``vta0``, ``vta1``, … | on that core |
| ``vta-sliced`` | cut across all cores, along the axis that is faster |
| ``vta-channels``, ``vta-rows`` | cut across all cores along that axis of its output |
"""

from __future__ import annotations

import re

from compiler_core.units.registry import unit_kinds

CPU, NPU = "cpu", "vta"
ACROSS = "vta-sliced"
BY_CHANNELS, BY_ROWS = "vta-channels", "vta-rows"
SLICED_UNITS = (ACROSS, BY_CHANNELS, BY_ROWS)
NAMES_OF_UNITS = (
    f"{NPU}, {CPU} and, with several cores, {NPU}0, {NPU}1, …, {', '.join(SLICED_UNITS)}"
)
"""All names, as errors list them."""

_CORE = re.compile(r"vta([0-9]|[1-9][0-9])")


def is_unit(name: str) -> bool:
    """Whether some target may have a unit of that name."""
    known = name in (CPU, NPU, *SLICED_UNITS) or _CORE.fullmatch(name) is not None
    return known or name in unit_kinds()


def kind_of(unit: str) -> str:
    """``cpu``, ``vta`` or another kind: what quantization and the layout of tensors depend on."""
    known = unit == NPU or unit in SLICED_UNITS or _CORE.fullmatch(unit) is not None
    return NPU if known else unit


def core_of(unit: str) -> int | None:
    """The core that a unit names, if it names one."""
    found = _CORE.fullmatch(unit)
    return None if found is None else int(found[1])


def units_of_target(cores: int) -> tuple[str, ...]:
    """Every unit that a plan may name for a target with so many NPU cores."""
    if cores == 0:
        return (CPU,)
    if cores == 1:
        return (CPU, NPU)
    return (CPU, NPU, *SLICED_UNITS, *(f"{NPU}{core}" for core in range(cores)))
