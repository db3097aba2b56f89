"""How well one study fills a cluster, and what its window costs.

Run as ``python benchmarks/filling.py [--workers 256,1000] [--windows 64,256,1024,4096]``, with
``--regret MODEL.onnx… [--trials N]`` or ``--costs 40,1000,200``. The engine, its storage (SQLite)
and the default sampler are the real ones; workers are simulated in this process on a clock of their
own. A trial is a survey (median 3 s) and a measurement (median 30 s), both log-normal with sigma
0.5; one call in a hundred takes five times as long, and one worker in a hundred calls dies at any
moment of it. The clock goes on by the CPU time that the driver takes, too: a driver that cannot
keep up leaves workers idle.

``busy`` is the share of all workers' time that calls take, from the moment when as many trials have
ended as there are workers until the last one has been proposed.

``--costs`` gives the driver's CPU time per trial of a study that is gone on with: so many
decisions, so many drawn trials in its storage (SQLite, then the journal), and so many after them,
the second half of which is measured.

``--regret`` compares windows at equal trials: the searches of four networks' partitions, with costs
from their cost tables, and schemes whose effect on latency and accuracy is drawn by a seed. Regret
is the best latency within the limit over the best that any of the searches found, minus 1.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from compiler_core.compile.sources import load_model
from compiler_core.files.plain import to_plain
from compiler_core.targets.load import load_target
from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.outer_space import PlacementPart
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.proposals.proposals import propose
from nest_tune.study.request.goals import Direction, Limit, Objective, TrialMetric
from nest_tune.study.request.settings import StudySettings, settings_document
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.engine import Engine
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.running.sight import Asynchronous, Sight, Windowed
from nest_tune.study.running.tunings import Tunings
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome, OuterTrial, Proposal
from nest_tune.study.tuning.seam import Untuned
from search_spaces.joint import JointSpace, OuterPoint
from search_spaces.parameter import Parameter

GOALS = (
    Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE),
    Objective(TrialMetric.SIZE_BYTES, Direction.MINIMIZE),
)
JUDGED = (GOALS[0], Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE))
LIMIT = Limit(TrialMetric.ACCURACY_DROP, high=0.01)
SURVEY_S, MEASURE_S, SIGMA = 3.0, 30.0, 0.5
SLOW, SLOWER, DYING = 0.01, 5.0, 0.01
DECISIONS = 40
BATCH = 500
"""Drawn trials that are proposed together."""


class Choices:
    """Independent decisions of two values; each costs a little."""

    name = "partition"

    def __init__(self, count: int) -> None:
        self.parameters = tuple(
            Parameter(f"group{at}", ("cpu", "vta"), ordered=False) for at in range(count)
        )
        self.default: OuterPoint = (1,) * count

    def decode(self, point: OuterPoint) -> Any:
        return list(point)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ((0,) * len(self.default),)

    def estimate(self, point: OuterPoint) -> float:
        borders = sum(a != b for a, b in zip((0, *point), (*point, 0), strict=True))
        return 1.0 + sum(0.1 if unit else 0.6 for unit in point) + 0.2 * borders


@dataclass
class Cluster:
    """Workers on a clock of their own: a runner.

    Attributes:
        now: Simulated seconds.
        spent: Of all workers, on calls.
    """

    workers: int
    seed: int = 0
    now: float = 0.0
    spent: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._waiting: deque[Work] = deque()
        self._running: list[tuple[float, int, Work, bool]] = []
        self._cpu = time.process_time()

    def submit(self, work: Work) -> None:
        self._waiting.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        del timeout_s
        cpu = time.process_time()
        self.now += cpu - self._cpu
        self._feed()
        end, _, work, dies = heapq.heappop(self._running)
        self.now = max(self.now, end)
        found = [self._answer(work, dies)]
        while self._running and self._running[0][0] <= self.now:
            _, _, work, dies = heapq.heappop(self._running)
            found.append(self._answer(work, dies))
        self._feed()
        self._cpu = time.process_time()
        return found

    def cancel(self, ticket: int) -> None:
        raise AssertionError(ticket)

    def close(self) -> None:
        self._waiting.clear()

    def busy_until(self, moment: float) -> float:
        """Seconds that calls have taken of all workers until a moment."""
        return self.spent - sum(max(0.0, end - moment) for end, *_ in self._running)

    def _feed(self) -> None:
        while self._waiting and len(self._running) < self.workers:
            work = self._waiting.popleft()
            median = MEASURE_S if work.function.endswith(":measure") else SURVEY_S
            seconds = median * float(np.exp(self._random.gauss(0.0, SIGMA)))
            seconds *= SLOWER if self._random.random() < SLOW else 1.0
            dies = self._random.random() < DYING
            seconds *= self._random.random() if dies else 1.0
            self.spent += seconds
            heapq.heappush(self._running, (self.now + seconds, work.ticket, work, dies))

    def _answer(self, work: Work, dies: bool) -> Answer:
        if dies:
            return Answer(work.ticket, Ending.LOST, message="the worker died")
        return Answer(work.ticket, Ending.DONE, value(work), wall_s=0.0)


def value(work: Work) -> Any:
    """What a call gives."""
    name = work.function.rpartition(":")[2]
    if name == "float_accuracy":
        return None
    point = work.payload["decisions"]["partition"]
    if name == "survey":
        return {"scheme": "".join(map(str, point)), "tasks": []}
    latency = Choices(len(point)).estimate(tuple(point)) * (1 + 0.3 * (point[0] ^ point[-1]))
    size = 1000.0 + sum(at * unit for at, unit in enumerate(point))
    metrics = {"latency_ms": latency, "size_bytes": size}
    return {"metrics": metrics, "accuracy": None, "bound_ms": latency}


class Marks(Observer):
    """Notes when the steady part of a run begins and ends."""

    def __init__(self, cluster: Cluster, first: int, last: int) -> None:
        self._cluster, self._first, self._last = cluster, first, last
        self.count = 0
        self.start: tuple[float, float, float] | None = None
        self.stop: tuple[float, float, float] | None = None

    def finished(self, trial: OuterTrial) -> None:
        del trial
        self.count += 1
        now = self._cluster.now
        moment = now, self._cluster.busy_until(now), time.process_time()
        if self.count == self._first:
            self.start = moment
        if self.count == self._last:
            self.stop = moment


def fill(workers: int, window: int, trials: int, *, asynchronous: bool) -> str:
    """One study on a simulated cluster; a line of the table."""
    cluster = Cluster(workers)
    problem = SearchProblem(JointSpace([Choices(DECISIONS)]), GOALS, (), "xgb", 0, False)
    settings = StudySettings(
        "fill", "model.onnx", "vta", objectives=GOALS, window=window, asynchronous=asynchronous
    )
    with tempfile.TemporaryDirectory() as folder:
        storage = StudyStorage(f"sqlite:///{folder}/fill.db")
        document = {
            "settings": settings_document(settings),
            "parameters": [(p.name, to_plain(p.values)) for p in problem.space.parameters],
        }
        study = storage.create("fill", document)
        storage.take(study)
        study = storage.find("fill")
        calls = Calls(cluster, storage, "context", 600.0)
        tunings = Tunings(Untuned(load_target("vta")), None, {}, lambda _found: None)
        sight: Sight = Asynchronous(window, {}) if asynchronous else Windowed(window)
        marks = Marks(cluster, workers, trials - (window if asynchronous else workers))
        engine = Engine(study, storage, problem, calls, tunings, marks, sight=sight)
        engine.run(Budget(trials))
        storage.close()
    assert marks.start is not None
    assert marks.stop is not None
    elapsed, busy, cpu = (b - a for a, b in zip(marks.start, marks.stop, strict=True))
    counted = trials - workers - (window if asynchronous else workers)
    kind = "asynchronous" if asynchronous else "windowed"
    return (
        f"{kind:12} {workers:8} {window:7} {trials:7} {100 * busy / (elapsed * workers):7.1f} "
        f"{1e3 * cpu / counted:13.1f}"
    )


def cost(url: str, decisions: int, trials: int, more: int) -> float:
    """Milliseconds of CPU per trial of a study on eight workers, behind so many drawn ones."""
    problem = SearchProblem(JointSpace([Choices(decisions)]), GOALS, (), "xgb", 0, False)
    settings = StudySettings("cost", "model.onnx", "vta", objectives=GOALS)
    document = {
        "settings": settings_document(settings),
        "parameters": [(p.name, to_plain(p.values)) for p in problem.space.parameters],
    }
    generator = np.random.default_rng(0)
    storage = StudyStorage(url)
    storage.take(storage.create("cost", document))
    study = storage.find("cost")
    points = [tuple(row) for row in generator.integers(0, 2, (trials, decisions)).tolist()]
    points[0] = problem.space.default
    for first in range(0, trials, BATCH):
        batch = list(enumerate(points[first : first + BATCH], first))
        storage.propose(study, *(Proposal(number, point, False) for number, point in batch))
        for number, point in batch:
            found = value(Work(0, ":measure", {"decisions": {"partition": point}}, 0.0))
            storage.finish(
                study, OuterTrial(number, point, False, Outcome.COMPLETE, found["metrics"], 0)
            )
    cluster = Cluster(8)
    calls = Calls(cluster, storage, "context", 600.0)
    tunings = Tunings(Untuned(load_target("vta")), None, {}, lambda _found: None)
    marks = Marks(cluster, more // 2, more)
    Engine(study, storage, problem, calls, tunings, marks, sight=Windowed()).run(
        Budget(trials + more)
    )
    storage.close()
    assert marks.start is not None
    assert marks.stop is not None
    return 1e3 * (marks.stop[2] - marks.start[2]) / (more - more // 2)


def show_costs(decisions: int, trials: int, more: int) -> None:
    """Prints what a trial costs the driver, by kind of storage."""
    print("storage  decisions  trials  CPU/ms/trial")
    for kind, url in {"sqlite": "sqlite:///{}/n.db", "journal": "journal:///{}/n.log"}.items():
        with tempfile.TemporaryDirectory() as folder:
            found = cost(url.format(folder), decisions, trials, more)
        print(f"{kind:8} {decisions:9} {trials:7} {found:13.1f}", flush=True)


class Schemes:
    """Decisions whose effects on latency and accuracy a seed draws."""

    name = "quantization"
    parameters = tuple(
        Parameter(f"decision{at}", tuple(range(size)), ordered=False)
        for at, size in enumerate((2, 4, 2, 3, 2, 2, 2, 2, 3))
    )
    default: OuterPoint = (0,) * 9

    def decode(self, point: OuterPoint) -> Any:
        return list(point)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


@dataclass(frozen=True)
class Landscape:
    """Metrics of points of a network.

    Attributes:
        space: Schemes and placements.
        seed: Of what schemes do, and of which groups lose accuracy.
    """

    space: JointSpace
    seed: int

    def metrics(self, point: OuterPoint) -> Mapping[str, float]:
        generator = np.random.default_rng(self.seed)
        factors = [generator.uniform(0.0, 0.08, len(p)) for p in Schemes.parameters]
        losses = [generator.uniform(-0.004, 0.004, len(p)) for p in Schemes.parameters]
        placement = point[len(factors) :]
        sensitive = generator.exponential(0.02 / len(placement), len(placement))
        (latency,) = self.space.estimates(point)
        scheme = point[: len(factors)]
        latency *= 1 + sum(f[at] for f, at in zip(factors, scheme, strict=True))
        drop = sum(v[at] for v, at in zip(losses, scheme, strict=True))
        drop += sum(loss for loss, unit in zip(sensitive, placement, strict=True) if unit)
        return {"latency_ms": latency, "accuracy": 0.9 - drop, "accuracy_drop": drop}


def search(
    landscape: Landscape, window: int, trials: int, seed: int, sampler: str = "xgb"
) -> list[float]:
    """Best latency within the limit after each trial."""
    problem = SearchProblem(landscape.space, JUDGED, (LIMIT,), sampler, seed, False)
    proposals: list[Proposal] = []
    history: list[OuterTrial] = []
    best, found = np.inf, []
    for number in range(trials):
        known = max(1, number - window + 1) if number else 0
        seen = History(tuple(history[:known]), tuple(proposals[known:]))
        proposal = propose(problem, seen, number)
        assert proposal is not None
        metrics = landscape.metrics(proposal.point)
        good = LIMIT.excess(metrics["accuracy_drop"]) <= 0
        outcome = Outcome.COMPLETE if good else Outcome.CONSTRAINTS
        proposals.append(proposal)
        trial = OuterTrial(number, proposal.point, False, outcome, dict(metrics))
        history.append(replace(trial, attributes=proposal.attributes))
        best = min(best, metrics["latency_ms"]) if good else best
        found.append(float(best))
    return found


def show_regret(
    models: Sequence[Path], kinds: Sequence[tuple[str, int]], trials: int, seeds: int
) -> None:
    """Prints regret by network, sampler and window, and the CPU time per trial."""
    marks = [n for n in (64, 128, 256, 512, 1024, 2048, 4096, 8192) if n <= trials]
    print(
        "model                  sampler window " + " ".join(f"{n:>8}" for n in marks) + "  CPU/ms"
    )
    for model in models:
        target = load_target("vta")
        part = PlacementPart(load_model(model, {}).graph, target)
        space = JointSpace([Schemes(), part])
        runs: dict[tuple[str, int], list[list[float]]] = {}
        cpu_ms: dict[tuple[str, int], float] = {}
        for sampler, window in kinds:
            begun = time.process_time()
            runs[sampler, window] = [
                search(Landscape(space, seed), window, trials, seed, sampler)
                for seed in range(seeds)
            ]
            cpu_ms[sampler, window] = 1e3 * (time.process_time() - begun) / (trials * seeds)
        least = [min(found[seed][-1] for found in runs.values()) for seed in range(seeds)]
        for kind, found in runs.items():
            means = [
                100 * np.mean([found[s][n - 1] / least[s] - 1 for s in range(seeds)]) for n in marks
            ]
            print(
                f"{model.parent.name[:22]:22} {kind[0]:7} {kind[1]:6} "
                + " ".join(f"{mean:7.2f}%" for mean in means)
                + f" {cpu_ms[kind]:7.1f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", default="256", help="separated by commas")
    parser.add_argument("--windows", default="64,256,1024,4096", help="separated by commas")
    parser.add_argument("--asynchronous", default="384", help="trials in flight")
    parser.add_argument("--rounds", type=float, default=5.0, help="trials per worker")
    parser.add_argument("--regret", nargs="*", type=Path, default=[], metavar="MODEL.onnx")
    parser.add_argument("--trials", type=int, default=256, help="of searches for regret")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--beside", default="", help="samplers with the first window, by commas")
    parser.add_argument("--costs", metavar="DECISIONS,TRIALS,MORE", help="of a trial")
    options = parser.parse_args()
    if options.costs:
        show_costs(*map(int, options.costs.split(",")))
        return
    windows = [int(text) for text in options.windows.split(",") if text]
    if options.regret:
        beside = [(name, windows[0]) for name in options.beside.split(",") if name]
        kinds = [*(("xgb", window) for window in windows), *beside]
        show_regret(options.regret, kinds, options.trials, options.seeds)
        return
    print("kind          workers  window  trials  busy/%  CPU/ms/trial")
    for workers in map(int, options.workers.split(",")):
        trials = int(options.rounds * workers)
        for flying in (int(text) for text in options.asynchronous.split(",") if text):
            print(fill(workers, flying, trials, asynchronous=True), flush=True)
        for window in windows:
            print(fill(workers, window, trials, asynchronous=False), flush=True)


if __name__ == "__main__":
    main()
