"""A mixed-integer program for modules too large to enumerate, solved by HiGHS through SciPy.

| symbol | meaning |
|---|---|
| ``x[g]`` | 1 where group ``g`` runs on the NPU |
| ``e[g]`` | when it ends |
| ``q[t]``, ``d[t]`` | 1 where tensor ``t`` is quantized, dequantized |
| ``T`` | latency: at least every end, and at least the load of the CPU and of the cores |

Dependences and conversions are in it; the order of tasks on a unit is not, only their sum. So its
optimum is a lower bound of every schedule, and its placement a good guess.

The formulation is the usual one of scheduling on unrelated machines with set-up costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.groups import OUTSIDE
from compiler_core.partition.modules import Module
from compiler_core.partition.placement import ON_CPU, Placement

_MICROSECOND_PS = 10**6
_FEASIBLE = (0, 1)
"""HiGHS found the optimum, or ran into its time limit."""


class Objective(Enum):
    """What is minimized."""

    LATENCY = "latency"
    """End of the last task, units overlapping."""
    SUM = "sum"
    """Sum of all tasks: nothing overlaps."""


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
    objective: Objective = Objective.LATENCY,
    time_limit_s: float = 10.0,
) -> MilpResult:
    """Solves one module between given units.

    Args:
        evaluator: Costs.
        module: Which groups.
        context: Placement of the groups outside.
        choices: Units that each group of the module may take.
        objective: What is minimized.
        time_limit_s: For HiGHS.
    """
    return _Program(evaluator, module, context, choices, objective).solve(time_limit_s)


class _Program:
    def __init__(
        self,
        evaluator: Evaluator,
        module: Module,
        context: Placement,
        choices: Mapping[int, Sequence[int]],
        objective: Objective,
    ) -> None:
        self._owner, self._module, self._context = evaluator, module, context
        self._choices, self._objective = choices, objective
        self._size = 0
        self._binary: list[bool] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._rows: list[tuple[dict[int, float], float]] = []
        self._groups = range(module.first, module.stop)
        self._horizon = sum(self._longest(group) for group in self._groups) + 1.0

    def _longest(self, group: int) -> float:
        cost = self._owner.costs.groups[group]
        names = {n for part in cost.cpu_parts for _, chain in part.views for n in chain}
        views = sum(self._owner.costs.view_ps[name] for name in names)
        longest = (cost.cpu_ps + views) / _MICROSECOND_PS
        tensors = self._owner.groups.groups[group].reads + self._owner.groups.groups[group].writes
        conversions = sum(self._owner.most_conversion_ps(tensor) for tensor in tensors)
        launch = self._owner.costs.launch_ps
        programs = sum(program.run_ps + launch for program in cost.programs or ())
        longest += max(self._npu_us(group)[0], programs / _MICROSECOND_PS)
        return longest + conversions / _MICROSECOND_PS

    def _npu_us(self, group: int) -> tuple[float, float]:
        """Time of a group on the NPU with its launches, and of the launches alone."""
        cost = self._owner.costs.groups[group]
        variants = self._owner.variants(group)
        launch = self._owner.costs.launch_ps
        sums = [(sum(p.run_ps for p in v) + launch * len(v), launch * len(v)) for v in variants]
        run, launches = min(sums, default=(0, 0))
        if cost.sliced is not None:
            run = min(run, cost.sliced.run_ps + launch * cost.sliced.parts)
        return run / _MICROSECOND_PS, launches / _MICROSECOND_PS

    def _load_us(self, group: int) -> float:
        """Time of all cores together that a group takes at least."""
        cost, cores = self._owner.costs.groups[group], self._owner.costs.cores
        launch = self._owner.costs.launch_ps
        variants = self._owner.variants(group)
        loads = [sum(p.run_ps + launch for p in variant) for variant in variants]
        if cost.sliced is not None:
            loads.append(cores * (cost.sliced.run_ps + cost.sliced.parts * launch))
        return min(loads, default=0) / _MICROSECOND_PS

    def _variable(self, low: float, high: float, *, binary: bool = False) -> int:
        self._low.append(low)
        self._high.append(high)
        self._binary.append(binary)
        self._size += 1
        return self._size - 1

    def _at_most(self, terms: dict[int, float], limit: float) -> None:
        self._rows.append((terms, limit))

    def solve(self, time_limit_s: float) -> MilpResult:
        place = {g: self._place(g) for g in self._groups}
        end = {g: self._variable(0.0, self._horizon) for g in self._groups}
        makespan = self._variable(0.0, self._horizon)
        cpu: dict[int, float] = {}
        npu: dict[int, float] = {}
        fixed_cpu = 0.0
        for group in self._groups:
            on_cpu = self._owner.costs.groups[group].cpu_ps / _MICROSECOND_PS
            _, launches = self._npu_us(group)
            fixed_cpu += on_cpu
            cpu[place[group]] = launches - on_cpu
            npu[place[group]] = self._load_us(group)
            way = self._owner.least_way_ps(group) / _MICROSECOND_PS
            self._at_most({end[group]: -1.0, place[group]: way - on_cpu}, -on_cpu)
            self._at_most({end[group]: 1.0, makespan: -1.0}, 0.0)
        for tensor in range(len(self._owner.groups.tensors)):
            self._tensor(tensor, place, end, cpu, makespan)
        if self._objective is Objective.LATENCY:
            self._at_most({**cpu, makespan: -1.0}, -fixed_cpu)
            self._at_most({**npu, makespan: -float(self._owner.costs.cores)}, 0.0)
        else:
            total = dict(cpu)
            for group in self._groups:
                variable, (on_npu, launches) = place[group], self._npu_us(group)
                total[variable] = total.get(variable, 0.0) + on_npu - launches
            self._at_most({**total, makespan: -1.0}, -fixed_cpu)
        return self._run(place, makespan, time_limit_s)

    def _place(self, group: int) -> int:
        units = {int(unit != ON_CPU) for unit in self._choices[group]}
        return self._variable(min(units), max(units), binary=True)

    def _tensor(
        self,
        tensor: int,
        place: dict[int, int],
        end: dict[int, int],
        cpu: dict[int, float],
        makespan: int,
    ) -> None:
        item = self._owner.groups.tensors[tensor]
        producer = item.producer
        readers = [reader for reader in item.consumers if reader in place]
        written_here = producer in place
        if not readers and not (written_here and item.is_output):
            return
        convert = self._owner.least_conversion_ps(tensor) / _MICROSECOND_PS
        inward = self._variable(0.0, 1.0)
        outward = self._variable(0.0, 1.0)
        cpu[inward] = cpu[outward] = convert
        known = None
        if not written_here:
            known = 0 if producer == OUTSIDE else int(self._context[producer] != ON_CPU)

        def producer_terms(sign: float) -> tuple[dict[int, float], float]:
            if known is not None:
                return {}, sign * known
            return {place[producer]: sign}, 0.0

        for reader in readers:
            terms, constant = producer_terms(-1.0)
            self._at_most({**terms, place[reader]: 1.0, inward: -1.0}, -constant)
            terms, constant = producer_terms(1.0)
            self._at_most({**terms, place[reader]: -1.0, outward: -1.0}, -constant)
            # From the operator or the program on that reads it.
            on_cpu = self._owner.costs.groups[reader].cpu_ps_from(tensor) / _MICROSECOND_PS
            change = self._owner.least_way_ps(reader, tensor) / _MICROSECOND_PS - on_cpu
            for variable, toward_npu in ((inward, True), (outward, False)):
                # The reader starts after the conversion that its own unit needs.
                row = {end[reader]: -1.0, place[reader]: change}
                limit = -on_cpu
                if written_here:
                    row[end[producer]] = 1.0
                if not toward_npu:
                    # convert * (outward - x[reader]): nothing to wait for on the NPU.
                    row[place[reader]] = change - convert
                    row[variable] = convert
                else:
                    # convert * (inward + x[reader] - 1)
                    row[place[reader]] = change + convert
                    row[variable] = convert
                    limit = -on_cpu + convert
                self._at_most(row, limit)
        if written_here and item.is_output:
            self._at_most({place[producer]: 1.0, outward: -1.0}, 0.0)
            self._at_most({end[producer]: 1.0, place[producer]: convert, makespan: -1.0}, 0.0)

    def _run(self, place: dict[int, int], makespan: int, time_limit_s: float) -> MilpResult:
        objective = np.zeros(self._size)
        objective[makespan] = 1.0
        data, rows, columns = [], [], []
        for number, (terms, _) in enumerate(self._rows):
            for variable, factor in terms.items():
                data.append(factor)
                rows.append(number)
                columns.append(variable)
        matrix = csr_array((data, (rows, columns)), shape=(len(self._rows), self._size))
        limits = np.array([limit for _, limit in self._rows])
        result = milp(
            objective,
            integrality=np.array(self._binary, dtype=np.int64),
            bounds=Bounds(np.array(self._low), np.array(self._high)),
            constraints=LinearConstraint(matrix, -np.inf, limits),
            options={"time_limit": time_limit_s, "mip_rel_gap": 1e-4},
        )
        bound = getattr(result, "mip_dual_bound", None)
        # Below HiGHS' tolerances, so that a bound stays one.
        bound_ps = 0 if bound is None else max(0, int(bound * _MICROSECOND_PS * (1 - 1e-6)))
        if result.status not in _FEASIBLE or result.x is None:
            return MilpResult(None, bound_ps)
        placement = list(self._context)
        for group, variable in place.items():
            on_npu = result.x[variable] > 0.5
            wanted = [u for u in self._choices[group] if (u != ON_CPU) == on_npu]
            placement[group] = wanted[0] if wanted else self._choices[group][0]
        return MilpResult(tuple(placement), bound_ps)
