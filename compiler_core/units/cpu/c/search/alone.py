"""One operator by itself, with the numbers that do not matter for its cost set to fixed ones.

How many instructions an operator takes follows from its sizes and its kernel, not from weights,
scales and zero points. So an operator is measured with fixed ones, once for all networks and all
ways to quantize them: what is equal then is one task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from compiler_core.tensor.digest import digest
from compiler_core.units.cpu.c.network import Array, Network, Operator, Value
from compiler_core.units.cpu.c.operators.weighted import weight_bits

_MULTIPLIER, _SHIFT, _OFFSET = 1_518_500_250, -8, 5
_ENDS = {"low": (-100, (-128, -32768)), "high": (100, (127, 32767))}
"""An end of a clamp that is not its type's, and those of types."""


@dataclass(frozen=True, eq=False)
class Alone:
    """An operator in a network of its own.

    Attributes:
        network: Of one operator.
        digest: Equal for operators that cost the same with the same kernel.
    """

    network: Network
    digest: str

    @property
    def output(self) -> str:
        """The value that it writes."""
        return self.network.outputs[0]


def alone(network: Network, operator: Operator) -> Alone:
    """An operator of a network by itself."""
    told: list[Any] = [type(operator).__name__]
    changed: dict[str, Any] = {"name": "operator"}
    bits = weight_bits(operator)
    for item in fields(operator):  # type: ignore[arg-type] # operators are dataclasses
        if item.name not in ("name", "inputs", "output"):
            value, said = _fixed(item.name, getattr(operator, item.name), bits)
            changed[item.name] = value
            told.append([item.name, said])
    names = tuple(dict.fromkeys(operator.inputs))
    values = {name: network.values[name] for name in (*names, operator.output)}
    constants = {name: network.constants[name] for name in names if name in network.constants}
    told.append([names.index(name) for name in operator.inputs])
    told += [[_said(value), name in constants] for name, value in values.items()]
    inputs = tuple(name for name in names if name not in constants)
    ports = (*inputs, operator.output)
    single = Network(
        "operator",
        values,
        inputs,
        (operator.output,),
        ports,
        {name: tuple(range(len(values[name].shape))) for name in ports},
        (replace(operator, **changed),),  # type: ignore[type-var]
        {name: np.zeros_like(array) for name, array in constants.items()},
    )
    return Alone(single, digest(told, 32))


def _said(value: Value) -> list[Any]:
    return [list(value.shape), value.type.dtype]


def _fixed(name: str, value: Any, bits: int) -> tuple[Any, Any]:
    """A field of an operator with fixed numbers, and what of it counts."""
    if isinstance(value, np.ndarray):
        filled = _filled(name, value, bits)
        if filled is None:
            return value, [list(value.shape), str(value.dtype), value.tobytes().hex()]
        return filled, [list(value.shape), str(value.dtype)]
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: _fixed(f.name, getattr(value, f.name), bits) for f in fields(value)}
        changed = replace(value, **{n: new for n, (new, _) in found.items()})
        return changed, [[n, said] for n, (_, said) in found.items()]
    if isinstance(value, tuple):
        parts = [_fixed(name, item, bits) for item in value]
        return tuple(new for new, _ in parts), [said for _, said in parts]
    if isinstance(value, Mapping):
        return value, repr(sorted(value.items()))
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return _whole(name, int(value))
    return value, repr(value)


def _whole(name: str, value: int) -> tuple[int, Any]:
    """A number of an operator: sizes and shifts stay, which are written into its kernel, as zero
    points of 0 and clamps of types are; factors, other zero points and clamps are given to it."""
    if name == "multiplier":
        return _MULTIPLIER, None
    if name in ("offset", "offsets"):
        return (_OFFSET if value else 0), bool(value)
    if name in _ENDS:
        other, of_types = _ENDS[name]
        return (value, value) if value in of_types else (other, False)
    return value, value


def _filled(name: str, value: Array, bits: int) -> Array | None:
    """An array of fixed numbers; ``None`` where what is in it may matter."""
    if name == "weights" and value.dtype == np.int8:
        most = 2 ** (bits - 1) - 1
        numbers = (np.arange(value.size) % (2 * most + 1) - most).astype(np.int8)
        return np.asarray(numbers.reshape(value.shape))
    if name in ("weights", "scale", "bias") and value.dtype == np.float32:
        return np.full_like(value, 0.5)
    if name == "entries":  # of a table
        return np.asarray(np.arange(value.size).astype(value.dtype).reshape(value.shape))
    if name == "bias":
        return np.zeros_like(value)
    if name == "multiplier":
        return np.full_like(value, _MULTIPLIER)
    if name == "shift":
        return np.full_like(value, _SHIFT)
    return None
