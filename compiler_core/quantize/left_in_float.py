"""Which operators of a quantized network had better stay in float: those that do the most damage.

Damage is measured from the side of the float network, where the noise of parts adds up: a group of
consecutive operators alone is quantized, and the noise at the outputs is compared with what is
allowed there. The group that does the most is split next, down to single operators, as often as a
budget of measurements lasts. What is left in float then grows by damage per cost.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.graph.work import elements, operations
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.assignment import left_beside
from compiler_core.quantize.behind_selections import measure_plan
from compiler_core.quantize.good_enough import excess
from compiler_core.quantize.host_groups import groups_beside
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import QualityMeter, measured_runs
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.quantize.unit_arithmetics import Computing, unit_arithmetics
from compiler_core.sums import float_sum
from compiler_core.units.names import is_on_cpu

NEGLIGIBLE = 1 / 64
"""Damage below which a group is not looked at any closer; 1 is all that is allowed."""
LEVELS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
"""Damage that may remain, from set to set: sums are estimates, and a scheme may do better."""
_MOST_MEASUREMENTS, _LEAST_MEASUREMENTS = 160, 8
_WORK = 1 << 37
"""Of all measurements, in multiplications, about."""
_NODE_WORK, _WEIGHT_WORK = 1 << 21, 1 << 8
"""What quantizing a node and running it apart takes, and what a weight of it takes, in
multiplications."""
_MEAN_PART = 16
"""The part of a network that measurements quantize in the mean: halves of halves."""
_RUN_WORK = 1 << 30
"""Multiplications of one measurement: large networks are measured on fewer samples."""
_LEAST_RUNS = 2


@dataclass(frozen=True)
class FloatPart:
    """Consecutive operators that were quantized alone.

    Attributes:
        nodes: Their names.
        damage: Noise at the worst output over what is allowed there.
    """

    nodes: tuple[str, ...]
    damage: float


def damaging_parts(
    atoms: Sequence[Sequence[str]], damage: Callable[[tuple[str, ...]], float], most: int
) -> tuple[FloatPart, ...]:
    """Splits a network where the damage is.

    Args:
        atoms: Names of operators in order, together where they cannot be told apart.
        damage: Measures some of them alone.
        most: Measurements, at least 1.

    Returns:
        Parts that hold every atom once, in order.
    """
    if not atoms:
        return ()
    # The place of a part's first atom makes ties definite and brings the parts into order.
    open_parts = [(0.0, 0, tuple(map(tuple, atoms)))]
    found: dict[int, FloatPart] = {}
    left = most
    while open_parts:
        negative, place, held = heapq.heappop(open_parts)
        if not found:
            halves = [(place, held)]
        elif len(held) == 1 or -negative < NEGLIGIBLE or left < 2:
            continue
        else:
            half = len(held) // 2
            halves = [(place, held[:half]), (place + half, held[half:])]
        for start, own in halves:
            names = tuple(name for atom in own for name in atom)
            found[start] = FloatPart(names, damage(names))
            left -= 1
            heapq.heappush(open_parts, (-found[start].damage, start, own))
    return tuple(found[place] for place in sorted(found))


def growing_sets(parts: Sequence[FloatPart], cost: Mapping[str, int]) -> tuple[frozenset[str], ...]:
    """Sets of operators to leave in float, each with less damage remaining than the one before.

    Args:
        parts: Damage by part.
        cost: Of every operator on the CPU, at least 1.
    """
    costs = [sum(cost[name] for name in part.nodes) for part in parts]
    order = sorted(range(len(parts)), key=lambda i: (-parts[i].damage / costs[i], i))
    remaining = float_sum(part.damage for part in parts)
    sets: list[frozenset[str]] = []
    taken: list[str] = []
    at = 0
    for level in LEVELS:
        while remaining > level and at < len(order):
            part = parts[order[at]]
            taken += part.nodes
            # Sums of floats that are taken apart again may end below nothing.
            remaining = max(0.0, remaining - part.damage)
            at += 1
        if taken and frozenset(taken) not in sets:
            sets.append(frozenset(taken))
    return tuple(sets)


def float_sets(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    scheme: QuantizationScheme,
    *,
    share: float,
    arithmetic: Computing | None = None,
    threads: int = 1,
) -> tuple[frozenset[str], ...]:
    """Sets of operators to leave in float under a plan, each with less damage than the one before.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        profile: Statistics of that graph, with its samples.
        scheme: How the others are quantized; nothing that evens out channels, for neighbours differ
            from measurement to measurement.
        share: Of the multiplications that a set may have.
        arithmetic: Of the NPUs; by default one of the usual kind.
        threads: Threads of onnxruntime.

    Returns:
        The sets; none where the network is too large to measure its parts.

    Raises:
        InputError: The profile does not fit the graph, or a part cannot be measured.
    """
    samples = profile.first()
    integers = [n.name for n in graph.nodes if assignment.get(n.name, CPU) != CPU]
    if samples is None or not integers:
        return ()
    macs = layer_macs(graph)
    total = max(1, sum(macs.values()))
    chosen = measured_runs(graph, check_samples(graph, samples))
    kept = max(_LEAST_RUNS, _RUN_WORK // total // model_batch(graph))
    chosen = chosen[:: -(-len(chosen) // kept)]
    work = total * len(chosen) * model_batch(graph) + quantizing_work(graph, _MEAN_PART)
    most = min(_MOST_MEASUREMENTS, _WORK // work)
    if most < _LEAST_MEASUREMENTS:
        return ()
    meter = QualityMeter(graph, choose(graph, samples, chosen), threads=threads)

    def quantized(places: Mapping[str, str]) -> QuantizedGraph:
        return apply_profile(graph, places, profile, scheme, arithmetic=arithmetic).quantized

    def damage(names: tuple[str, ...]) -> float:
        own = dict.fromkeys((n.name for n in graph.nodes), CPU) | {n: assignment[n] for n in names}
        outputs = measure_plan(meter, graph, own, quantized)
        return max(map(excess, outputs), default=0.0)

    loops = groups_beside(graph, unit_arithmetics(arithmetic)).of_node
    atoms: dict[str, list[str]] = {}
    for name in integers:
        # Of a loop on integers no operator is one alone.
        whole = loops[name].name if name in loops and is_on_cpu(assignment[name]) else name
        atoms.setdefault(whole, []).append(name)
    cost = {node.name: _cost(graph, node) for node in graph.nodes}
    found = []
    for names in growing_sets(damaging_parts(list(atoms.values()), damage, most), cost):
        grown = names | (left_beside(graph, names, arithmetic) & set(integers))
        if sum(macs.get(name, 0) for name in grown) <= share * total and grown not in found:
            found.append(grown)
    return tuple(found)


def quantizing_work(graph: Graph, part: int = 1) -> int:
    """What quantizing a graph and making it run takes, in multiplications, about: a weight counts
    at every node that reads it, one of every ``part`` of them."""
    weights = sum(
        graph.constants[name].size
        for node in graph.nodes
        for name in node.inputs
        if name in graph.constants
    )
    return len(graph.nodes) * _NODE_WORK + weights * _WEIGHT_WORK // part


def _cost(graph: Graph, node: Node) -> int:
    """About what a node takes on the CPU, with the conversions at its border."""
    return max(1, operations(node, graph.types) + 8 * (elements(graph.types.get(node.output)) or 0))
