"""Patch-wise execution of the first operators of a network: less memory, the same bits.

The operators before one value run stripe by stripe: some lines of that value, with all that they
need, then the next ones. No intermediate value exists as a whole then. Lines that the next stripe
needs again are kept, so that nothing is computed twice.

| symbol | meaning |
|---|---|
| line | index of the first axis behind the sample: a row of an image, a step of a sequence |
| ``ends[u][s]`` | lines of ``u`` that exist behind stripe ``s`` |
| held | the value with the latest lines of ``u``, and which ones those are |

Source of the idea: MCUNetV2 (Lin et al., 2021), which computes overlapping patches anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.network import Network, Operator, Value
from compiler_core.units.cpu.c.operators import pointwise, real
from compiler_core.units.cpu.c.operators.moves import Block, Copy, Joined, Part
from compiler_core.units.cpu.c.operators.weighted import Convolution
from compiler_core.units.cpu.c.plan.order import best_order

_WINDOWS = (Convolution, pointwise.Pool, real.RealConvolution, real.RealPool)
_ELEMENTS = (
    pointwise.Product,
    pointwise.Rescale,
    pointwise.Sum,
    pointwise.Table,
    pointwise.WideTable,
    real.Dequantize,
    real.Quantize,
    real.RealMap,
    real.RealPair,
)
"""Operators whose lines depend on the same lines of their inputs."""


@dataclass(frozen=True)
class Patches:
    """A decision about the first operators.

    Attributes:
        end: Name of the node whose result is whole again.
        count: Stripes, two at least.
    """

    end: str
    count: int

    def __str__(self) -> str:
        return f"{self.end}={self.count}"


def read_patches(text: str) -> Patches:
    """Patches of a text ``node=stripes``.

    Raises:
        InputError: It is none.
    """
    end, _, count = text.rpartition("=")
    if not end or not count.isascii() or not count.isdigit() or len(count) > 6:
        raise InputError(f"patches {text!r}: NODE=N is needed, a node and a number of stripes")
    return Patches(end, int(count))


def patched(network: Network, patches: Patches) -> Network:
    """The network with its first operators in stripes.

    Args:
        network: Whole.
        patches: What runs in stripes.

    Raises:
        InputError: There is no such node, or what is before it cannot be cut.
    """
    ordered = replace(network, operators=best_order(network))
    made = [item.output for item in ordered.operators if item.name == patches.end]
    if not made:
        raise InputError(f"patches: the network has no node {patches.end!r}")
    inside = _inside(ordered, made[-1])
    where = f"patches up to {patches.end!r}"
    if isinstance(inside, str):
        raise InputError(f"{where}: {inside}")
    lines = _lines(network.values[made[-1]])
    if not 2 <= patches.count <= lines:
        raise InputError(f"{where}: {patches.count} stripes; from 2 to {lines} are possible")
    return _Writer(ordered, inside, made[-1], patches.count).network()


def cuts(network: Network) -> list[str]:
    """Nodes up to which the first operators can run in stripes, in order."""
    ordered = replace(network, operators=best_order(network))
    last = {item.name: item.output for item in ordered.operators}
    found = []
    for name, value in last.items():
        inside = _inside(ordered, value)
        if not isinstance(inside, str) and len(inside) > 1 and _lines(network.values[value]) > 1:
            found.append(name)
    return found


def _inside(network: Network, end: str) -> tuple[Operator, ...] | str:
    """The operators that a value depends on, in order; or why they cannot be cut."""
    wanted, inside = {end}, []
    for operator in reversed(network.operators):
        if operator.output in wanted:
            inside.append(operator)
            wanted.update(operator.inputs)
    inside.reverse()
    own = {item.output for item in inside}
    for operator in network.operators:
        left = own.intersection(operator.inputs) - {end}
        if operator.output not in own and left:
            return f"{operator.name!r} reads what lies within, too"
    if own.intersection(network.outputs) - {end}:
        return "an output lies within"
    for operator in inside:
        reason = _refusal(network, operator)
        if reason:
            return f"{operator.name!r} {reason}"
    return tuple(inside)


def _refusal(network: Network, operator: Operator) -> str | None:
    """Why an operator has no lines that can be computed by themselves."""
    values = [network.values[name] for name in (*operator.inputs, operator.output)]
    result = values[-1]
    if not isinstance(operator, _WINDOWS + _ELEMENTS):
        return f"is a {type(operator).__name__}, which is not computed line by line"
    if any(len(value.shape) not in (3, 4) or value.shape[0] != 1 for value in values):
        return "is not of one image or one sequence"
    if isinstance(operator, _ELEMENTS):
        for name, value in zip(operator.inputs, values, strict=False):
            repeated = name in network.constants and value.shape[1] == 1
            if value.shape[1] != result.shape[1] and not repeated:
                return "repeats its lines"
    elif len(values[0].shape) != len(result.shape):
        return "changes the number of its axes"
    return None


def _lines(value: Value) -> int:
    return value.shape[1]


def _needs(operator: Operator, source: Value, first: int, last: int) -> tuple[int, int, int]:
    """Lines of an input that lines of the result need, and how many are missing before them."""
    if not isinstance(operator, _WINDOWS):
        return first, last, 0
    sliding: Sliding = operator.sliding
    axis = _axis(source)
    stride, pad = sliding.stride[axis], sliding.pad[axis]
    reach = (sliding.kernel[axis] - 1) * sliding.dilation[axis] + 1
    begin, end = first * stride - pad, (last - 1) * stride - pad + reach
    return max(0, begin), min(max(end, 0), _lines(source)), max(0, -begin)


def _axis(value: Value) -> int:
    """Which of a window's two axes the lines are."""
    return 0 if len(value.shape) == 4 else 1


@dataclass(frozen=True)
class _Held:
    """The latest lines of a value.

    Attributes:
        name: Of the value that holds them.
        first, last: Which ones.
    """

    name: str
    first: int
    last: int


class _Writer:
    """Writes the operators of all stripes.

    Args:
        network: In the order in which it runs.
        inside: What runs in stripes.
        end: The value that they lead to.
        count: Stripes.
    """

    def __init__(
        self, network: Network, inside: tuple[Operator, ...], end: str, count: int
    ) -> None:
        self._network, self._inside, self._end, self._count = network, inside, end, count
        self._values = dict(network.values)
        self._operators: list[Operator] = []
        self._own = {item.output for item in inside}
        self._ends = self._all_ends()
        self._last_reader = {name: item for item in inside for name in item.inputs}
        outer = {name for item in inside for name in item.inputs} - self._own
        self._held = {
            name: _Held(name, 0, _lines(network.values[name]))
            for name in outer
            if len(network.values[name].shape) > 1
        }

    def network(self) -> Network:
        """All stripes, and what follows."""
        stripes = []
        wanted = [self._wanted(stripe) for stripe in range(self._count)]
        for stripe, reads in enumerate(wanted):
            for operator in self._inside:
                first, last = reads.get(operator.output, (0, 0))
                fresh = max(first, self._end_before(operator.output, stripe))
                if last > fresh:
                    self._write(operator, first, fresh, last, stripe)
                for name in self._own.intersection(operator.inputs):
                    if self._last_reader[name] is operator:
                        self._save(name, stripe, wanted)
            stripes.append(self._held[self._end].name)
        name = self._inside[-1].name
        self._operators.append(Joined(name, tuple(stripes), self._end))
        rest = [item for item in self._network.operators if item.output not in self._own]
        operators = (*self._operators, *rest)
        used = {*self._network.inputs, *self._network.outputs}
        used.update(name for item in operators for name in (*item.inputs, item.output))
        values = {name: value for name, value in self._values.items() if name in used}
        return replace(self._network, values=values, operators=operators)

    def _all_ends(self) -> dict[str, list[int]]:
        """``ends`` of all values inside."""
        lines = _lines(self._values[self._end])
        found = {name: [0] * self._count for name in self._own}
        found[self._end] = [lines * (s + 1) // self._count for s in range(self._count)]
        for operator in reversed(self._inside):
            for name in self._own.intersection(operator.inputs):
                for stripe, end in enumerate(found[operator.output]):
                    if end:
                        needed = _needs(operator, self._values[name], 0, end)[1]
                        found[name][stripe] = max(found[name][stripe], needed)
        return found

    def _end_before(self, name: str, stripe: int) -> int:
        return self._ends[name][stripe - 1] if stripe else 0

    def _wanted(self, stripe: int) -> dict[str, tuple[int, int]]:
        """Lines of every value that are read in a stripe, those kept from before among them."""
        before = self._end_before(self._end, stripe)
        found = {self._end: (before, self._ends[self._end][stripe])}
        for operator in reversed(self._inside):
            if operator.output not in found:
                continue
            first, last = found[operator.output]
            fresh = max(first, self._end_before(operator.output, stripe))
            if last <= fresh:
                continue
            for name in self._own.intersection(operator.inputs):
                begin, end, _ = _needs(operator, self._values[name], fresh, last)
                known = found.get(name, (begin, end))
                found[name] = min(begin, known[0]), max(end, known[1])
        return found

    def _write(self, operator: Operator, first: int, fresh: int, last: int, stripe: int) -> None:
        """Adds the lines from ``fresh`` to ``last`` behind those from ``first`` that exist."""
        name = operator.output
        made = self._value(name, f"{name}s{stripe}", last - fresh)
        changed: dict[str, Any] = {"output": made}
        inputs = []
        for source in operator.inputs:
            value = self._network.values[source]
            if source not in self._held or (source not in self._own and _lines(value) == 1):
                inputs.append(source)
                continue
            begin, end, missing = _needs(operator, value, fresh, last)
            if end <= begin:
                raise InputError(f"patches: a window of {operator.name!r} lies in its padding")
            inputs.append(self._part(operator.name, source, begin, end))
            if isinstance(operator, _WINDOWS):
                axis = _axis(value)
                changed["sliding"] = _moved(operator.sliding, axis, missing, last - fresh)
        self._operators.append(replace(operator, inputs=tuple(inputs), **changed))  # type: ignore[type-var]
        if first < fresh:
            kept = self._copied(operator.name, name, f"{name}k{stripe}", first, fresh)
            whole = self._value(name, f"{name}j{stripe}", last - first)
            self._operators.append(Joined(operator.name, (kept, made), whole))
            made = whole
        self._held[name] = _Held(made, min(first, fresh), last)

    def _save(self, name: str, stripe: int, wanted: list[dict[str, tuple[int, int]]]) -> None:
        """Copies the lines that later stripes need again, so that the others' memory is free."""
        end = self._ends[name][stripe]
        later = [reads[name][0] for reads in wanted[stripe + 1 :] if name in reads]
        held = self._held.get(name)
        if held is None or not later or held.first >= later[0] or later[0] >= end:
            return
        node = self._last_reader[name].name
        saved = self._copied(node, name, f"{name}e{stripe}", later[0], held.last)
        self._held[name] = _Held(saved, later[0], held.last)

    def _copied(self, node: str, name: str, copy: str, first: int, last: int) -> str:
        """A copy of lines that were computed before."""
        source = self._part(node, name, first, last)
        made = self._value(name, copy, last - first)
        size = self._values[made].size
        block = Block(0, 0, 0, (size,), (1,), (1,))
        self._operators.append(Copy(node, (source,), made, size, (block,), None))
        return made

    def _part(self, node: str, name: str, first: int, last: int) -> str:
        """The lines of a value as one of its own, without a copy."""
        held = self._held[name]
        if (held.first, held.last) == (first, last):
            return held.name
        value = self._values[held.name]
        part = f"{held.name}p{first}-{last}"
        if part not in self._values:
            self._value(name, part, last - first)
            start = (first - held.first) * prod(value.shape[2:])
            size = self._values[part].size
            self._operators.append(Part(node, (held.name,), part, start, size))
        return part

    def _value(self, like: str, name: str, lines: int) -> str:
        """A new value with some lines of another."""
        old = self._network.values[like]
        shape = (old.shape[0], lines, *old.shape[2:])
        self._values[name] = Value(name, old.source, shape, old.type)
        return name


def _moved(sliding: Sliding, axis: int, pad: int, output: int) -> Sliding:
    """A window with another pad before, and another number of results, along an axis."""
    pads, outputs = list(sliding.pad), list(sliding.output)
    pads[axis], outputs[axis] = pad, output
    return replace(sliding, pad=(pads[0], pads[1]), output=(outputs[0], outputs[1]))


def kept_elements(network: Network) -> int:
    """Elements that go from stripe to stripe, each of which is copied twice at most."""
    values: Mapping[str, Value] = network.values
    joined = {n for item in network.operators if isinstance(item, Joined) for n in item.inputs}
    copies = (item for item in network.operators if isinstance(item, Copy))
    return sum(values[item.output].size for item in copies if item.output in joined)
