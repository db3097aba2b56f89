"""ResNet-18 and ResNet-50 tuned task by task on ``vta``: cycles, distance to the bound, time.

Run: ``python benchmarks/resnet18.py [--trials N] [--jobs N] [--seed N]``. Nothing is known at the
start of the first section; the second one starts from what the first one measured.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from networks import network_tasks

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.units.vta.machine.hardware import VtaCore
from nest_tune.records.database import Snapshot
from nest_tune.records.record import Record
from nest_tune.tuning.knowledge import Knowledge, knowledge_of
from nest_tune.tuning.task_search import TaskResult
from nest_tune.tuning.tune import tune_tasks

TVM_CYCLES = 7_730_000
"""TVM's published schedules of ResNet-18 on the RTL that the target is extrapolated from."""


def tune(
    name: str, core: VtaCore, trials: int, arguments: argparse.Namespace, knowledge: Knowledge
) -> list[Record]:
    tasks = network_tasks(name)
    records: list[Record] = []
    began = time.perf_counter()
    results = tune_tasks(
        tasks,
        core,
        trials=trials,
        seed=arguments.seed,
        jobs=arguments.jobs,
        knowledge=knowledge,
        keep=records.extend,
    )
    wall_s = time.perf_counter() - began
    print_results(name, tasks, results, wall_s)
    return records


def print_results(
    name: str, tasks: dict[Task, int], results: dict[Task, TaskResult], wall_s: float
) -> None:
    print(f"{name}: cycles untuned, tuned, bound, bound / tuned, measurements")
    for task, r in results.items():
        print(
            f"  {task.workload.shape:36} x{tasks[task]} {r.default_cycles:>9,} "
            f"{r.best_cycles:>9,} {r.bound_cycles:>9,} {r.bound_cycles / r.best_cycles:6.1%} "
            f"{r.measurements:>4}"
        )
    default = sum(tasks[t] * r.default_cycles for t, r in results.items())
    tuned = sum(tasks[t] * r.best_cycles for t, r in results.items())
    bound = sum(tasks[t] * r.bound_cycles for t, r in results.items())
    ratios = [
        math.log(r.bound_cycles / r.best_cycles)
        for t, r in results.items()
        for _ in range(tasks[t])
    ]
    geomean = math.exp(sum(ratios) / len(ratios))
    measured = sum(r.measurements for r in results.values())
    print(
        f"  total: untuned {default:,}, tuned {tuned:,}, bound {bound:,} cycles "
        f"({bound / tuned:.1%}); geometric mean of bound / tuned {geomean:.3f}; "
        f"{measured} measurements in {wall_s:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=64, help="schedules per task on average")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", default="resnet18,resnet50")
    arguments = parser.parse_args()
    core = load_target("vta").npu
    nothing = knowledge_of(Snapshot(), core)
    if "resnet18" in arguments.networks:
        trials = arguments.trials * len(network_tasks("resnet18"))
        print(f"published for TVM's schedules: {TVM_CYCLES:,} cycles")
        records = tune("resnet18", core, trials, arguments, nothing)
        print("again, from the records of the first run")
        tune("resnet18", core, trials, arguments, knowledge_of(Snapshot(tuple(records)), core))
    if "resnet50" in arguments.networks:
        trials = arguments.trials * len(network_tasks("resnet50"))
        tune("resnet50", core, trials, arguments, nothing)


if __name__ == "__main__":
    main()
