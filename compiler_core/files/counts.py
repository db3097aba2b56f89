"""Numbers of files whose author is not trusted: sizes, addresses, counts and rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from compiler_core.errors import InputError

_POSITIVE = frozenset(
    (
        "clock_hz", "batch", "block_in", "block_out", "uop", "inp", "wgt", "acc", "out",
        "port_bytes", "burst_beats", "burst_boundary_bytes", "outstanding_bursts", "queue_depth",
        "fetch_batch_instructions", "per_micro_op", "float_macs_per_cycle", "int8_macs_per_cycle",
        "elements_per_cycle", "copy_bytes_per_cycle",
    )
)  # fmt: skip
"""Fields of targets that something is divided by or looped over."""

_MAX = 1 << 60


def require_counts(
    value: Any, where: str, name: str = "", hint: str = "compile the package again"
) -> None:
    """Refuses a document in which a number is negative, not finite or beyond any machine.

    Args:
        value: Frozen values, at any depth; none of their numbers may be below 0.
        where: What errors call the place of ``value``.
        name: Of the field that ``value`` is.
        hint: What makes a file with right numbers.

    Raises:
        InputError: Names the first such number.
    """
    if is_dataclass(value):
        for item in fields(value):
            require_counts(getattr(value, item.name), f"{where}.{item.name}", item.name, hint)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            require_counts(member, f"{where}.{key}", hint=hint)
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            require_counts(member, f"{where}[{index}]", name, hint)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least = "more than 0" if name in _POSITIVE else "0 or more"
        if not isfinite(value) or not 0 <= value <= _MAX or (value == 0 and name in _POSITIVE):
            raise InputError(
                f"{where}: {value}; {least} is needed, and at most {_MAX}",
                hint=hint,
            )
