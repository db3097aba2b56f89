"""Regret of the tiling samplers on convolutions of ResNet-18 and ResNet-50, over seeds.

Run: ``python benchmarks/tiling.py [--seeds 20] [--all] [--samplers xgb,random]``.

Regret is best cycles after n measurements over the reference, minus 1. The reference is the best
schedule known: of every run here and of a longer guided search with other seeds; ``--exhaustive``
replaces it by the proven optimum, which takes hours on large layers. ``warm`` is the guided sampler
with a model of the other layers' records (leave one layer out). Intervals are 95 % bootstraps over
seeds of the geometric mean over layers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
from networks import network_tasks

from compiler_core.targets.load import load_target
from compiler_core.targets.vta.hardware import VtaCore
from compiler_core.tensor.task import Task, shape_text
from nest_tune.records.database import Snapshot
from nest_tune.records.record import Outcome, Record
from nest_tune.tuning.knowledge import Knowledge, knowledge_of
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.task_search import BATCH, TaskSearch
from nest_tune.tuning.tune import Budget, tune_task

MARKS = (16, 32, 64, 128)
"""Measurements after which the regret is taken."""
_DEFAULT_LAYERS = (0, 1, 3, 6, 9)
"""Layers of ResNet-18 without ``--all``."""
_BOOTSTRAPS = 2000


class Cache:
    """Measured cycles of all runs: a schedule is timed once however many samplers try it."""

    def __init__(self, core: VtaCore, jobs: int) -> None:
        self.core, self.measurer = core, Measurer(core, jobs)
        self.records: dict[tuple[str, str], Record] = {}
        self.references: dict[Task, int] = {}

    def keep(self, batch: list[Record]) -> None:
        """Takes new records."""
        self.records.update({(record.task, record.schedule): record for record in batch})

    def best(self, task: Task) -> int:
        """Fewest cycles of a task in any run."""
        name = task.workload.digest
        return min(r.cycles for k, r in self.records.items() if k[0] == name and r.cycles)

    def knowledge(self, without: Task | None) -> Knowledge:
        """The records of all tasks but one."""
        left_out = "" if without is None else without.workload.digest
        kept = [
            r
            for k, r in sorted(self.records.items())
            if k[0] != left_out and r.outcome is Outcome.CORRECT
        ]
        return knowledge_of(Snapshot(tuple(kept)), self.core)


def run(cache: Cache, task: Task, sampler: str, seed: int, warm: Knowledge | None) -> list[int]:
    """Best cycles after each measurement."""
    base = None if warm is None else warm.base_model(cache.core, seed)
    search = TaskSearch(task, cache.core, sampler, seed, base=base, keep=cache.keep)
    # Cycles are a function of the schedule, so what another run measured is replayed.
    search.recall_measured([r for k, r in cache.records.items() if k[0] == task.workload.digest])
    while search.spent < MARKS[-1] and not search.finished:
        search.step(cache.measurer, min(BATCH, MARKS[-1] - search.spent))
    return list(search.result().history)


def interval(log_ratios: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Geometric mean of ratios ``[layers, seeds]`` minus 1, with a bootstrap over seeds."""
    generator = np.random.default_rng(0)
    of_seed = log_ratios.mean(axis=0)
    draws = generator.integers(0, len(of_seed), (_BOOTSTRAPS, len(of_seed)))
    low, high = np.quantile(of_seed[draws].mean(axis=1), [0.025, 0.975])
    return tuple(float(np.expm1(value)) for value in (of_seed.mean(), low, high))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="every distinct layer of both networks")
    parser.add_argument("--samplers", default="xgb,warm,tpe,random")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--table", type=Path, help="write all histories as JSON")
    arguments = parser.parse_args()
    core = load_target("vta").npu
    tasks = list(network_tasks("resnet18"))
    if arguments.all:
        tasks = list({**network_tasks("resnet18"), **network_tasks("resnet50")})
    else:
        tasks = [tasks[number] for number in _DEFAULT_LAYERS]
    cache = Cache(core, arguments.jobs)
    for task in tasks:  # the records that warm runs learn from, and a first reference
        result = tune_task(
            task,
            core,
            seed=10_007,
            budget=Budget(192),
            exhaustive=arguments.exhaustive,
            jobs=arguments.jobs,
        )
        extra = TaskSearch(task, core, "xgb", 20_011, keep=cache.keep)
        while extra.spent < 128 and not extra.finished:
            extra.step(cache.measurer)
        state = "optimum" if result.proven else "best known so far"
        print(f"{shape_text(task.workload)}: {state} {result.best_cycles:,}", flush=True)
        cache.references[task] = result.best_cycles
    histories: dict[str, list[list[list[int]]]] = {}
    warm = {task: cache.knowledge(task) for task in tasks}
    for name in arguments.samplers.split(","):
        began = time.perf_counter()
        histories[name] = [
            [
                run(
                    cache,
                    task,
                    "xgb" if name == "warm" else name,
                    seed,
                    warm[task] if name == "warm" else None,
                )
                for seed in range(arguments.seeds)
            ]
            for task in tasks
        ]
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    reference = [min(cache.best(t), cache.references[t]) for t in tasks]
    cache.measurer.close()
    print(f"\nregret over {len(tasks)} layers and {arguments.seeds} seeds, 95 % interval")
    for name, of_task in histories.items():
        for mark in MARKS:
            ratios = np.array(
                [
                    [np.log(h[min(mark, len(h)) - 1] / best) for h in of_seed]
                    for of_seed, best in zip(of_task, reference, strict=True)
                ]
            )
            mean, low, high = interval(ratios)
            within = float((ratios <= np.log(1.01)).mean())
            print(
                f"  {name:8} {mark:>4} measurements: {mean:7.2%} [{low:.2%}, {high:.2%}], "
                f"within 1 %: {within:.0%} of runs"
            )
    if arguments.table is not None:
        arguments.table.write_text(json.dumps({"reference": reference, "histories": histories}))


if __name__ == "__main__":
    main()
