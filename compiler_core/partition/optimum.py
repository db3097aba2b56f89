"""The best placement of a cost table, with a proof of how far it is from the best there can be.

1. The model is cut into modules (:mod:`compiler_core.partition.modules`).
2. Per module and per place of its first and last neighbour, all placements are tried: a lower bound
   over every order of the jobs first, the simulator where the bound leaves hope. A module with too
   many placements goes to the mixed-integer program, then to a local search.
3. Dynamic programming over the modules puts them together; done with the bounds instead, it gives a
   bound of the whole.
4. Whatever was given to start from is compared by the same simulator, and the better one improved
   by changing single groups, until nothing helps or the budget is spent.

Budgets count nodes of the program and placements that are looked at: however loaded the machine is,
the result is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, prod
from time import monotonic

from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.milp import ModuleObjective, solve_module
from compiler_core.partition.modules import Module, lower_bound_ps, modules_of
from compiler_core.partition.port_bound import late_or_early_bound_ps
from compiler_core.partition.savings import most_saved_ps
from compiler_core.system.jobs import ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement

MAX_ENUMERATED = 1 << 12
"""Placements of a module that are tried one by one."""

_NODES = 20_000
_EVALUATIONS = 50_000
"""Nodes of the mixed-integer programs, and placements of local searches, times the groups that each
is about: what a model's modules that are not enumerated may spend together."""

_DEAR = 64
"""Groups from which on a node of those programs counts by its size: each solves linear programs
whose work grows with the square of the groups, counted on 100 and 300 additions in one module."""

_FEWEST_NODES = 2

_IMPROVEMENTS = 100_000
"""Placements of the whole that the last step may look at, times the groups."""


@dataclass(frozen=True)
class Optimum:
    """The best placement found.

    Attributes:
        placement: Number of a place for each group.
        latency_ps: By the system simulator.
        bound_ps: No placement and no order takes less.
        modules: How many parts the model was cut into.
        enumerated: How many of them were searched completely.
        evaluations: Placements of modules looked at.
        seconds: Wall time.
    """

    placement: Placement
    latency_ps: int
    bound_ps: int
    modules: int
    enumerated: int
    evaluations: int
    seconds: float

    @property
    def gap(self) -> float:
        """How much shorter another plan could be at most, as a share of the latency."""
        return 0.0 if not self.latency_ps else 1.0 - self.bound_ps / self.latency_ps


def bound_ps(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> int:
    """What no placement beats, without a search for good ones.

    Args:
        evaluator: Costs.
        pins: Groups whose place is given.
    """
    search = _Search(evaluator, pins or {}, ModuleObjective.LATENCY, None, descends=False)
    return search.bound_ps(search.shares())


def find_optimum(
    evaluator: Evaluator,
    *,
    pins: Mapping[int, int] | None = None,
    starts: Iterable[Placement] = (),
    objective: ModuleObjective = ModuleObjective.LATENCY,
    time_limit_s: float | None = None,
) -> Optimum:
    """Finds the best placement.

    Args:
        evaluator: Costs.
        pins: Groups whose place is given.
        starts: Placements that the result is never worse than.
        objective: Latency with overlap, or the sum of all jobs without (then ``latency_ps`` and
            ``bound_ps`` are sums, too).
        time_limit_s: Ends the search of what is not enumerated before its budget is spent: what
            is found then depends on the machine.
    """
    return _Search(evaluator, pins or {}, objective, time_limit_s).run(tuple(starts))


@dataclass(frozen=True)
class _Share:
    """A module's best: its placement, what it takes and what nothing can beat."""

    time_ps: int
    bound_ps: int
    placement: tuple[int, ...]


_Shares = dict[tuple[int, int], _Share]


def _nodes(parts: int, groups: int) -> int:
    """Of the mixed-integer program of one of so many parts, which is of so many groups."""
    return max(_FEWEST_NODES, _NODES * _DEAR // (parts * groups * max(_DEAR, groups)))


class _Search:
    def __init__(
        self,
        evaluator: Evaluator,
        pins: Mapping[int, int],
        objective: ModuleObjective,
        time_limit_s: float | None,
        *,
        descends: bool = True,
    ) -> None:
        self._evaluator, self._objective = evaluator, objective
        self._descends = descends
        self._began = monotonic()
        self._deadline = inf if time_limit_s is None else self._began + time_limit_s
        self._choices: list[tuple[int, ...]] = [
            (pins[group],) if group in pins else tuple(places)
            for group, places in enumerate(evaluator.choices)
        ]
        self._first_choices = [choices[0] for choices in self._choices]
        self._enumerated = self._evaluations = 0

    def shares(self) -> list[_Shares]:
        """Of all modules."""
        modules = modules_of(self._evaluator.groups)
        large = sum(self._size(module) > MAX_ENUMERATED for module in modules)
        shares = []
        entering: Sequence[int] = (ON_CPU,)
        for module in modules:
            shares.append(self._module(module, entering, max(1, large)))
            entering = self._choices[module.stop - 1]
        return shares

    def bound_ps(self, shares: Sequence[_Shares]) -> int:
        """What no placement beats."""
        return self._chain([_by_bound(table) for table in shares])[0]

    def run(self, starts: Sequence[Placement]) -> Optimum:
        shares = self.shares()
        bound = self.bound_ps(shares)
        best = self._chain(shares)[1]
        time = self._value(best)
        for start in starts:
            if all(place in allowed for place, allowed in zip(start, self._choices, strict=True)):
                found = self._value(start)
                if found < time:
                    time, best = found, start
        if bound < time:
            time, best = self._improve(time, best)
        return Optimum(
            best,
            time,
            min(bound, time),
            len(shares),
            self._enumerated,
            self._evaluations,
            monotonic() - self._began,
        )

    @property
    def _left_s(self) -> float:
        return max(1.0, self._deadline - monotonic())

    def _size(self, module: Module) -> int:
        return prod(len(self._choices[g]) for g in range(module.first, module.stop - 1))

    def _value(self, placement: Placement) -> int:
        self._evaluations += 1
        if self._objective is ModuleObjective.SUM:
            return self._evaluator.sequential_ps(placement)
        return self._evaluator.latency_ps(placement)

    def _module(self, module: Module, entering: Sequence[int], large: int) -> _Shares:
        """The best share for each place before the module and each place at its end."""
        shares: _Shares = {}
        owner = self._evaluator
        alike = [
            (form, place if owner.joins_at(place) else -1)
            for place, form in enumerate(owner.form_of)
        ]
        leaving = self._choices[module.stop - 1]
        enumerable = self._size(module) <= MAX_ENUMERATED
        self._enumerated += enumerable
        for before, end in product(entering, leaving):
            same = next((p for p in entering if alike[p] == alike[before]), before)
            if (same, end) in shares:  # who wrote a tensor makes no other difference
                shares[before, end] = shares[same, end]
            elif enumerable:
                shares[before, end] = self._enumerate(module, before, end)
            else:
                parts = large * len(entering) * len(leaving)
                shares[before, end] = self._solve(module, before, end, parts)
        return shares

    def _context(self, module: Module, before: int) -> list[int]:
        context = self._first_choices.copy()
        if module.first:
            context[module.first - 1] = before
        return context

    def _enumerate(self, module: Module, before: int, end: int) -> _Share:
        choices = {g: self._ordered(g) for g in range(module.first, module.stop)}
        choices[module.stop - 1] = (end,)
        placement = self._context(module, before)
        placement[module.first : module.stop] = [places[0] for places in choices.values()]
        best = self._descend(tuple(placement), module, choices, _EVALUATIONS)
        bound = best[0]
        for candidate in self._hopeful(placement, module, choices, best[0]):
            time, least = self._part(candidate, module, best[0])
            bound = min(bound, least)
            if time is not None and time < best[0]:
                best = time, candidate
        return _Share(best[0], min(bound, best[0]), best[1][module.first : module.stop])

    def _ordered(self, group: int) -> tuple[int, ...]:
        """Places of a group, the one that asks least of everything first."""
        loads = self._evaluator.loads
        return tuple(sorted(self._choices[group], key=lambda place: sum(loads(group, place))))

    def _hopeful(
        self,
        start: Sequence[int],
        module: Module,
        choices: Mapping[int, Sequence[int]],
        limit: int,
    ) -> Iterator[Placement]:
        """Placements of a module but for those whose load on one unit alone reaches ``limit``:
        their times are no better, so neither are their bounds worth anything."""
        cores = self._evaluator.costs.machinery.cores
        asked = {g: [self._asked(g, place) for place in choices[g]] for g in choices}
        placement, loads = list(start), [0] * len(cores)

        def walk(group: int, cpu: int) -> Iterator[Placement]:
            if group == module.stop:
                yield tuple(placement)
                return
            for place, (on_cpu, unit, on_unit) in zip(choices[group], asked[group], strict=True):
                placement[group] = place
                loads[unit] += on_unit
                if cpu + on_cpu <= limit and -(-loads[unit] // cores[unit]) <= limit:
                    yield from walk(group + 1, cpu + on_cpu)
                loads[unit] -= on_unit

        yield from walk(module.first, 0)

    def _asked(self, group: int, place: int) -> tuple[int, int, int]:
        """What a group asks of the CPU, and of which unit it asks what; where the sum of all jobs
        counts, all of that in the first."""
        on_cpu, on_unit = self._evaluator.loads(group, place)
        unit = self._evaluator.unit_of[place]
        if unit == ON_HOST:
            return on_cpu, 0, 0
        on_unit -= most_saved_ps(self._evaluator, group, place)
        if self._objective is ModuleObjective.SUM:
            is_cut = self._evaluator.costs.places[place].is_cut
            cores = self._evaluator.costs.cores_at(place) if is_cut else 1
            return on_unit // cores, 0, 0
        return on_cpu, unit, on_unit

    def _part(
        self, placement: Placement, module: Module, best: int | None
    ) -> tuple[int | None, int]:
        """Time of a module, ``None`` where its bound shows that it cannot beat ``best``; bound."""
        self._evaluations += 1
        found = self._evaluator.played(placement, module.first, module.stop)
        if self._objective is ModuleObjective.SUM:
            total = min(sum(job.run_ps + job.overhead_ps for job in jobs) for jobs in found)
            return total, total
        machinery = self._evaluator.costs.machinery
        time, least = best, None
        for jobs in found:
            bound = lower_bound_ps(jobs, machinery)
            if max(machinery.cores) > 1 and (time is None or bound < time):
                bound = max(bound, late_or_early_bound_ps(jobs, machinery))
            if time is None or bound < time:
                own = simulate(jobs, ranks(jobs), machinery).latency_ps
                time = own if time is None else min(time, own)
            least = bound if least is None else min(least, bound)
        assert least is not None
        return None if time == best else time, least

    def _module_time(self, placement: Placement, module: Module) -> int:
        """Time of a module, of which only what is not known is timed."""
        self._evaluations += 1
        sections = self._evaluator.sections
        if self._objective is ModuleObjective.SUM:
            return sections.sequential_ps(placement, module.first, module.stop)
        return sections.latency_ps(placement, module.first, module.stop)

    def _solve(self, module: Module, before: int, end: int, parts: int) -> _Share:
        """One of so many parts that share the budgets."""
        context = self._context(module, before)
        choices = {g: self._choices[g] for g in range(module.first, module.stop)}
        choices[module.stop - 1] = (end,)
        result = solve_module(
            self._evaluator,
            module,
            tuple(context),
            choices,
            objective=self._objective,
            nodes=_nodes(parts, len(choices)),
            time_limit_s=None if self._deadline == inf else self._left_s / (2 * parts),
        )
        found = result.placement
        if found is None:
            fallback = list(context)
            for group, units in choices.items():
                fallback[group] = units[-1]
            found = tuple(fallback)
        if self._descends:
            time, found = self._descend(found, module, choices, _EVALUATIONS // parts)
        else:
            time = self._module_time(found, module)
        return _Share(time, min(time, result.bound_ps), found[module.first : module.stop])

    def _descend(
        self,
        start: Placement,
        module: Module,
        choices: Mapping[int, Sequence[int]],
        budget: int,
    ) -> tuple[int, Placement]:
        """Changes single groups of a module while that helps and the budget lasts."""
        left = max(1, budget // len(choices))
        best, time = start, self._module_time(start, module)
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(best, choices):
                if left <= 0 or monotonic() >= self._deadline:
                    return time, best
                left -= 1
                found = self._module_time(candidate, module)
                if found < time:
                    time, best, improved = found, candidate, True
        return time, best

    def _chain(self, shares: Sequence[_Shares]) -> tuple[int, Placement]:
        """Dynamic programming over the modules."""
        states: dict[int, tuple[int, tuple[int, ...]]] = {ON_CPU: (0, ())}
        for table in shares:
            following: dict[int, tuple[int, tuple[int, ...]]] = {}
            for (before, end), share in table.items():
                if before not in states:
                    continue
                time = states[before][0] + share.time_ps
                if end not in following or time < following[end][0]:
                    following[end] = time, states[before][1] + share.placement
            states = following
        return min(states.values(), default=(0, ()))

    def _improve(self, time: int, best: Placement) -> tuple[int, Placement]:
        choices = dict(enumerate(self._choices))
        left = _IMPROVEMENTS // max(1, len(choices))
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(best, choices):
                if left <= 0 or monotonic() >= self._deadline:
                    return time, best
                left -= 1
                found = self._value(candidate)
                if found < time:
                    time, best, improved = found, candidate, True
        return time, best


def _neighbours(placement: Placement, choices: Mapping[int, Sequence[int]]) -> Iterator[Placement]:
    for group, places in choices.items():
        for place in places:
            if place != placement[group]:
                yield (*placement[:group], place, *placement[group + 1 :])


def _by_bound(shares: _Shares) -> _Shares:
    return {
        key: _Share(share.bound_ps, share.bound_ps, share.placement)
        for key, share in shares.items()
    }
