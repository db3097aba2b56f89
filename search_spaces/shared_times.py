"""How long units take for their shares of an operator, side by side on the memory that they share.

Launches come from the cost tables of graphs in which operators are cut; a unit runs its own one
after another, and beside those of the other one as the timeline of the system has it: the CPU
launches one at a time, and transfers wait where they meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler_core.graph.ir import Graph
from compiler_core.partition.best import prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.quantize.unit_cuts import cut_over_units
from compiler_core.system.jobs import PICOSECONDS, Job, JobKind, Machinery, ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.target import Target
from compiler_core.units.launches import Launch
from compiler_core.units.names import Shares, shared_place


@dataclass(frozen=True)
class SharedDraft:
    """An operator in shares.

    Attributes:
        shares: Units and their channels.
        nodes: The operator, with all that can follow.
    """

    shares: Shares
    nodes: tuple[str, ...]


ShareLaunches = dict[tuple[str, str], tuple[Launch, ...]]
"""Launches of a node's share, by node and unit, nodes in the order of the graph."""


class SharedTimes:
    """Times of shares.

    Args:
        graph: Simplified.
        target: The machine.
        units: That compute in integers.
        joins_layers: Whether layers that follow one another are launched together.
    """

    def __init__(
        self, graph: Graph, target: Target, units: UnitArithmetics, *, joins_layers: bool
    ) -> None:
        self._graph, self._target, self._units = graph, target, units
        self._machinery = Machinery.of(target)
        launch_s = 0.0 if joins_layers else target.launch_overhead_s
        self._launch_ps = round(launch_s * PICOSECONDS)
        self._number = {unit.name: at for at, unit in enumerate(target.units)}

    def of(self, drafts: Mapping[str, Sequence[SharedDraft]]) -> dict[str, list[ShareLaunches]]:
        """Launches of each draft, by the name of its first node."""
        found: dict[str, list[ShareLaunches]] = {name: [] for name in drafts}
        # All operators are cut at once: one graph for the first draft of each, one for the second.
        for at in range(max((len(own) for own in drafts.values()), default=0)):
            round_ = {name: own[at] for name, own in drafts.items() if at < len(own)}
            for name, spent in self._round(round_).items():
                found[name].append(spent)
        return found

    def together_ps(self, spent: ShareLaunches, nodes: Sequence[str]) -> int:
        """Time until both units are through with what they have of some nodes."""
        jobs: list[Job] = []
        last: dict[str, int] = {}
        for (node, unit), launches in spent.items():
            for launch in launches if node in nodes else ():
                after = (last[unit],) if unit in last else ()
                last[unit] = len(jobs)
                jobs.append(
                    Job(
                        0,
                        JobKind.PROGRAM,
                        self._number[unit],
                        launch.run_ps,
                        self._launch_ps * launch.parts,
                        after,
                        read_ppm=launch.read_ppm,
                        write_ppm=launch.write_ppm,
                        position=len(jobs),
                    )
                )
        return simulate(jobs, ranks(jobs), self._machinery).latency_ps

    def _round(self, drafts: Mapping[str, SharedDraft]) -> dict[str, ShareLaunches]:
        usual = {node.name: self._units.names[0] for node in self._graph.nodes}
        places = {
            name: shared_place(draft.shares) for draft in drafts.values() for name in draft.nodes
        }
        cut = cut_over_units(self._graph, {**usual, **places}, {}, self._units)
        parts: dict[str, list[str]] = {}
        for part, name in cut.origin.items():
            parts.setdefault(name, []).append(part)
        evaluator = prepare(cut.graph, self._target, packaged=True)
        found = {}
        for name, draft in drafts.items():
            spent = found[name] = ShareLaunches()
            for node in draft.nodes:
                for part in parts[node]:
                    key = node, cut.assignment[part]
                    spent[key] = (*spent.get(key, ()), *self._launches(evaluator, part, key[1]))
        return found

    @staticmethod
    def _launches(evaluator: Evaluator, node: str, unit: str) -> tuple[Launch, ...]:
        costs = evaluator.costs
        cost = costs.groups[evaluator.groups.group_of[node]]
        place = costs.places.numbers[unit]
        return cost.at[place].programs if place in cost.at else ()
