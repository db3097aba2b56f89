"""Regret of the tiling samplers on the distinct convolutions of ResNet-18 and ResNet-50 on ``vta``.

Run: ``python benchmarks/tiling.py CACHE [--seeds 20] [--layers 0,3] [--samplers xgb,warm]``.

A sampler measures the untuned schedule, then what it proposes, batch by batch. CACHE is a folder:
cycles are a function of the schedule, so each is measured once, whoever proposes it, and a run that
ended is not run again. Several processes may share the folder when their layers differ. A changed
sampler needs a new folder (the file ``cycles-*`` of the old one may be copied).

Regret is best cycles after n measurements over the reference, minus 1. The spaces hold 4 to 50
million schedules each, too many to measure. The reference is the best schedule of all runs and of
``--reference`` further measurements by longer guided searches. How far it may be above the true
optimum is known for each layer: no schedule beats the least of all schedules' bounds. ``--proof N``
takes them by the walk over the whole space, and measures at most N schedules per layer in their
order; where none is left below the best, that is the optimum. The caches keep what was proven.

``warm`` is the guided sampler with a model of other networks' records: of GoogLeNet and of the
other ResNet, without the tasks that the network itself holds. Each gave 32 guided measurements.
``walk`` is the guided sampler without any model. ``xgb:4`` proposes batches of 4, and so on.

``task`` is what ``task tune`` does: ``xgb:4``, which a proof ends where the bounds leave few
enough.

``--drawn SEED`` takes 18 layers of MCUNet-, EfficientNet-, DenseNet- and VGG-like networks in the
place of the ResNets' (:mod:`networks.drawn`).

Intervals are 95 % bootstraps over seeds of the geometric mean over layers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
from networks import network_tasks
from networks.drawn import drawn_tasks

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.lowering_version import LOWERING_VERSION
from compiler_core.units.vta.schedule.schedule_rows import Rows
from cost_models.boosted import BoostedModel
from cost_models.task_features import FeatureBatch
from cost_models.training import TrainingSet
from cost_models.vta.task_features import VtaFeatures
from cost_models.vta.tiling import NAMES, tiling_features
from nest_tune.records.record import MeasurementOutcome
from nest_tune.samplers.registry import make_schedule_sampler
from nest_tune.samplers.schedules import guided
from nest_tune.samplers.schedules.exhaustive import ExhaustiveScheduleSampler, PointsByBound
from nest_tune.samplers.schedules.sampler import Point, Problem
from nest_tune.tuning.knowledge import BASE
from nest_tune.tuning.measure import Measurement, measure
from nest_tune.tuning.steps import Wanted
from nest_tune.tuning.task_search import BATCH, TaskSearch
from search_spaces.vta.tiling import TilingSpace

MARKS = (8, 16, 32, 64)
"""Measurements after which the regret is taken."""
BUDGET = 64
DRAWN = 18
"""Layers of ``--drawn``."""
HOPELESS = {"random": 1.1, "tpe": 1.3, "nsga2": 1.3}
"""A schedule is not measured, the sampler is told what the coarse walk predicts, where that is so
many times the best so far: random sampling does not learn, and to the others only the order
matters, in which such a schedule is a bad one either way. Bad schedules are many instructions,
slow to time. The report says how far measurements fell below the walk."""
TEACHING_SEED = 90_001
"""Of the runs whose records a warm model learns from; none of them is counted."""
TAUGHT = 32
_BOOTSTRAPS = 2000
_GUIDED = ("xgb", "warm", "long", "walk")
_LEARN_FROM = guided._LEARN_FROM


class Features(VtaFeatures):
    """Features of a layer's schedules, each computed once for all seeds."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._values = np.zeros((0, len(NAMES)), np.float32)
        self._walks = np.zeros(0)

    def features(self, workload: Workload, rows: Rows, machine: VtaCore) -> FeatureBatch:
        keys = [row.tobytes() for row in rows]
        new = [n for n, key in enumerate(keys) if key not in self._numbers]
        batch = super().features(workload, rows[new], machine)
        for number, row in enumerate(new, len(self._walks)):
            self._numbers[keys[row]] = number
        self._values = np.concatenate([self._values, batch.values])
        self._walks = np.concatenate([self._walks, batch.walk_cycles])
        chosen = [self._numbers[key] for key in keys]
        return FeatureBatch(self._values[chosen], batch.bound_cycles, self._walks[chosen])


class Layer:
    """One task with everything that was measured of it."""

    def __init__(self, task: Task, core: VtaCore, folder: Path) -> None:
        self.task, self.core = task, core
        self.space = TilingSpace(task.workload, core.geometry)
        self.start = self.space.encode(default_schedule(task.workload, core))
        self.name = task.workload.shape
        key = f"{self.space.digest[:16]}-{LOWERING_VERSION}"
        self._features = Features()
        self._cycles_file = folder / f"cycles-{key}.json"
        self._runs_file = folder / f"runs-{key}.json"
        self._proof_file = folder / f"proof-{key}.json"
        self.cycles: dict[str, int | None] = _load(self._cycles_file)
        self.runs: dict[str, list[list[int]]] = _load(self._runs_file)
        self.proofs: dict[str, int] = {}
        """Measurements after which the best of a seed was proven; -1 where it was not."""

    def cost(self, point: Point) -> int | None:
        """Cycles of a point, from the cache where they are known."""
        key = ",".join(map(str, point))
        if key not in self.cycles:
            schedule = self.space.decode(point)
            self.cycles[key] = measure(self.task.workload, schedule, self.core).cycles
        return self.cycles[key]

    def run(self, sampler: str, seed: int, budget: int, base: BoostedModel | None = None) -> None:
        """Runs a sampler, keeps ``[point, cycles]`` of every measurement under its name."""
        name = f"{sampler}/{seed}"
        if len(self.runs.get(name, ())) >= budget:
            return
        kind, _, size = sampler.partition(":")
        if kind == "task":
            self.runs[name] = self._by_task_search(seed, budget)
            _save(self._cycles_file, self.cycles)
            _save(self._runs_file, self.runs)
            return
        batch = int(size or 16)
        guided.task_features = lambda _: self._features  # type: ignore[assignment]
        guided._LEARN_FROM = 1 << 30 if kind == "walk" else _LEARN_FROM
        problem = Problem(self.space, self.core, self.start, seed, base)
        search = make_schedule_sampler("xgb" if kind in _GUIDED else kind, problem)
        trials: list[tuple[Point, int | None]] = []
        proposed = [self.start]
        while proposed:
            measured = self._measured(proposed, trials, HOPELESS.get(kind, math.inf))
            search.observe(measured)
            trials += measured
            # The untuned schedule belongs to the first batch.
            left = min(batch - (len(trials) == 1), budget - len(trials))
            proposed = search.propose(left) if left else []
        self.runs[name] = [[*point, -1 if cycles is None else cycles] for point, cycles in trials]
        _save(self._cycles_file, self.cycles)
        _save(self._runs_file, self.runs)

    def _by_task_search(self, seed: int, budget: int) -> list[list[int]]:
        """As ``task tune`` does it: guided, then a proof where the bounds leave few schedules. What
        is not measured because the best is proven counts as measured, at its cycles."""
        search = TaskSearch(self.task, self.core, seed=seed)
        layer = self

        class Cached:
            def measure(self, asked: Wanted) -> list[Measurement]:
                points = [layer.space.encode(schedule) for _, schedule in asked]
                known = [layer.cost(point) for point in points]
                return [Measurement(MeasurementOutcome.CORRECT, cycles, 0) for cycles in known]

        trials: list[list[int]] = []
        while len(trials) < budget and not search.finished:
            if search.default_cycles:
                search.finish_within(budget - search.spent)
            search.step(Cached(), max(1, min(BATCH, budget - search.spent)))  # type: ignore[arg-type]
            best = search.result().history
            trials = [[cycles] for cycles in best]
        proven = search.result().proven
        self.proofs[f"{seed}"] = search.spent if proven else -1
        return trials + [trials[-1]] * (budget - len(trials))

    def _measured(
        self, points: list[Point], trials: list[tuple[Point, int | None]], hopeless: float
    ) -> list[tuple[Point, int | None]]:
        """Cycles of points; those of the walk where they are ``hopeless`` times the best so far."""
        best = min((cycles for _, cycles in trials if cycles is not None), default=math.inf)
        rows = self.space.rows(np.array(points, np.int64))
        walks = self._features.features(self.task.workload, rows, self.core).walk_cycles.tolist()
        return [
            (point, round(walk) if walk >= hopeless * best else self.cost(point))
            for point, walk in zip(points, walks, strict=True)
        ]

    def least_over_walk(self) -> float:
        """Least ratio of measured to walked cycles."""
        known = {key: cycles for key, cycles in self.cycles.items() if cycles is not None}
        points = np.array([list(map(int, key.split(","))) for key in known], np.int64)
        features = self._features.features(self.task.workload, self.space.rows(points), self.core)
        return float((np.array(list(known.values())) / features.walk_cycles).min())

    def history(self, name: str) -> npt.NDArray[np.float64]:
        """Best cycles after each measurement of a run."""
        cycles = np.array([trial[-1] for trial in self.runs[name]], np.float64)
        return np.minimum.accumulate(np.where(cycles < 0, np.inf, cycles))

    def teaching(self, number: int) -> TrainingSet:
        """Features and cycles of the run that teaches."""
        rows = np.array(self.runs[f"xgb/{TEACHING_SEED}"], np.int64)
        rows = rows[rows[:, -1] >= 0]
        features = tiling_features(self.task.workload, self.space.rows(rows[:, :-1]), self.core)
        return TrainingSet.of(features, rows[:, -1], number)

    @property
    def best(self) -> int:
        """Fewest cycles measured."""
        return min(cycles for cycles in self.cycles.values() if cycles is not None)

    def floor(self) -> int:
        """Cycles that no schedule of the space can beat."""
        proven = _load(self._proof_file).get("least_cycles")
        return int(proven or PointsByBound(self.space, self.core).least)

    def prove(self, most: int) -> str:
        """Looks for schedules that beat the reference until none is left, or ``most`` were
        measured; says what came of it."""
        before, cpu_s, wall_s = self.best, time.process_time(), time.monotonic()
        search = ExhaustiveScheduleSampler(Problem(self.space, self.core, self.start, 0))
        known = ((tuple(map(int, key.split(","))), c) for key, c in self.cycles.items())
        search.observe(list(known))
        count = 0
        while count < most and (proposed := search.propose(min(BATCH, most - count))):
            search.observe([(point, self.cost(point)) for point in proposed])
            count += len(proposed)
        least = int(search.least_cycles)
        _save(self._cycles_file, self.cycles)
        _save(self._proof_file, {"least_cycles": least})
        gap = "optimum" if least == self.best else f"at most {self.best / least - 1:.3%} above it"
        return (
            f"{self.name:36} {before:>9,} -> {self.best:>9,}, least {least:>9,}: {gap}; "
            f"{count} measured, {time.monotonic() - wall_s:.1f} s, "
            f"{time.process_time() - cpu_s:.1f} s of CPU time"
        )


def _load(path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads(path.read_text()) if path.exists() else {}


def _save(path: Path, value: object) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(value))
    draft.replace(path)


def base_models(core: VtaCore, folder: Path) -> dict[str, BoostedModel]:
    """Per network, a model of what the other networks' layers teach."""
    networks = {n: network_tasks(n) for n in ("resnet18", "resnet50", "googlenet")}
    models = {}
    for name in ("resnet18", "resnet50"):
        others = {t for n, tasks in networks.items() if n != name for t in tasks}
        layers = [Layer(t, core, folder) for t in sorted(others - set(networks[name]), key=str)]
        for layer in layers:
            layer.run("xgb", TEACHING_SEED, TAUGHT)
        data = TrainingSet.join([layer.teaching(n) for n, layer in enumerate(layers)])
        models[name] = BoostedModel.train(data, TEACHING_SEED, BASE)
    return models


def interval(log_ratios: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Geometric mean of ratios ``[layers, seeds]`` minus 1, with a bootstrap over seeds."""
    generator = np.random.default_rng(0)
    of_seed = log_ratios.mean(axis=0)
    draws = generator.integers(0, len(of_seed), (_BOOTSTRAPS, len(of_seed)))
    low, high = np.quantile(of_seed[draws].mean(axis=1), [0.025, 0.975])
    mean, low, high = np.expm1([of_seed.mean(), low, high]).tolist()
    return mean, low, high


def report(layers: list[Layer], samplers: list[str], seeds: int) -> None:
    """Prints the table of what the cache holds for all of the seeds."""
    best, floor = [layer.best for layer in layers], [layer.floor() for layer in layers]
    for layer, cycles, least in zip(layers, best, floor, strict=True):
        print(
            f"{layer.name:36} reference {cycles:>9,}, at most {cycles / least - 1:6.2%} above "
            f"the optimum; {len(layer.cycles):,} schedules measured"
        )
    gap = np.expm1(np.log(np.array(best) / floor).mean())
    print(f"geometric mean: at most {gap:.2%} above the optimum")
    least = min(layer.least_over_walk() for layer in layers)
    print(f"no schedule took less than {least:.3f} times the cycles of its walk")
    print(f"regret over {len(layers)} layers and {seeds} seeds, 95 % interval")
    for sampler in samplers:
        for mark in MARKS:
            rows = []
            for layer, reference in zip(layers, best, strict=True):
                of_seed = [layer.history(f"{sampler}/{seed}") for seed in range(seeds)]
                ends = [history[min(mark, len(history)) - 1] for history in of_seed]
                rows.append(np.log(np.array(ends) / reference))
            ratios = np.array(rows)
            mean, low, high = interval(ratios)
            each = " ".join(f"{value:.1f}" for value in 100 * np.expm1(ratios.mean(axis=1)))
            print(
                f"  {sampler:8}{mark:>4} measurements {mean:7.2%} [{low:.2%}, {high:.2%}], within "
                f"1 %: {np.mean(ratios <= np.log(1.01)):4.0%} of runs; per layer, %: {each}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--drawn", type=int, metavar="SEED", help="other layers, see above")
    parser.add_argument("--layers", help="numbers of layers, separated by commas")
    parser.add_argument("--samplers", default="xgb,warm,tpe,random")
    parser.add_argument("--reference", type=int, default=0, help="guided searches of 192")
    parser.add_argument("--proof", type=int, metavar="N", help="only prove, measuring at most N")
    parser.add_argument("--report", action="store_true", help="print what the cache holds")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    core = load_target("vta").npu
    small, large = network_tasks("resnet18"), network_tasks("resnet50")
    tasks = [*{**small, **large}]
    if arguments.drawn is not None:
        tasks = drawn_tasks(DRAWN, arguments.drawn)
    layers = [Layer(task, core, arguments.cache) for task in tasks]
    if arguments.layers:
        layers = [layers[int(number)] for number in arguments.layers.split(",")]
    if arguments.proof is not None:
        for layer in layers:
            print(layer.prove(arguments.proof), flush=True)
        return
    samplers = arguments.samplers.split(",")
    if not arguments.report:
        bases = base_models(core, arguments.cache) if "warm" in samplers else {}
        for layer in layers:
            for number in range(arguments.reference):
                layer.run("long", TEACHING_SEED + 1 + number, 192)
            if bases:
                layer.run("xgb", TEACHING_SEED, TAUGHT)
        for seed in range(arguments.seeds):  # seed by seed: what is there can be reported
            for layer in layers:
                for sampler in samplers:
                    began = time.process_time()
                    own = "resnet18" if layer.task in small else "resnet50"
                    base = bases[own] if sampler == "warm" else None
                    layer.run(sampler, seed, BUDGET, base)
                    spent = time.process_time() - began
                    if spent > 0.1:
                        proven = layer.proofs.get(f"{seed}", 0) if sampler == "task" else 0
                        ended = f", proven after {proven}" if proven > 0 else ""
                        print(f"{layer.name} {sampler} {seed}: {spent:.1f} s of CPU time{ended}")
                        sys.stdout.flush()
    report(layers, samplers, arguments.seeds)


if __name__ == "__main__":
    main()
