"""What cutting layers by output channels over an int8 core and a 4-bit core can gain, where which
channels go to which core is their precision.

For every layer of a network the costs of all cuts that blocks allow are compared:

- *joint*: any cut; the channels that 4 bits damage least are the ones of the 4-bit core;
- *staged+*: the precision of whole layers first, then cuts of those with 4 bits over both cores
  (8 bits hold them, too). It is given the costs of its second stage in the first.

Both minimize cycles under one budget of damage: the squared error that rounding to 4 bits leaves of
a channel's weights, per squared weight of the layer, summed over layers; a budget is a part of what
all layers in 4 bits do. Layers without weights run where they are faster.

*joint* sorts the channels of each layer for itself. What is built cannot: tensors that are added,
or read channel by channel, share an order, and one that is handed out has the model's. So beside it
stand what the classes of :mod:`compiler_core.quantize.channel_classes` leave (an order for all of a
class, by the damage of all), the same where a copy that is paid for may give a layer an order of
its own (a 1x1 convolution with one 1 in each row, exact in 4 bits, cut over both cores), and both
with and without cuts of layers whose input the CPU lays out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.cut_layer import (
    ChannelCut,
    bound_cycles,
    channel_cuts,
    measured_cut,
)
from compiler_core.compile.sources import FloatModel
from compiler_core.graph.ir import Graph
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.arithmetic import arithmetic_of
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.channel_classes import ChannelClasses
from compiler_core.quantize.channel_exponents import least_error_channel_exponents
from compiler_core.quantize.exponents import MOST_CLIPPING, Granularity
from compiler_core.quantize.ir import IntegerConcat, IntegerConv, IntegerMaxPool, IntegerSegment
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.targets.target import Target
from compiler_core.tensor.from_integer import conv_terms, max_pool_terms
from compiler_core.tensor.value_ranges import value_ranges
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.vectors import in_vectors

LEVELS = 7
BINS = 4000
"""Steps of the damage budget in the optimum."""

Machines = tuple[VtaCore, VtaCore]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """One way of running a layer: cycles, damage, launches, channels of the int8 core."""

    cycles: int
    damage: float
    launches: int
    first: int


@dataclass(frozen=True)
class LayerChoices:
    """What each side can choose for a layer; ``ordered`` is *joint* with the orders that classes of
    tensors leave, ``copied`` the same with copies that are paid for; ``stem`` is whether the CPU
    lays out its input."""

    name: str
    shape: str
    joint: tuple[Choice, ...]
    staged: tuple[Choice, ...]
    ordered: tuple[Choice, ...] = ()
    copied: tuple[Choice, ...] = ()
    stem: bool = False

    def whole_stem(self, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        """Choices without cuts, where this is a stem."""
        return tuple(c for c in choices if c.launches == 1) if self.stem else choices


@dataclass(frozen=True)
class Ratio:
    """Of both optima at one budget, a part of all damage."""

    budget: float
    joint_cycles: float
    staged_cycles: float

    @property
    def value(self) -> float:
        return self.joint_cycles / self.staged_cycles


def network_choices(
    model: FloatModel, profile: Profile, target: Target, *, measured: bool
) -> tuple[LayerChoices, ...]:
    """The choices of every layer that a network launches.

    Args:
        model: The float model.
        profile: Statistics of it.
        target: Of two cores, the second with 4 bits.
        measured: Whether costs are those of untuned programs on the simulators, not bounds.
    """
    first, second = target.units[0].machine, target.units[1].machine
    arithmetic = arithmetic_of(first)
    scheme = QuantizationScheme(granularity=Granularity.CHANNEL)
    plan = default_assignment(model.graph, arithmetic=arithmetic)
    quantized = apply_profile(model.graph, plan, profile, scheme, arithmetic=arithmetic).quantized
    segments = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
    orders = ClassOrders(model.graph, [own for part in segments for own in part.operators])
    written = {own.output for part in segments for own in part.operators}
    found = []
    for part in segments:
        ranges = value_ranges(list(part.operators))
        for operator in part.operators:
            if isinstance(operator, IntegerConcat):
                continue
            shape = quantized.tensors[operator.input].shape
            known = ranges.get(operator.input, (-128, 127))
            source = _Source(shape, known, operator.input not in written)
            found.append(_layer(operator, source, (first, second), orders, measured=measured))
    return tuple(found)


@dataclass(frozen=True)
class _Source:
    """What a layer reads: its extents, its values, and whether the CPU lays it out."""

    shape: tuple[int, int, int, int]
    known: tuple[int, int]
    is_laid_out: bool


class ClassOrders:
    """Orders of channels that layers of a graph share.

    Args:
        graph: Of the float model.
        operators: All layers.
    """

    def __init__(self, graph: Graph, operators: Sequence[object]) -> None:
        self._classes = ChannelClasses(graph)
        self._output = {node.name: node.output for node in graph.nodes}
        self._lost: dict[str, list[_Floats]] = {}
        for own in operators:
            if isinstance(own, IntegerConv) and own.name in self._output:
                members = self._lost.setdefault(self._classes.of(self._output[own.name]), [])
                members.append(channel_damage(own))

    def damage(self, operator: IntegerConv, lost: _Floats) -> _Floats:
        """Of a layer with so many channels in 4 bits, ``float64[O + 1]``: those of least damage to
        all of its class, or the last ones where the order is the model's."""
        output = self._output.get(operator.name)
        order = np.argsort(lost, kind="stable")
        if output is not None and not self._classes.is_free(output):
            order = np.arange(len(lost))[::-1]
        elif output is not None:
            members = self._lost[self._classes.of(output)]
            order = np.argsort(np.sum(members, axis=0), kind="stable")
        return np.concatenate([[0.0], np.cumsum(lost[order])])


def _copy_choice(workload: ConvWorkload, machines: Machines, *, measured: bool) -> tuple[int, int]:
    """Cycles and launches of the copy that brings a layer's output into another order."""
    window = Window((1, 1))
    channels, epilogue = workload.out_channels, Epilogue(0, False, False, False)
    size = workload.out_height, workload.out_width
    copy = ConvWorkload(workload.batch, channels, *size, channels, window, 1, epilogue)
    rows = []
    for first in channel_cuts(copy, machines):
        cut = ChannelCut(copy, first)
        cycles = measured_cut(cut, machines).cycles if measured else bound_cycles(cut, machines)
        rows.append((cycles, 1 + (0 < first < channels)))
    return min(rows)


def _layer(
    operator: IntegerConv | IntegerMaxPool,
    source: _Source,
    machines: Machines,
    orders: ClassOrders,
    *,
    measured: bool,
) -> LayerChoices:
    if isinstance(operator, IntegerMaxPool):
        pool, _ = max_pool_terms(operator, source.shape)
        cycles = []
        for machine in machines:
            seen = in_vectors(pool, machine.geometry)
            if measured:
                run = measure_layer(seen, default_schedule(seen, machine), machine)
                cycles.append(run.cycles)
            else:
                cycles.append(lower_bound(seen, machine).cycles)
        only = (Choice(min(cycles), 0.0, 1, 0),)
        return LayerChoices(operator.name, pool.shape, only, only, only, only)
    workload = conv_terms(operator, source.shape, source.known, entry=source.is_laid_out).workload
    shift = None if operator.residual is None else operator.residual_shift
    outputs = workload.out_channels
    # Equal weights on the diagonal are as exact in 4 bits, or nearly so.
    lost = np.zeros(outputs) if workload.uniform else channel_damage(operator)
    order = np.concatenate([[0.0], np.cumsum(np.sort(lost))])
    choices = []
    for first in channel_cuts(workload, machines):
        cut = ChannelCut(workload, first, shift)
        cycles = measured_cut(cut, machines).cycles if measured else bound_cycles(cut, machines)
        launches = 1 + (0 < first < outputs)
        choices.append(Choice(cycles, float(order[outputs - first]), launches, first))
    whole = min(choices, key=lambda choice: (choice.cycles, choice.launches))
    in_four = Choice(whole.cycles, float(order[-1]), whole.launches, whole.first)
    in_eight = next(choice for choice in choices if choice.first == outputs)
    ruled = orders.damage(operator, lost)
    ordered = [replace(own, damage=float(ruled[outputs - own.first])) for own in choices]
    copied = list(ordered)
    if any(own.damage < other.damage for own, other in zip(choices, ordered, strict=True)):
        cycles, launches = _copy_choice(workload, machines, measured=measured)
        copied += [
            replace(own, cycles=own.cycles + cycles, launches=own.launches + launches)
            for own in choices
            if 0 < own.first < outputs
        ]
    return LayerChoices(
        operator.name,
        workload.shape,
        tuple(choices),
        (in_eight, in_four),
        tuple(ordered),
        tuple(copied),
        source.is_laid_out,
    )


def channel_damage(operator: IntegerConv) -> npt.NDArray[np.float64]:
    """What 4 bits do to each output channel, ``float64[O]``: squared error per squared
    weight of the layer."""
    shifts = 0 if operator.channel_shifts is None else operator.channel_shifts
    weight = operator.weight.reshape(len(operator.weight), -1).astype(np.float64)
    weight = np.ldexp(weight, -np.broadcast_to(np.asarray(shifts), len(weight))[:, None])
    exponents = least_error_channel_exponents(weight, MOST_CLIPPING, LEVELS)[:, None]
    levels = np.clip(np.rint(np.ldexp(weight, exponents)), -LEVELS, LEVELS)
    lost = ((np.ldexp(levels, -exponents) - weight) ** 2).sum(axis=1)
    return np.asarray(lost / max((weight**2).sum(), 1e-30))


def ratios(
    layers: Sequence[LayerChoices], launch_cycles: float, budgets: Sequence[float]
) -> Iterator[Ratio]:
    """Optima of both sides at budgets that are parts of all damage.

    Where budgets are counted in steps, joint search rounds down and staged search up, so that no
    ratio is above the exact one.
    """
    total = sum(max(choice.damage for choice in layer.staged) for layer in layers)
    step = max(total, 1e-30) / BINS
    joint = _optimum([layer.joint for layer in layers], launch_cycles, lambda d: int(d / step))
    staged = _optimum([layer.staged for layer in layers], launch_cycles, lambda d: -int(-d // step))
    for budget in budgets:
        at = round(budget * BINS)
        yield Ratio(budget, float(joint[at]), float(staged[at]))


def _optimum(
    layers: Sequence[Sequence[Choice]], launch_cycles: float, steps: Callable[[float], int]
) -> npt.NDArray[np.float64]:
    """Least cycles at each budget, ``float64[BINS + 1]``."""
    best = np.zeros(BINS + 1)
    for choices in layers:
        after = np.full(BINS + 1, np.inf)
        for choice in choices:
            used = steps(choice.damage)
            if used <= BINS:
                cost = choice.cycles + choice.launches * launch_cycles
                after[used:] = np.minimum(after[used:], best[: BINS + 1 - used] + cost)
        best = after
    return best


def print_cuts(model: FloatModel, profile: Profile, target: Target, *, measured: bool) -> None:
    """Prints the optima of both sides, with and without what launches take."""
    layers = network_choices(model, profile, target, measured=measured)
    what = "untuned programs on the simulators" if measured else "block-exact bounds"
    launch = target.launch_overhead_s * target.units[0].machine.clock_hz
    int8 = sum(layer.staged[0].cycles for layer in layers)
    print(f"{len(layers)} layers, {what}: {int8:,} cycles all in int8 on the first core")
    budgets = [n / 20 for n in range(21)]
    for label, overhead in (("without launches", 0.0), (f"launches of {launch:,.0f}", launch)):
        found = list(ratios(layers, overhead, budgets))
        best = min(found, key=lambda item: item.value)
        print(f"{label}: least joint / staged+ {best.value:.4f} at {best.budget:.0%} of the damage")
        print(f"{'damage':>8} {'joint':>12} {'staged+':>12} {'ratio':>8}")
        for item in found[::2]:
            print(
                f"{item.budget:8.0%} {item.joint_cycles:12,.0f} {item.staged_cycles:12,.0f} "
                f"{item.value:8.4f}"
            )
        print_orders(layers, overhead, budgets)


def print_orders(
    layers: Sequence[LayerChoices], launch_cycles: float, budgets: Sequence[float]
) -> None:
    """Prints the least ratio with each restriction of what is built."""
    for stems in ("whole", "cut"):
        for name in ("ordered", "copied", "joint"):
            ruled = [replace(layer, joint=_choices(layer, name, stems)) for layer in layers]
            best = min(ratios(ruled, launch_cycles, budgets), key=lambda item: item.value)
            text = {
                "ordered": "orders of classes",
                "copied": "copies paid for",
                "joint": "own orders for nothing",
            }[name]
            print(f"  stems {stems:5} {text:24} {best.value:.4f} at {best.budget:.0%}", flush=True)


def _choices(layer: LayerChoices, name: str, stems: str) -> tuple[Choice, ...]:
    choices: tuple[Choice, ...] = getattr(layer, name)
    return layer.whole_stem(choices) if stems == "whole" else choices
