"""How far the Ray runner and the storage carry: measured, and a model of what breaks first.

Run as ``python benchmarks/scale.py [--slots 16,64] [--seconds 0.01,1] [--records 1000,10000]``.
Measurements are sleeps on logical slots, so that the slots may be many more than the cores: what is
measured is everything but the measuring. Each line of the first table is one run, after all workers
have answered once: throughput against the ideal (slots / seconds), the driver's CPU time and that
of the whole cluster per measurement, and the driver's growth in memory per measurement in a second
run of half the length.

The second table is a study of the bundled example on this machine with each runner: wall time,
which shows what the start of a cluster adds, and the driver's CPU time per outer trial.

The third is storage: milliseconds to store one outer trial, to look up one result and to store a
batch of 16 records when so many are there, and seconds to read all of them back, as a resume does.
``--storage URL`` measures another database, such as PostgreSQL, beside SQLite.

The model: the driver's CPU time is ``a`` per task and ``b`` per measurement (least squares over the
runs); storage costs come from the fullest database measured. It gives the rate that 1,000 workers
need against those that driver and storage reach, and time and memory for 10^6 records.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from nest_tune.runners.runner import Ending, RunnerOptions, Setup, Work, make_runner

# Workers yield to everything else by default: fair in use, but not in a measurement.
os.environ.setdefault("RAY_worker_niceness", "0")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
BATCH = 16
WARM_ROUNDS = 40
TRIALS = (9, 41)
"""Outer trials of two studies, whose difference is what trials cost."""
WORKERS = 1000
RECORDS = 1_000_000


def prepare(_payload: Any) -> None:
    """Workers need no state."""


def sleep(_state: Any, seconds: float) -> float:
    """A measurement that needs no core."""
    time.sleep(seconds)
    return seconds


def pid(_state: Any, seconds: float) -> int:
    """Sleeps, and says which process it was."""
    time.sleep(seconds)
    return os.getpid()


@dataclass(frozen=True)
class Run:
    """One run of simulated measurements."""

    slots: int
    seconds: float
    calls: int
    tasks: int
    wall_s: float
    cpu_s: float
    all_cpu_s: float
    grown_bytes: float
    """Per call."""

    @property
    def rate(self) -> float:
        return self.calls / self.wall_s

    @property
    def ideal(self) -> float:
        return self.slots / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1e3 * self.cpu_s / self.calls


def resident_bytes() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processes() -> dict[int, tuple[int, float]]:
    """Parent and CPU seconds of every process by id."""
    found = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(path.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks
    return found


def family_cpu_s() -> float:
    """CPU time of this process and all below it: that of a cluster of this machine."""
    known = processes()
    children: dict[int, list[int]] = {}
    for process, (parent, _) in known.items():
        children.setdefault(parent, []).append(process)
    total, left = 0.0, [os.getpid()]
    while left:
        process = left.pop()
        left += children.get(process, [])
        total += known[process][1]
    return total


def measure_runner(slots: int, lengths_s: Sequence[float], rounds: int) -> Iterator[Run]:
    """Runs on a fresh cluster of this machine with ``slots`` logical CPUs."""
    begun = time.monotonic()
    runner = make_runner("ray", Setup("scale:prepare", None), RunnerOptions(jobs=slots))
    ready_s = time.monotonic() - begun
    tickets = iter(range(1_000_000_000))

    def run(count: int, seconds: float, function: str = "sleep") -> set[Any]:
        for _ in range(count):
            runner.submit(Work(next(tickets), f"scale:{function}", seconds, 600.0))
        values, left = set(), count
        while left:
            for answer in runner.wait(1.0):
                assert answer.ending is Ending.DONE, answer
                values.add(answer.value)
                left -= 1
        return values

    try:
        answered = 0
        for _ in range(WARM_ROUNDS):
            answered = len(run(slots, 2.0, "pid"))
            if answered == slots:
                break
        warm_s = time.monotonic() - begun - ready_s
        print(
            f"{slots} slots: cluster in {ready_s:.1f} s, {answered} workers have answered after "
            f"{warm_s:.1f} s more"
        )
        for seconds in lengths_s:
            run(slots, seconds)  # the runner learns how long these calls are
            calls = (
                max(rounds * slots, min(4000, int(2 * slots / seconds))) if seconds < 10 else slots
            )
            half = calls // 2
            tasks = runner.tasks  # type: ignore[attr-defined]
            cpu, every, wall = time.process_time(), family_cpu_s(), time.monotonic()
            run(calls, seconds)
            done = (time.monotonic() - wall, time.process_time() - cpu, family_cpu_s() - every)
            sent = runner.tasks - tasks  # type: ignore[attr-defined]
            memory = resident_bytes()
            if seconds < 10:
                run(half, seconds)
            grown = (resident_bytes() - memory) / half
            yield Run(slots, seconds, calls, sent, *done, grown)
    finally:
        runner.close()


def show_run(run: Run) -> None:
    print(
        f"{run.slots:6} {run.seconds:8g} {run.calls:7} {run.calls / run.tasks:7.1f} "
        f"{run.rate:10.1f} {100 * run.rate / run.ideal:7.1f} {run.cpu_ms:10.2f} "
        f"{1e3 * run.all_cpu_s / run.calls:9.2f} {run.grown_bytes:10.0f}",
        flush=True,
    )


_STUDY = """
import json, resource, sys, time
from nest_tune.cli.app import _run
begun = time.monotonic()
code = _run(sys.argv[1:], debug=False, as_json=False)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([code, time.monotonic() - begun, used.ru_utime + used.ru_stime]), file=sys.stderr)
"""


def study_costs(runner: str, trials: int, folder: Path) -> tuple[float, float]:
    """Wall time and the driver's CPU time of one study, in seconds."""
    name = f"{runner}{trials}"
    database = folder / f"{name}.db"
    database.unlink(missing_ok=True)
    digits = ROOT / "examples" / "digits"
    words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta"]
    words += ["--calibration", digits / "calib.npz", "--evaluation", digits / "eval.npz"]
    words += ["--space", "quantization,partition", "--sampler", "random", "--jobs", 2]
    words += ["--runner", runner, "--trials", trials, "--name", name]
    words += ["--storage", f"sqlite:///{database}"]
    done = subprocess.run(
        [sys.executable, "-c", _STUDY, *map(str, words)],
        env={**os.environ, "NEST_TUNE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    code, wall_s, cpu_s = _loads(done.stderr.strip().splitlines()[-1])
    assert code == 0, done.stderr
    return wall_s, cpu_s


def show_studies() -> None:
    """Prints what studies cost with each runner."""
    few, many = TRIALS
    print(f"\nrunner  {few} trials/s  driver CPU/s  {many} trials/s  driver CPU/s  CPU ms/trial")
    walls = {}
    with tempfile.TemporaryDirectory() as folder:
        study_costs("local", few, Path(folder))  # compiled kernels and statistics are kept
        for runner in ("local", "ray"):
            (wall, cpu), (more, much) = (study_costs(runner, n, Path(folder)) for n in TRIALS)
            walls[runner] = wall
            each = 1e3 * (much - cpu) / (many - few)
            print(
                f"{runner:6} {wall:11.1f} {cpu:13.2f} {more:12.1f} {much:13.2f} {each:13.1f}",
                flush=True,
            )
    print(f"a cluster of this machine adds {walls['ray'] - walls['local']:.1f} s to a study")


@dataclass(frozen=True)
class StorageCosts:
    """What one database costs with so many rows in each table."""

    rows: int
    trial_ms: float
    result_ms: float
    batch_ms: float
    trials_s: float
    records_s: float
    records_bytes: int


def measure_storage(url: str, sizes: Sequence[int]) -> Iterator[StorageCosts]:
    """Costs at growing sizes of one database, which is filled in bulk between them."""
    from compiler_core.files.plain import to_plain
    from nest_tune.records.database import RecordDatabase
    from nest_tune.records.record import MeasurementOutcome as RecordOutcome
    from nest_tune.records.record import Record
    from nest_tune.study.store.storage import StudyStorage
    from nest_tune.study.trial import Outcome, OuterTrial

    metrics = {"latency_ms": 1.5, "npu_cycles": 150000.0, "accuracy": 0.875, "size_bytes": 7e4}
    trial = OuterTrial(0, (0,) * 40, True, Outcome.COMPLETE, metrics, 128, "ff" * 16, 0.875)
    document = to_plain(trial)

    def record(number: int) -> Record:
        task, schedule = f"{number % 50:016x}", f"{number:016x}"
        text = '{"knobs":[1,2,3,4,5,6,7,8],"kind":"conv"}'
        return Record(
            task, schedule, "t" * 16, 1, RecordOutcome.CORRECT, number, 4096, text, text
        ).sealed()

    storage, records = StudyStorage(url), RecordDatabase(url)
    found = storage.get("scale")
    if found is not None:
        storage.delete(found)
    study = storage.create("scale", {"parameters": [[f"p{n}", ["a", "b"]] for n in range(40)]})
    held = known = 0
    for size in sizes:
        for number in range(held, size):
            storage.finish(study, replace(trial, number=number))
        for number in range(known, size):
            storage.add_result(f"scale-{number}", document)
        known = size
        records.add(record(number) for number in range(held, size))
        held = max(held, size)
        spent = {"trial": [], "result": [], "batch": []}
        for number in range(60):
            begun = time.perf_counter()
            storage.finish(study, replace(trial, number=held + number))
            spent["trial"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            assert storage.results([f"scale-{number * size // 60}"])
            spent["result"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            first = held + number * BATCH
            records.add(record(n) for n in range(first, first + BATCH))
            spent["batch"].append(time.perf_counter() - begun)
        held += 60
        begun = time.perf_counter()
        assert len(storage.trials(study)) == held
        trials_s = time.perf_counter() - begun
        memory, begun = resident_bytes(), time.perf_counter()
        snapshot = records.snapshot()
        records_s = time.perf_counter() - begun
        yield StorageCosts(
            held,
            *(1e3 * median(spent[name]) for name in ("trial", "result", "batch")),
            trials_s,
            records_s,
            max(0, resident_bytes() - memory) // len(snapshot.records),
        )
    storage.delete(study)
    storage.close()
    records.close()


def _loads(text: str) -> Any:
    import json

    return json.loads(text)


def show_storage(name: str, costs: StorageCosts) -> None:
    print(
        f"{name:12} {costs.rows:8} {costs.trial_ms:10.2f} {costs.result_ms:10.2f} "
        f"{costs.batch_ms:10.2f} {costs.trials_s:10.2f} {costs.records_s:10.2f} "
        f"{costs.records_bytes:10}",
        flush=True,
    )


def show_model(runs: Sequence[Run], costs: StorageCosts | None) -> None:
    """Prints where 1,000 workers and 10^6 records break first."""
    if len(runs) >= 2:
        # Relative errors count: the runs differ a hundredfold.
        scale = np.array([1 / run.cpu_s for run in runs])
        terms = np.array([[run.tasks, run.calls] for run in runs]) * scale[:, None]
        (per_task, per_call), *_ = np.linalg.lstsq(terms, np.ones(len(runs)), rcond=None)
        print(
            f"\ndriver CPU = {1e3 * per_task:.2f} ms per task + {1e3 * per_call:.3f} ms per call "
            f"(fit of {len(runs)} runs)"
        )
        for seconds in sorted({run.seconds for run in runs} | {60.0}):
            like = [run for run in runs if run.seconds == seconds]
            size = like[-1].calls / like[-1].tasks if like else 1.0
            most = 1 / (max(per_task, 0) / size + max(per_call, 0))
            need = WORKERS / seconds
            verdict = "enough" if most >= need else f"at most {most * seconds:.0f} workers are fed"
            print(
                f"  {WORKERS} workers, calls of {seconds:g} s in batches of {size:.0f}: "
                f"{need:.0f} calls/s needed, a driver's core makes {most:.0f}: {verdict}"
            )
    if costs is not None:
        grow = RECORDS / costs.rows
        print(
            f"storage at {costs.rows} rows: {1e3 / costs.trial_ms:.0f} outer trials/s or "
            f"{1e3 * BATCH / costs.batch_ms:.0f} records/s written"
        )
        print(
            f"  {RECORDS} records: read at start in {grow * costs.records_s:.0f} s, "
            f"{RECORDS * costs.records_bytes / 2**30:.1f} GiB in the driver; as many trials: "
            f"{grow * costs.trials_s:.0f} s (linear from {costs.rows})"
        )


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slots", default="16", help="logical slots, separated by commas")
    parser.add_argument("--seconds", default="0.01,1", help="lengths of calls; 60 takes minutes")
    parser.add_argument("--rounds", type=int, default=4, help="calls per slot, at least")
    parser.add_argument("--records", default="1000,10000", help="sizes; 100000 takes a minute")
    parser.add_argument("--no-studies", action="store_true", help="leave the second table out")
    parser.add_argument("--storage", help="URL of a scratch database beside SQLite")
    options = parser.parse_args()
    runs: list[Run] = []
    print(f"{os.cpu_count()} cores; calls sleep")
    for slots in numbers(options.slots):
        for run in measure_runner(int(slots), numbers(options.seconds), options.rounds):
            if not runs:
                print(
                    " slots  seconds   calls  /task   calls/s % ideal   CPU/ms    all/ms   growth/B"
                )
            runs.append(run)
            show_run(run)
    if not options.no_studies:
        show_studies()
    sizes = [int(number) for number in numbers(options.records)]
    costs: StorageCosts | None = None
    if sizes:
        print(
            "\ndatabase         rows   trial/ms  result/ms   batch/ms   trials/s "
            " records/s   B/record"
        )
        with tempfile.TemporaryDirectory() as folder:
            for found in measure_storage(f"sqlite:///{folder}/scale.db", sizes):
                costs = found
                show_storage("sqlite", costs)
        if options.storage:
            for found in measure_storage(options.storage, sizes):
                show_storage(options.storage.partition(":")[0][:12], found)
        else:
            print("postgresql   skipped: no --storage postgresql+psycopg://… given")
    show_model(runs, costs)


if __name__ == "__main__":
    main()
