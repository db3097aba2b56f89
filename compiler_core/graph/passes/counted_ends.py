"""How often a loop runs whose end hangs on nothing but how often it has run.

TensorFlow writes every loop as one that goes on while a counter of its own is less than a limit.
Where counter and limit are numbers that the model holds, so is the number of times.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

_Array = npt.NDArray[Any]

MOST_TIMES = 1024
"""Longer loops count as ones whose end is computed."""
_MOST_NODES = 64
"""Counters are computed by fewer: what the end of a hostile loop hangs on is not followed."""

_NUMBERS = {
    int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))): np.dtype(name)
    for name in ("bool", "float32", "float64", "int8", "int16", "int32", "int64")
}
"""What counters are cast to, by ONNX's numbers."""

_FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "Add": (2, operator.add),
    "And": (2, np.logical_and),
    "Equal": (2, np.equal),
    "Greater": (2, np.greater),
    "GreaterOrEqual": (2, np.greater_equal),
    "Identity": (1, np.asarray),
    "Less": (2, np.less),
    "LessOrEqual": (2, np.less_equal),
    "Max": (2, np.maximum),
    "Min": (2, np.minimum),
    "Mul": (2, operator.mul),
    "Not": (1, np.logical_not),
    "Or": (2, np.logical_or),
    "Squeeze": (1, np.squeeze),
    "Sub": (2, operator.sub),
}
"""What counters and limits are computed with, and of how many numbers."""


def counted_times(
    body: onnx.GraphProto,
    states: Mapping[str, tuple[_Array | None, str]],
    constants: Mapping[str, _Array],
    most: int | None,
) -> int | None:
    """How often a Loop that has begun runs.

    Args:
        body: Of the loop: which time it is, whether it goes on, and the states come in.
        states: First value of each state, where it is a constant, and what has it the next time.
        constants: Of the body and around it.
        most: Times after which it ends in any case.

    Returns:
        1 to :data:`MOST_TIMES`; ``None`` where it hangs on what is computed, or takes longer.
    """
    made = {name: proto for proto in body.node for name in proto.output}
    counter, goes_on = body.input[0].name, body.input[1].name
    used = _used(made, {body.output[0].name}, states)
    if len(used & made.keys()) > _MOST_NODES:
        return None
    current: dict[str, _Array] = {}
    for name in used & states.keys():
        first = states[name][0]
        if first is None or first.size != 1:
            return None
        current[name] = first
    for time in range(min(MOST_TIMES, MOST_TIMES if most is None else most)):
        known = {counter: np.array(time), goes_on: np.array(True), **current}
        end = _value(body.output[0].name, made, constants, known)
        if end is None:
            return None
        if not end.all():
            return time + 1
        following = {name: _value(states[name][1], made, constants, known) for name in current}
        current = {name: value for name, value in following.items() if value is not None}
        if len(current) != len(following):
            return None
    return most if most is not None and 0 < most <= MOST_TIMES else None


def _used(
    made: Mapping[str, onnx.NodeProto],
    wanted: set[str],
    states: Mapping[str, tuple[_Array | None, str]],
) -> set[str]:
    """What tensors hang on, this time and the times before."""
    waiting, found = [*wanted], set(wanted)
    while waiting:
        name = waiting.pop()
        before = (
            [states[name][1]] if name in states else [*made[name].input] if name in made else []
        )
        waiting += [other for other in before if other not in found]
        found |= {*before}
    return found


def _value(
    wanted: str,
    made: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, _Array],
    known: dict[str, _Array],
) -> _Array | None:
    """A number of one time; ``None`` where it is none, or not computed as counters are."""
    waiting = [wanted]
    while waiting:
        name = waiting[-1]
        if name in known:
            waiting.pop()
            continue
        if name in constants and constants[name].size == 1:
            known[name] = constants[name]
            continue
        if name in constants or name not in made:
            return None
        proto = made[name]
        missing = [other for other in proto.input if other and other not in known]
        if missing:
            if len(waiting) > len(made):
                return None
            waiting += missing
            continue
        value = _computed(proto, [known[other] for other in proto.input if other])
        if value is None:
            return None
        known[name] = value
    return known[wanted]


def _computed(proto: onnx.NodeProto, given: list[_Array]) -> _Array | None:
    if proto.domain or len(proto.output) != 1:
        return None
    if proto.op_type == "Cast" and len(given) == 1:
        kind = next((item.i for item in proto.attribute if item.name == "to"), 0)
        dtype = _NUMBERS.get(kind)
        return None if dtype is None else given[0].astype(dtype)
    count, function = _FUNCTIONS.get(proto.op_type, (0, None))
    if function is None or len(given) < count or (len(given) > count and count > 1):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(function(*given[:count]))
