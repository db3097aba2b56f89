"""CPU time of sampler and bookkeeping per inner measurement, with 1,000 and 10,000 records.

Run: ``python benchmarks/sampler_cost.py [--records 1000,10000] [--measurements 128]``.

The records are of the very task that is tuned, which costs most: the sampler's own model learns
from all of them, and its pool holds them. They are in the database, where each batch is written;
what is measured is answered from the coarse walk, so that the rest is sampler and bookkeeping. What
happens once, at the start, is printed beside it: reading the records, and filling the pool.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from networks import network_tasks

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.lowering_version import LOWERING_VERSION
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.schedule.schedule_rows import to_rows
from cost_models.vta.pipeline import predict
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome, machine_digest, record_of
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.measure import Measurement, Measurer
from nest_tune.tuning.task_search import BATCH, TaskSearch
from search_spaces.vta.tiling import TilingSpace


class Walked(Measurer):
    """Answers with the cycles of the coarse walk; its own time is not counted."""

    def __init__(self, core: VtaCore) -> None:
        super().__init__(core)
        self.core, self.seconds = core, 0.0

    def measure(self, work: Sequence[tuple[Workload, Schedule]]) -> list[Measurement]:
        began = time.process_time()
        cycles = walked([schedule for _, schedule in work], work[0][0], self.core)
        self.seconds += time.process_time() - began
        return [Measurement(MeasurementOutcome.CORRECT, value) for value in cycles]


def walked(schedules: Sequence[Schedule], workload: Workload, core: VtaCore) -> list[int]:
    """Cycles of schedules by the coarse walk."""
    assert isinstance(workload, ConvWorkload)
    return [int(c) for c in predict(workload, to_rows(list(schedules)), core).cycles.tolist()]


def fill(database: RecordDatabase, task: Task, core: VtaCore, count: int) -> None:
    """Writes so many records of random schedules."""
    if not count:
        return
    space = TilingSpace(task.workload, core.geometry)
    points = space.sample(np.random.default_rng(7), count).tolist()
    schedules = [space.decode(tuple(point)) for point in points]
    cycles = walked(schedules, task.workload, core)
    target = machine_digest(core)
    records = [
        record_of(task, schedule, target, LOWERING_VERSION, MeasurementOutcome.CORRECT, value, 0)
        for schedule, value in zip(schedules, cycles, strict=True)
    ]
    database.add(records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", default="0,1000,10000")
    parser.add_argument("--measurements", type=int, default=128)
    parser.add_argument("--samplers", default="xgb,tpe,random")
    arguments = parser.parse_args()
    core = load_target("vta").npu
    task = list(network_tasks("resnet18"))[3]
    print("sampler  records  start s  ms of CPU time per measurement")
    for name in arguments.samplers.split(","):
        for count in map(int, arguments.records.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                database = RecordDatabase(f"sqlite:///{Path(folder) / 'records.db'}")
                fill(database, task, core, count)
                began = time.process_time()
                knowledge = knowledge_of(database.snapshot(), core)
                search = TaskSearch(task, core, name, 0, knowledge, keep=database.add)
                measurer = Walked(core)
                search.step(measurer)  # with the first training
                start, measurer.seconds = time.process_time() - began - measurer.seconds, 0.0
                began, known = time.process_time(), search.spent
                while search.spent - known < arguments.measurements:
                    search.step(measurer, BATCH)
                seconds = time.process_time() - began - measurer.seconds
                database.close()
            each = 1e3 * seconds / (search.spent - known)
            print(f"{name:7} {count:>8,} {start:8.2f} {each:8.2f}", flush=True)


if __name__ == "__main__":
    main()
