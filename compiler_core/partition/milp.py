"""A mixed-integer program for modules too large to enumerate, solved by HiGHS through SciPy.

| symbol | meaning |
|---|---|
| ``x[g, c]`` | 1 where group ``g`` runs at a place of class ``c`` |
| ``e[g]`` | when it ends |
| ``v[t, f]`` | 1 where tensor ``t`` is brought into form ``f`` |
| ``y[h, g, u]`` | 1 where ``g`` continues the program of ``h`` on unit ``u``, which saves time |
| ``T`` | latency: at least every end, and at least the load of the CPU and of each unit's cores |

Places of one unit whose tensors have one form are a class: how an operator is cut there counts as
the least of all ways. A group has one class; that of the CPU in float32, ``1 - sum of x[g, c]``,
has no variable of its own. Dependences and conversions are in it; the order of jobs on a unit is
not, only their sum. So its optimum is a lower bound of every schedule, and its placement a good
guess.

The formulation is the usual one of scheduling on unrelated machines with set-up costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from compiler_core.integer_programs import solve
from compiler_core.partition.costs import ON_CPU_FORM
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import OUTSIDE
from compiler_core.partition.modules import Module
from compiler_core.partition.savings import saved_by_groups
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement

_MICROSECOND_PS = 10**6
_FEASIBLE = (0, 1, 4)
"""HiGHS found the optimum, or ran into a limit; that of nodes is told as "other"."""


class ModuleObjective(Enum):
    """What is minimized."""

    LATENCY = "latency"
    """End of the last job, units overlapping."""
    SUM = "sum"
    """Sum of all jobs: nothing overlaps."""


@dataclass(frozen=True)
class MilpResult:
    """A solved module.

    Attributes:
        placement: Of all groups; those outside the module as given. ``None`` if none was found.
        bound_ps: No placement of the module takes less.
    """

    placement: Placement | None
    bound_ps: int


def solve_module(
    evaluator: Evaluator,
    module: Module,
    context: Placement,
    choices: Mapping[int, Sequence[int]],
    *,
    objective: ModuleObjective = ModuleObjective.LATENCY,
    nodes: int = 1000,
    time_limit_s: float | None = None,
) -> MilpResult:
    """Solves one module between given places.

    Args:
        evaluator: Costs.
        module: Which groups.
        context: Placement of the groups outside.
        choices: Places that each group of the module may take.
        objective: What is minimized.
        nodes: Of HiGHS' tree, at most.
        time_limit_s: Ends it before that: what is found then depends on the machine.
    """
    limits: dict[str, float] = {"node_limit": nodes}
    if time_limit_s is not None:
        limits["time_limit"] = time_limit_s
    return _Program(evaluator, module, context, choices, objective).solve(limits)


@dataclass(frozen=True)
class _Class:
    """Places of a unit whose tensors have one form."""

    unit: int
    form: int


_Terms = dict[int, float]
"""Factors by variable."""


class _Program:
    def __init__(
        self,
        evaluator: Evaluator,
        module: Module,
        context: Placement,
        choices: Mapping[int, Sequence[int]],
        objective: ModuleObjective,
    ) -> None:
        self._owner, self._module, self._context = evaluator, module, context
        self._choices, self._objective = choices, objective
        self._size = 0
        self._binary: list[bool] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._rows: list[tuple[_Terms, float]] = []
        self._groups = range(module.first, module.stop)
        self._class_of = [
            _Class(unit, form)
            for unit, form in zip(evaluator.unit_of, evaluator.form_of, strict=True)
        ]
        self._float = self._class_of[ON_CPU]
        self._classes = [c for c in dict.fromkeys(self._class_of) if c != self._float]
        forms = range(len(evaluator.costs.forms))
        # The CPU's comes last.
        self._forms = [form for form in forms if form != ON_CPU_FORM] + [ON_CPU_FORM]
        self._x: dict[int, dict[_Class, int]] = {}
        self._end: dict[int, int] = {}
        self._saved: dict[tuple[int, int], _Terms] = {}
        self._horizon = sum(self._longest(group) for group in self._groups) + 1.0

    def _places(self, group: int, chosen: _Class) -> list[int]:
        """Places of a class at which a group can run."""
        at = self._owner.costs.groups[group].at
        tried = {*self._owner.choices[group], *self._choices.get(group, ())}
        return [p for p in sorted(tried) if p in at and self._class_of[p] == chosen]

    def _longest(self, group: int) -> float:
        cost = self._owner.costs.groups[group]
        names = {n for part in cost.cpu.parts for _, chain in part.views for n in chain}
        views = sum(self._owner.costs.view_ps[name] for name in names)
        longest = (cost.cpu.run_ps + views) / _MICROSECOND_PS
        item = self._owner.groups.groups[group]
        conversions = sum(self._owner.most_conversion_ps(t) for t in item.reads + item.writes)
        launch = self._owner.costs.launch_ps
        units = [at.busy_ps(launch) for at in cost.at.values() if not at.is_cut]
        units += [self._unit_ps(group, chosen)[0] for chosen in self._classes]
        longest += max(units, default=0) / _MICROSECOND_PS
        return longest + conversions / _MICROSECOND_PS

    def _unit_ps(self, group: int, chosen: _Class) -> tuple[int, int]:
        """Time of a group on a unit with its launches, and of the launches alone."""
        cut, sums = [], []
        for place in self._places(group, chosen):
            at, launch = (
                self._owner.costs.groups[group].at[place],
                self._owner.least_launch_ps(place),
            )
            if at.is_cut:
                cut.append(at.busy_ps(launch))
                continue
            if chosen.unit == ON_HOST:
                return at.busy_ps(launch), at.busy_ps(launch)
            for v in self._owner.variants(group, place):
                launches = launch * len(v)
                sums.append((sum(p.run_ps for p in v) + launches, launches))
        run, launches = min(sums, default=(min(cut, default=0), 0))
        return min([run, *cut]), launches

    def _load_us(self, group: int, chosen: _Class) -> float:
        """Time of all cores of a unit together that a group takes at least."""
        places = self._places(group, chosen)
        loads = [self._owner.loads(group, place)[1] for place in places]
        return min(loads, default=0) / _MICROSECOND_PS

    def _way_us(self, group: int, chosen: _Class, tensor: int | None = None) -> float:
        places = self._places(group, chosen)
        ways = [self._owner.least_way_ps(group, place, tensor) for place in places]
        return min(ways, default=0) / _MICROSECOND_PS

    def _variable(self, low: float, high: float, *, binary: bool = False) -> int:
        self._low.append(low)
        self._high.append(high)
        self._binary.append(binary)
        self._size += 1
        return self._size - 1

    def _at_most(self, terms: _Terms, limit: float) -> None:
        self._rows.append((terms, limit))

    def solve(self, limits: Mapping[str, float]) -> MilpResult:
        self._x = {group: self._one_hot(group) for group in self._groups}
        self._end = {g: self._variable(0.0, self._horizon) for g in self._groups}
        self._saved = self._savings()
        makespan = self._variable(0.0, self._horizon)
        for group, x in self._x.items():
            if len(x) > 1:
                self._at_most(dict.fromkeys(x.values(), 1.0), 1.0)
                if all(self._class_of[p] != self._float for p in self._choices[group]):
                    self._at_most(dict.fromkeys(x.values(), -1.0), -1.0)
        host: _Terms = {}
        units: dict[int, _Terms] = {c.unit: {} for c in self._classes if c.unit != ON_HOST}
        fixed = 0.0
        for group, x in self._x.items():
            on_cpu = self._owner.costs.groups[group].cpu.run_ps / _MICROSECOND_PS
            fixed += on_cpu
            row: _Terms = {self._end[group]: -1.0}
            for chosen, variable in x.items():
                _, launches = self._unit_ps(group, chosen)
                host[variable] = launches / _MICROSECOND_PS - on_cpu
                if chosen.unit != ON_HOST:
                    units[chosen.unit][variable] = self._load_us(group, chosen)
                row[variable] = self._way_us(group, chosen) - on_cpu
            self._at_most(row | self._saved_by(group), -on_cpu)
            self._at_most({self._end[group]: 1.0, makespan: -1.0}, 0.0)
        for tensor in range(len(self._owner.groups.tensors)):
            self._tensor(tensor, host, makespan)
        if self._objective is ModuleObjective.LATENCY:
            self._at_most({**host, makespan: -1.0}, -fixed)
            for unit, terms in units.items():
                cores = self._owner.costs.machinery.cores[unit]
                saved = _sum(*(self._saved.get((unit, group), {}) for group in self._groups))
                self._at_most({**terms, **saved, makespan: -float(cores)}, 0.0)
        else:
            total = dict(host)
            for group, x in self._x.items():
                for chosen, variable in x.items():
                    whole, launches = self._unit_ps(group, chosen)
                    own = whole / _MICROSECOND_PS - launches / _MICROSECOND_PS
                    total[variable] = total.get(variable, 0.0) + own
            saved = _sum(*(self._saved_by(group) for group in self._groups))
            self._at_most({**total, **saved, makespan: -1.0}, -fixed)
        return self._run(makespan, limits)

    def _one_hot(self, group: int) -> dict[_Class, int]:
        """A variable per class beside the CPU; one that a group may not take is 0."""
        asked = {self._class_of[place] for place in self._choices[group]}
        found = {}
        for chosen in self._classes:
            low, high = float(asked == {chosen}), float(chosen in asked)
            found[chosen] = self._variable(low, high, binary=True)
        return found

    def _savings(self) -> dict[tuple[int, int], _Terms]:
        """What each group saves on each unit: a variable per group that it may follow there, at
        most 1 where both are on that unit."""
        found: dict[tuple[int, int], _Terms] = {}
        saved = saved_by_groups(self._owner, self._groups)
        for (unit, before, group), time in saved.items():
            both = self._variable(0.0, 1.0)
            for own in {before, group} & self._x.keys():
                there = [v for c, v in self._x[own].items() if c.unit == unit]
                self._at_most({both: 1.0, **dict.fromkeys(there, -1.0)}, 0.0)
            found.setdefault((unit, group), {})[both] = -time / _MICROSECOND_PS
        return found

    def _saved_by(self, group: int) -> _Terms:
        """The same on whichever unit it is."""
        units = {c.unit for c in self._classes}
        return _sum(*(self._saved.get((unit, group), {}) for unit in units))

    def _in_form(self, group: int, form: int, sign: float) -> tuple[_Terms, float]:
        """Whether a group writes or reads in a form, as ``terms + constant``."""
        if group not in self._x:
            known = ON_CPU_FORM
            if group != OUTSIDE:
                known = self._owner.form_of[self._context[group]]
            return {}, sign * (known == form)
        x = self._x[group]
        if form != ON_CPU_FORM:
            return {v: sign for chosen, v in x.items() if chosen.form == form}, 0.0
        away = {v: -sign for chosen, v in x.items() if chosen.form != form}
        return away, sign

    def _tensor(self, tensor: int, host: _Terms, makespan: int) -> None:
        item = self._owner.groups.tensors[tensor]
        producer = item.producer
        readers = [reader for reader in item.consumers if reader in self._x]
        written_here = producer in self._x
        if not readers and not (written_here and item.is_output):
            return
        least = self._owner.least_conversion_ps
        times = {form: least(tensor, form) / _MICROSECOND_PS for form in self._forms}
        brought = {form: self._variable(0.0, 1.0) for form in self._forms}
        host |= {variable: times[form] for form, variable in brought.items()}
        for reader in readers:
            for form, variable in brought.items():  # what the reader wants and nobody has written
                written, constant = self._in_form(producer, form, -1.0)
                wanted, more = self._in_form(reader, form, 1.0)
                terms = _sum(written, wanted) | {variable: -1.0}
                self._at_most(terms, -constant - more)
            for form, variable in brought.items():
                self._wait(tensor, producer, reader, form, variable, times[form])
        if written_here and item.is_output:
            time = times[ON_CPU_FORM]
            away, constant = self._in_form(producer, ON_CPU_FORM, -1.0)
            self._at_most(away | {brought[ON_CPU_FORM]: -1.0}, -1.0 - constant)
            late = {variable: time * factor for variable, factor in away.items()}
            row = {self._end[producer]: 1.0, **late, makespan: -1.0}
            self._at_most(row, -time - time * constant)

    def _wait(
        self, tensor: int, producer: int, reader: int, form: int, variable: int, time: float
    ) -> None:
        """The reader ends after the conversion that its form needs, and its own work from the
        operator or the program on that reads the tensor."""
        on_cpu = self._owner.costs.groups[reader].cpu.run_ps_from(tensor) / _MICROSECOND_PS
        row: _Terms = {self._end[reader]: -1.0}
        for chosen, x in self._x[reader].items():
            row[x] = self._way_us(reader, chosen, tensor) - on_cpu
        if producer in self._x:
            row[self._end[producer]] = 1.0
        # time * (brought + in that form - 1): nothing to wait for in another form.
        inside, constant = self._in_form(reader, form, time)
        for x, factor in inside.items():
            row[x] += factor
        row[variable] = time
        self._at_most(row | self._saved_by(reader), -on_cpu + (time - constant))

    def _run(self, makespan: int, budget: Mapping[str, float]) -> MilpResult:
        objective = np.zeros(self._size)
        objective[makespan] = 1.0
        data, rows, columns = [], [], []
        for number, (terms, _) in enumerate(self._rows):
            for variable, factor in terms.items():
                data.append(factor)
                rows.append(number)
                columns.append(variable)
        # Loaded here: most commands solve nothing, and it takes a third of their start.
        from scipy.optimize import Bounds, LinearConstraint
        from scipy.sparse import csr_array

        matrix = csr_array((data, (rows, columns)), shape=(len(self._rows), self._size))
        limits = np.array([limit for _, limit in self._rows])
        result = solve(
            objective,
            integrality=np.array(self._binary, dtype=np.int64),
            bounds=Bounds(np.array(self._low), np.array(self._high)),
            constraints=LinearConstraint(matrix, -np.inf, limits),
            options={**budget, "mip_rel_gap": 1e-4},
        )
        bound = getattr(result, "mip_dual_bound", None)
        # Below HiGHS' tolerances, so that a bound stays one.
        bound_ps = 0 if bound is None else max(0, int(bound * _MICROSECOND_PS * (1 - 1e-6)))
        if result.status not in _FEASIBLE or result.x is None:
            return MilpResult(None, bound_ps)
        placement = list(self._context)
        for group, x in self._x.items():
            chosen = next((c for c, variable in x.items() if result.x[variable] > 0.5), None)
            wanted = [
                p for p in self._choices[group] if self._class_of[p] == (chosen or self._float)
            ]
            placement[group] = wanted[0] if wanted else self._choices[group][0]
        return MilpResult(tuple(placement), bound_ps)


def _sum(*parts: _Terms) -> _Terms:
    total: _Terms = {}
    for part in parts:
        for variable, factor in part.items():
            total[variable] = total.get(variable, 0.0) + factor
    return total
