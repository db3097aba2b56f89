"""The jobs of a placement: operators, launches, conversions at borders, and what each waits for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from compiler_core.partition.costs import ON_CPU_FORM
from compiler_core.partition.group_graph import OUTSIDE
from compiler_core.partition.savings import Border
from compiler_core.system.jobs import NOWHERE, Job, JobKind
from compiler_core.system.joinable import joinable
from compiler_core.system.runs import Runs
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement

if TYPE_CHECKING:
    from compiler_core.partition.evaluate import Evaluator
    from compiler_core.partition.layer_shares import LayerShare

_AT_START = -1


class JoinedJobs(NamedTuple):
    """Jobs, and which of them are one program.

    Attributes:
        jobs: Topologically sorted.
        runs: Jobs of programs that are one, in order; two or more each.
        views: Names of the views that the CPU runs.
    """

    jobs: list[Job]
    runs: list[list[int]]
    views: Collection[str] = ()

    def played(self) -> list[Job]:
        """As the timeline plays them: layers of one program are one job."""
        return Runs(self.jobs, self.runs).jobs if self.runs else self.jobs


class PlacedJobs:
    """Builds the jobs of a range of groups.

    Args:
        evaluator: The model and its costs.
        placement: Of all groups.
        first, stop: The range; what other groups write is there.
    """

    def __init__(
        self, evaluator: Evaluator, placement: Placement, first: int = 0, stop: int | None = None
    ) -> None:
        self._owner, self._placement = evaluator, placement
        self._costs = evaluator.costs
        self._first = first
        self._stop = len(placement) if stop is None else stop
        self._groups = range(self._first, self._stop)
        self._jobs: list[Job] = []
        self._last: dict[int, int] = {}
        self._converted: dict[tuple[int, int], int] = {}
        self._views: dict[str, int] = {}
        self._names: dict[int, str] = {}  # of the launch, by job
        self._host_memory = 1 << self._costs.machinery.host_memory

    def _form(self, group: int) -> int:
        """The form in which a group writes."""
        return self._owner.form_at(group, self._placement)

    def build(self) -> list[Job]:
        """All jobs, topologically sorted, each program with a launch of its own."""
        owner = self._owner
        for group in self._groups:
            if self._placement[group] == ON_CPU:
                self._operators(group)
            elif owner.unit_of[self._placement[group]] == ON_HOST:
                self._integers(group)
            else:
                self._programs(group)
        for group in self._groups:
            for tensor in owner.outputs[group]:
                self._hand_out(tensor, group)
        if self._first == 0:
            for tensor, item in enumerate(owner.groups.tensors):
                if item.producer == OUTSIDE and item.is_output:
                    self._hand_out(tensor, 0)
        if owner.joins_layers:
            self._look_through_concatenations()
        return self._jobs

    def joined(self, *, chains: bool) -> JoinedJobs:
        """What was built; programs that continue the one before cost no launch of their own.

        Args:
            chains: See :func:`~compiler_core.system.joinable.joinable`.
        """
        owner, jobs = self._owner, self._jobs.copy()
        kept = [at for at, job in enumerate(jobs) if job.kind is not JobKind.JOIN]
        first = bool(self._first)
        number = {at: index + first for index, at in enumerate(kept)}
        after = [tuple(number[source] for source in jobs[at].after) for at in kept]
        where: list[int | None] = []
        for at in kept:
            place = self._placement[jobs[at].subject] if jobs[at].kind is JobKind.PROGRAM else None
            where.append(place if place is not None and owner.joins_at(place) else None)
        if first:
            # What is before a module is over when its last group is: a program that may go on.
            place = self._placement[self._first - 1]
            where.insert(0, place if owner.joins_at(place) else None)
            after = [(), *(sources or (0,) for sources in after)]
        continued = set(joinable(after, where, chains=chains))
        programs = [index for index, place in enumerate(where) if place is not None]
        runs = self._runs(
            (kept[index - first] if index or not first else _AT_START, index in continued)
            for index in programs
        )
        for at in (kept[index - first] for index in continued):
            jobs[at] = jobs[at]._replace(overhead_ps=0)
        if owner.savings:
            at_of = {index: kept[index - first] for index in programs if index or not first}
            for before, index in pairwise(programs):
                if index in continued:
                    at = at_of[index]
                    jobs[at] = self._behind(jobs[at], at_of.get(before, _AT_START), self._names[at])
        return JoinedJobs(jobs, runs, self.views)

    def _behind(self, job: Job, before: int, name: str) -> Job:
        """A layer with the time that it takes behind the one before."""
        if before == _AT_START:
            at = self._first - 1
            leading = self._owner.programs(at, self._placement)[-1:]
            previous = leading[0].name if leading else ""
        else:
            previous = self._names[before]
        saved = self._owner.savings.of.get(Border(job.unit, previous, name), 0)
        return job._replace(run_ps=max(0, job.run_ps - saved))

    @staticmethod
    def _runs(programs: Iterable[tuple[int, bool]]) -> list[list[int]]:
        """Programs of several layers: jobs, with whether each continues the one before."""
        runs: list[list[int]] = []
        for at, continues in programs:
            if continues:
                runs[-1].append(at)
            else:
                runs.append([at])
        inside = ([at for at in run if at != _AT_START] for run in runs)
        return [run for run in inside if len(run) > 1]

    def _look_through_concatenations(self) -> None:
        """Who reads a concatenation in place waits for its producers, which may be in its run."""
        jobs, beyond = self._jobs, dict[int, tuple[int, ...]]()
        for at, job in enumerate(jobs):
            if any(source in beyond for source in job.after):
                own = (beyond.get(source, (source,)) for source in job.after)
                job = jobs[at] = job._replace(after=self._after(s for some in own for s in some))
            if job.kind is JobKind.JOIN:
                beyond[at] = job.after

    def shared(self, shares: Mapping[str, LayerShare]) -> JoinedJobs:
        """What was built, programs with the shares that they are known to take."""
        jobs = self._jobs.copy()
        at_of = {name: at for at, name in self._names.items()}
        known = [(at_of[name], share) for name, share in shares.items() if name in at_of]
        for at, share in known:
            jobs[at] = jobs[at]._replace(
                run_ps=share.run_ps,
                overhead_ps=share.overhead_ps,
                read_ppm=share.read_ppm,
                write_ppm=share.write_ppm,
            )
        runs = self._runs((at, share.continues) for at, share in known)
        return JoinedJobs(jobs, runs, self.views)

    @property
    def views(self) -> tuple[str, ...]:
        """Views that the CPU runs, once the jobs are built."""
        return tuple(self._views)

    def _hand_out(self, tensor: int, group: int) -> None:
        """A tensor to the caller of the model, in every shape that it wants."""
        self._there(tensor, ON_CPU_FORM)
        for alias in self._owner.groups.tensors[tensor].aliases:
            if alias.is_output:
                self._viewed(tensor, alias.views, group)

    def _viewed(self, tensor: int, views: tuple[str, ...], group: int) -> int:
        """Job after which the CPU has a tensor behind ``views``, which run for ``group``."""
        owner = self._owner
        after = self._there(tensor, ON_CPU_FORM)
        if not views or owner.laid_out(tensor, self._placement, self._groups):
            return after
        for name in views:
            # Where only a part of the model is looked at, one before it may have run the view.
            if self._first and owner.first_user[name] < self._first:
                continue
            if name not in self._views:
                time, position = self._costs.view_ps[name], self._costs.view_positions[name]
                self._operator(group, time, self._after((after,)), position)
                self._views[name] = len(self._jobs) - 1
            after = self._views[name]
        return after

    def _operators(self, group: int) -> None:
        for part in self._costs.groups[group].cpu.parts:
            sources = [self._there(tensor, ON_CPU_FORM) for tensor in part.reads]
            sources += [self._viewed(tensor, views, group) for tensor, views in part.views]
            sources.append(self._last.get(group, _AT_START))
            self._operator(group, part.run_ps, self._after(sources), part.position)
            self._last[group] = len(self._jobs) - 1

    def _integers(self, group: int) -> None:
        """One loop on the integers of another unit."""
        form = self._form(group)
        (launch,) = self._owner.unit_cost(group, self._placement[group]).programs
        (order,) = self._owner.unit_cost(group, self._placement[group]).order
        sources = []
        for part in self._costs.groups[group].cpu.parts:
            # It looks at integers in any shape by itself.
            sources += [self._by_host(tensor, form) for tensor in part.reads]
        self._operator(group, launch.run_ps, self._after(sources), order.position)
        self._last[group] = len(self._jobs) - 1

    def _operator(self, group: int, time: int, after: tuple[int, ...], position: int) -> None:
        job = Job(
            group,
            JobKind.OPERATOR,
            ON_HOST,
            time,
            0,
            after,
            position=position,
            memories=self._host_memory,
        )
        self._jobs.append(job)

    def _programs(self, group: int) -> None:
        owner, number = self._owner, self._placement[group]
        unit, core, memories = owner.run_at[number]
        form, jobs = self._form(group), self._jobs
        order, launch = owner.unit_cost(group, number).order, self._costs.launch_ps
        inputs = [self._there(tensor, form) for tensor in owner.groups.groups[group].reads]
        written: dict[int, int] = {}
        for position, program in owner.launches(group, self._placement):
            waits = order[position]
            sources = [self._there(tensor, form) for tensor in waits.tensors]
            sources += [written[earlier] for earlier in waits.programs if earlier in written]
            written[position] = len(jobs)
            self._names[len(jobs)] = program.name
            jobs.append(
                Job(
                    group,
                    JobKind.PROGRAM,
                    unit,
                    program.run_ps,
                    launch * program.parts,
                    self._after(sources),
                    core,
                    program.read_ppm,
                    program.write_ppm,
                    waits.position,
                    memories,
                )
            )
        if number in owner.joins[group]:
            # What is read of it was written by its programs and by the groups before it.
            after = self._after((*inputs, *written.values()))
            self._jobs.append(Job(group, JobKind.JOIN, NOWHERE, 0, 0, after, memories=0))
        self._last[group] = len(self._jobs) - 1

    @staticmethod
    def _after(sources: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted({source for source in sources if source != _AT_START}))

    def _there(self, tensor: int, form: int) -> int:
        """Job after which a tensor is there in a form."""
        producer = self._owner.producer[tensor]
        source = self._form(producer)
        if source == form:
            return self._last.get(producer, _AT_START)
        if self._joins(source, form) and self._host_reads(tensor):
            # The CPU makes integers of it for its own work: one conversion serves both.
            return self._through_float(tensor, form)
        by_host = producer != OUTSIDE and self._owner.unit_of[self._placement[producer]] == ON_HOST
        if by_host and source in self._owner.integer_forms and self._is_other(form):
            # What the CPU has as integers, it hands to other numbers by way of float.
            return self._through_float(tensor, form)
        found = self._converted.get((tensor, form))
        if found is None:
            found = self._converted[tensor, form] = self._conversion(tensor, source, form)
        return found

    def _by_host(self, tensor: int, form: int) -> int:
        """Job after which a tensor is there for the CPU's own work on integers: numbers of a unit's
        own come by way of float."""
        if self._is_other(self._form(self._owner.producer[tensor])):
            return self._through_float(tensor, form)
        return self._there(tensor, form)

    def _joins(self, source: int, form: int) -> bool:
        """Whether numbers of a unit's own become integers."""
        return self._is_other(source) and form in self._owner.integer_forms

    def _host_reads(self, tensor: int) -> bool:
        """Whether the CPU works on the integers of a tensor."""
        return any(
            self._placement[reader] != ON_CPU
            and self._owner.unit_of[self._placement[reader]] == ON_HOST
            for reader in self._owner.groups.tensors[tensor].consumers
        )

    def _is_other(self, form: int) -> bool:
        """Whether a form is of numbers of a unit's own."""
        return form != ON_CPU_FORM and form not in self._owner.integer_forms

    def _through_float(self, tensor: int, form: int) -> int:
        found = self._converted.get((tensor, form))
        if found is None:
            after = self._there(tensor, ON_CPU_FORM)
            found = self._conversion(tensor, ON_CPU_FORM, form, after)
            self._converted[tensor, form] = found
        return found

    def _conversion(
        self, tensor: int, source: int, form: int, before_job: int | None = None
    ) -> int:
        owner, costs = self._owner, self._costs
        kind = JobKind.CONVERT
        if source == ON_CPU_FORM:
            kind = JobKind.QUANTIZE
        elif form == ON_CPU_FORM:
            kind = JobKind.DEQUANTIZE
        before = costs.tensors[tensor].form_bytes[source]
        size = before + owner.form_bytes(tensor, form, self._placement)
        if before_job is None:
            before_job = self._last.get(owner.producer[tensor], _AT_START)
        after = self._after((before_job,))
        self._jobs.append(
            Job(
                tensor,
                kind,
                ON_HOST,
                owner.converting_ps(tensor, source, form, size),
                0,
                after,
                position=costs.positions[tensor],
                memories=self._host_memory
                | 1 << costs.forms[source].memory
                | 1 << costs.forms[form].memory,
                form=form,
            )
        )
        return len(self._jobs) - 1
