"""Calls of portable kernels of all operators."""

from __future__ import annotations

from compiler_core.units.cpu.c.emit import choosing_calls, real_calls, whole_calls
from compiler_core.units.cpu.c.emit.calls import call
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.network import Operator

REGISTERED = (choosing_calls, real_calls, whole_calls)
"""Modules beside that of :func:`call` which register calls there."""


def call_of(operator: Operator, context: Context) -> list[str]:
    """The lines of C that run any operator; none for a view."""
    return call(operator, context)
