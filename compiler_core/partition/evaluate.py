"""What a placement costs: its jobs on the system timeline, latency, energy, DRAM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.partition.costs import ON_CPU_FORM
from compiler_core.partition.layer_shares import LayerShare
from compiler_core.partition.live_bytes import peak_bytes
from compiler_core.partition.placed_jobs import JoinedJobs, PlacedJobs
from compiler_core.partition.placement_costs import PlacementCosts
from compiler_core.partition.sections import Sections, Times
from compiler_core.sums import float_sum
from compiler_core.system.jobs import PICOSECONDS, Job, JobKind, ranks
from compiler_core.system.joinable import ways_of_joining
from compiler_core.system.runs import Runs
from compiler_core.system.timeline import Timeline, simulate
from compiler_core.targets.places import ON_CPU, Placement


@dataclass(frozen=True)
class Evaluation:
    """A placement, simulated.

    Attributes:
        placement: What was simulated.
        jobs: With their dependences.
        timeline: When each ran.
        latency_ps: From start to end.
        sequential_ps: If nothing overlapped.
        energy_pj: Of all jobs.
        npu_cycles: Sum over launches.
        launches: Programs.
        read_bytes, write_bytes: DRAM traffic of all units.
        dram_constant_bytes: Weights and micro-ops.
        dram_peak_bytes: With the most activations that are live at a time.
    """

    placement: Placement
    jobs: tuple[Job, ...]
    timeline: Timeline
    latency_ps: int
    sequential_ps: int
    energy_pj: float
    npu_cycles: int
    launches: int
    read_bytes: int
    write_bytes: int
    dram_constant_bytes: int
    dram_peak_bytes: int

    @property
    def latency_ms(self) -> float:
        return self.latency_ps / PICOSECONDS * 1e3

    @property
    def energy_mj(self) -> float:
        return self.energy_pj * 1e-9


class Evaluator(PlacementCosts):
    """Simulates placements of one model with given costs."""

    _sections: Sections | None = None

    def latency_ps(self, placement: Placement, order: Sequence[int] | None = None) -> int:
        """End-to-end latency; see :meth:`evaluate` for the rest."""
        if order is None:
            return self.sections.latency_ps(placement)
        return min(
            simulate(jobs, self.priorities(jobs, order), self.costs.machinery).latency_ps
            for jobs in self.played(placement)
        )

    def sequential_ps(self, placement: Placement) -> int:
        """Latency if nothing overlapped."""
        return self.sections.sequential_ps(placement)

    @property
    def sections(self) -> Sections:
        """Times of placements, of which only what changes is timed anew."""
        # Copies with other costs have other times.
        if self._sections is None or self._sections.owner is not self:
            self._sections = Sections(self)
        return self._sections

    def timed_ways(self, placement: Placement, first: int, stop: int) -> Times:
        """Latency of the groups ``first`` to ``stop - 1``, for each way of joining layers."""
        every = (joined.played() for joined in self._ways(placement, first, stop))
        return tuple(simulate(x, ranks(x), self.costs.machinery).latency_ps for x in every)

    def total_ways(self, placement: Placement, first: int, stop: int) -> Times:
        """Sum of all their jobs, likewise."""
        return tuple(_total_ps(way.jobs) for way in self._ways(placement, first, stop))

    def jobs(self, placement: Placement, first: int = 0, stop: int | None = None) -> list[Job]:
        """Jobs of the groups ``first`` to ``stop - 1``, joined in the first of all ways; what other
        groups write is there."""
        return self.joinings(placement, first, stop)[0].jobs

    def joinings(
        self, placement: Placement, first: int = 0, stop: int | None = None
    ) -> list[JoinedJobs]:
        """The same with layers that are launched together, in every way that is worth it."""
        found: list[JoinedJobs] = []
        for joined in self._ways(placement, first, stop):
            if joined not in found:
                found.append(joined)
        return found

    def _ways(self, placement: Placement, first: int, stop: int | None) -> Iterator[JoinedJobs]:
        """In every way, also where two of them are alike."""
        built = PlacedJobs(self, placement, first, stop)
        jobs = built.build()
        if not self.joins_layers:
            yield JoinedJobs(jobs, [], built.views)
            return
        for chains in ways_of_joining(max(self.costs.machinery.cores, default=1)):
            yield built.joined(chains=chains)

    def played(
        self, placement: Placement, first: int = 0, stop: int | None = None
    ) -> list[list[Job]]:
        """The same as the timeline plays them: layers that are launched together are one job."""
        return [found.played() for found in self.joinings(placement, first, stop)]

    def priorities(self, jobs: Sequence[Job], order: Sequence[int] | None = None) -> list[int]:
        """Priorities of jobs: by longest remaining way, or by a given order of the groups."""
        if order is None:
            return ranks(jobs)
        position = {group: at for at, group in enumerate(order)}
        last = len(position)
        priorities = []
        for job in jobs:
            if job.kind.converts:
                readers = self._consumers[job.subject]
                rank = min((position.get(reader, last) for reader in readers), default=last)
            else:
                rank = position.get(job.subject, last)
            priorities.append(-rank)
        return priorities

    def evaluate(
        self,
        placement: Placement,
        order: Sequence[int] | None = None,
        shares: Mapping[str, LayerShare] | None = None,
    ) -> Evaluation:
        """Everything about a placement.

        Args:
            placement: Of the groups.
            order: Groups of highest priority first.
            shares: What layers take of their programs, by launch, where that is known; else as
                :attr:`overlaps` finds it.
        """
        if shares is None:
            shares = self.overlaps(placement, order or ()) if self.overlaps else {}
        if shares:
            built = PlacedJobs(self, placement)
            built.build()
            ways = [built.shared(shares)]
        else:
            ways = self.joinings(placement)
        timed = [(found, self._simulated(found, order)) for found in ways]
        joined, timeline = min(timed, key=lambda item: item[1].latency_ps)
        jobs = tuple(joined.jobs)
        energy = float_sum(self.costs.view_energy_pj.get(name, 0.0) for name in joined.views)
        cycles, reads, writes = 0, 0, 0
        launches = sum(job.kind is JobKind.PROGRAM for job in joined.played())
        constants = 0
        for index, cost in enumerate(self.costs.groups):
            if placement[index] == ON_CPU:
                cpu = cost.cpu
                energy += cpu.energy_pj
                own = self.groups.groups[index].writes
                results = sum(self.costs.tensors[t].form_bytes[ON_CPU_FORM] for t in own)
                reads += max(0, cpu.moved_bytes - results)
                writes += min(cpu.moved_bytes, results)
                constants += cpu.constant_bytes
                continue
            for program in self.programs(index, placement):
                share = shares.get(program.name)
                energy += program.energy_pj if share is None else share.energy_pj
                cycles += program.cycles if share is None else share.cycles
                reads += program.read_bytes
                writes += program.write_bytes
                constants += program.constant_bytes
        for job in jobs:
            if job.kind.converts:
                source = self.form_at(self.producer[job.subject], placement)
                energy += self.costs.tensors[job.subject].convert_energy_pj
                reads += self.form_bytes(job.subject, source, placement)
                writes += self.form_bytes(job.subject, job.form, placement)
        return Evaluation(
            placement,
            jobs,
            timeline,
            timeline.latency_ps,
            _total_ps(jobs),
            energy,
            cycles,
            launches,
            reads,
            writes,
            constants,
            constants + peak_bytes(self, placement, jobs, timeline),
        )

    def _simulated(self, joined: JoinedJobs, order: Sequence[int] | None) -> Timeline:
        runs = Runs(joined.jobs, joined.runs)
        priorities = self.priorities(runs.jobs, order)
        return runs.apart(simulate(runs.jobs, priorities, self.costs.machinery))


def _total_ps(jobs: Sequence[Job]) -> int:
    return sum(job.run_ps + job.overhead_ps for job in jobs)
