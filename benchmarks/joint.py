"""Joint against staged search at equal numbers of trials: quantize, then partition, then tile,
against all at once.

    python benchmarks/joint.py MODEL.onnx --calibration calib.npz --evaluation eval.npz

Staged search spends half of its trials on schemes with the default plan, keeps one scheme and
spends the other half on plans. There are two of them, by what the first stage is after:

- *by accuracy*, as tools of the field do it (Quantune and those that follow it): the scheme of
  highest accuracy, of equal ones the faster;
- *by latency*, the strongest that a first stage can do: the fastest scheme within the accuracy
  limit; the one of highest accuracy where none is.

All searches use the same sampler, cost, limit and data. Without ``--tile`` every task has its
untuned schedule, so that what is compared is the outer search. With it, joint search tunes the
tasks of each of its trials; staged search tunes those of its last plan, with as many measurements
as joint search took for everything.

``--cuts bound`` and ``--cuts measured`` print another comparison, on a target of an int8 core and a
4-bit core: layers cut by output channels, see :mod:`benchmarks.channel_cuts`; nothing is searched.
``--cuts judged`` compiles and judges optima of the cost tables there, see
:mod:`benchmarks.shared_prices`. ``--cuts searched`` searches there, against a staged search that
knows cuts, too, see :mod:`benchmarks.shared_search`.

Prints first what no scheme and no plan of the space can beat with untuned schedules, then per seed
the lowest latency within the limit, how it compares, the hypervolume of (latency, accuracy) against
twice the default's latency, and the lowest latency of any trial, whatever its accuracy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.channel_cuts import print_cuts
from benchmarks.scheme_bound import least_costs
from benchmarks.shared_prices import compare as compare_prices
from benchmarks.shared_search import staged_plus
from compiler_core.compile.sources import load_model
from compiler_core.configuration.launches import APART
from compiler_core.files.plain import to_plain
from compiler_core.partition.optimum import find_optimum
from compiler_core.quantize.profile import profile_model
from compiler_core.targets.load import load_target
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.worker import survey
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.running.lifecycle import run_study
from nest_tune.study.running.observer import Observer
from nest_tune.study.store.creation import create_study
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import OuterTrial
from nest_tune.study.tuning.seam import task_from_plain
from nest_tune.tuning.tune import tune_tasks
from search_spaces.joint import JointSpace, OuterPoint, SpacePart
from search_spaces.parameter import Parameter

LATENCY, ACCURACY = TrialMetric.LATENCY_MS.value, TrialMetric.ACCURACY.value


class Fixed:
    """A part that stays at one point of another one."""

    parameters: tuple[Parameter, ...] = ()
    default: OuterPoint = ()

    def __init__(self, part: SpacePart, point: OuterPoint) -> None:
        self.name, self._part, self._point = part.name, part, point

    def decode(self, _point: OuterPoint) -> object:
        return self._part.decode(self._point)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


@dataclass(frozen=True)
class Side:
    """What one way of searching came to.

    Attributes:
        trials: All of its outer trials.
        best_ms: Lowest latency within the limit; infinite where none is.
        measurements: Schedules that were measured.
        scheme: What the first stage chose.
    """

    trials: tuple[OuterTrial, ...]
    best_ms: float
    measurements: int = 0
    scheme: OuterPoint = ()


def run(settings: StudySettings, fixed: tuple[str, OuterPoint] | None = None) -> StudyResult:
    """One study; ``fixed`` names a part and the point that it stays at."""
    storage = StudyStorage(settings.storage)
    ground = survey_ground(settings, storage=storage)
    if fixed is not None:
        name, point = fixed
        parts: list[SpacePart] = [
            Fixed(part, point) if part.name == name else part for part in ground.space.parts
        ]
        space = JointSpace(parts)
        ground = replace(ground, space=space, digests={**ground.digests, "space": space.digest})
    study = create_study(storage, ground, "replace")
    result = run_study(ground, storage, study, Observer())
    storage.close()
    return result


def fastest(trials: Sequence[OuterTrial]) -> OuterTrial | None:
    """The settled feasible trial of lowest latency."""
    good = [t for t in trials if t.is_feasible and t.settled]
    return min(good, key=lambda t: (t.metrics[LATENCY], t.number), default=None)


def most_accurate(trials: Sequence[OuterTrial]) -> OuterTrial:
    """The measured trial of highest accuracy, of equal ones the fastest."""
    measured = [t for t in trials if t.outcome.is_measured and t.settled] or list(trials)
    return min(measured, key=lambda t: (-t.metrics[ACCURACY], t.metrics[LATENCY], t.number))


def hypervolume(
    trials: Sequence[OuterTrial], objectives: Sequence[Objective], worst: float
) -> float:
    """Area that the front dominates, from a latency of ``worst`` and no accuracy; 1 is a latency of
    0 at full accuracy."""
    area, covered = 0.0, 0.0
    for trial in sorted(pareto_front(trials, objectives), key=lambda t: -t.metrics[ACCURACY]):
        gained = max(0.0, worst - trial.metrics[LATENCY]) / worst
        if gained > covered:
            area += trial.metrics[ACCURACY] * (gained - covered)
            covered = gained
    return area


def joint(base: StudySettings) -> Side:
    """Everything at once."""
    result = run(replace(base, name="joint"))
    best = fastest(result.trials)
    spent = sum(task.measurements for task in result.tasks.values())
    return Side(result.trials, inf if best is None else best.metrics[LATENCY], spent)


def staged(base: StudySettings, *, by_latency: bool, measurements: int) -> Side:
    """Schemes with the default plan, then plans with one scheme, then the schedules of one plan.

    Args:
        base: What joint search was run with.
        by_latency: Whether the first stage is after the fastest scheme within the limit, instead of
            the most accurate.
        measurements: Of the third stage; none without tuning.
    """
    half = base.trials // 2
    untuned = replace(base, tiling=False)
    wanted = base.objectives
    if not by_latency:
        wanted = (Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE),)
    first = run(replace(untuned, name="first", partition=False, objectives=wanted, trials=half))
    chosen = fastest(first.trials) if by_latency else None
    scheme = (chosen or most_accurate(first.trials)).point
    # Its first trial repeats what the first stage has measured.
    rest = replace(untuned, name="second", trials=base.trials - half + 1)
    second = run(rest, ("quantization", scheme))
    trials, best = (*first.trials, *second.trials), fastest(second.trials)
    if best is None or not base.tiling:
        return Side(trials, inf if best is None else best.metrics[LATENCY], 0, scheme)
    point = (*scheme, *best.point)
    tuned_ms = tiled_ms(survey_ground(untuned), point, measurements, base.seed)
    return Side(trials, tuned_ms, measurements, scheme)


def tiled_ms(ground: Ground, point: OuterPoint, measurements: int, seed: int) -> float:
    """Latency of a point, its tasks tuned with so many measurements together."""
    bench, decisions = Bench(ground.subjects), ground.space.decode(point)
    counted = [task_from_plain(t) for t in survey(bench, {"decisions": decisions})["tasks"]]
    tuned = tune_tasks(
        {c.task: c.count for c in counted}, ground.target.npu, trials=measurements, seed=seed
    )
    schedules = {task.id: to_plain(result.best) for task, result in tuned.items()}
    return bench.metrics(bench.compiled(decisions, schedules))[LATENCY]


def print_bounds(ground: Ground) -> None:
    """What no scheme and no plan can beat with untuned schedules and a launch per operator."""
    if ground.target.npu_cores != 1 or ground.settings.launches != APART:
        return
    for usual, name in ((False, "all schemes"), (True, "usual schemes")):
        found = find_optimum(least_costs(ground.model.graph, ground.target, usual=usual))
        print(f"bound of {name} and plans: {found.bound_ps * 1e-9:.4f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--evaluation")
    parser.add_argument("--target", default="vta")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--max-accuracy-drop", type=float, default=0.01)
    parser.add_argument("--holdout", help="share of the samples that only reports")
    parser.add_argument("--tile", action="store_true")
    parser.add_argument("--cuts", choices=("bound", "measured", "judged", "searched"))
    arguments = parser.parse_args()
    if arguments.cuts in ("bound", "measured"):
        model = load_model(Path(arguments.model))
        samples = {model.graph.inputs[0]: np.load(arguments.calibration)["x"]}
        profile, target = profile_model(model.graph, samples), load_target(arguments.target)
        print_cuts(model, profile, target, measured=arguments.cuts == "measured")
        return
    if not arguments.evaluation:
        parser.error("--evaluation is needed to search")
    names = ("joint", "by accuracy", "by latency")
    flags = StudyRequest(
        model=arguments.model,
        target=arguments.target,
        calibration=arguments.calibration,
        evaluation=arguments.evaluation,
        max_accuracy_drop=str(arguments.max_accuracy_drop),
        holdout=arguments.holdout,
        spaces=("quantization", "partition", *["tiling"] * arguments.tile),
        trials=arguments.trials,
        jobs=arguments.jobs,
    )
    settings = resolve(None, flags, os.environ)
    if arguments.cuts == "judged":
        compare_prices(survey_ground(settings).subjects, arguments.max_accuracy_drop)
        return
    if arguments.cuts:
        compare_cuts(settings, range(arguments.first_seed, arguments.first_seed + arguments.seeds))
        return
    print_bounds(survey_ground(settings))
    print("seed" + "".join(f"{name + ' ms':>16}" for name in names), end="")
    print("  joint/by acc.  joint/by lat.  any accuracy  hypervolumes             measurements")
    gains: dict[str, list[float]] = {name: [] for name in names[1:]}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            sides: dict[str, Side] = {}
            for name in names:
                # Quantized candidates need not be scored twice, but schedules that one side has
                # measured would be a gift to the next.
                file = f"{seed}-{len(sides)}.db" if arguments.tile else "joint.db"
                base = replace(settings, seed=seed, storage=f"sqlite:///{Path(folder) / file}")
                if name == names[0]:
                    sides[name] = joint(base)
                    continue
                spent, by_latency = sides[names[0]].measurements, name == names[2]
                sides[name] = staged(base, by_latency=by_latency, measurements=spent)
            report(seed, settings.objectives, sides, gains)
    for name, ratios in gains.items():
        if ratios:
            mean = statistics.geometric_mean(ratios)
            print(f"joint / staged {name}: geomean {mean:.4f}, worst {max(ratios):.4f}")


def compare_cuts(settings: StudySettings, seeds: Sequence[int]) -> None:
    """Joint against staged+ search at equal numbers of trials, seed by seed."""
    ground, ratios = survey_ground(settings), []
    print(f"{'seed':>4} {'default ms':>12} {'joint ms':>12} {'staged+ ms':>12} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            base = replace(settings, seed=seed, storage=f"sqlite:///{Path(folder) / 'cuts.db'}")
            ours = run(replace(base, name="joint"))
            trials, theirs = staged_plus(base, ground, run, fastest)
            best = fastest(ours.trials)
            shown = [ours.trials[0].metrics[LATENCY]]
            shown += [inf if t is None else t.metrics[LATENCY] for t in (best, theirs)]
            line = "".join(f" {value:12.4f}" for value in shown)
            if best is not None and theirs is not None:
                ratios.append(shown[1] / shown[2])
                line += f" {ratios[-1]:8.4f}"
            print(f"{seed:4}{line}", flush=True)
            for name, found, own in (("joint", best, ours.trials), ("staged+", theirs, trials)):
                print(f"      {name}: {told(ground, found, own)}", flush=True)
    if ratios:
        print(f"joint / staged+: geomean {statistics.geometric_mean(ratios):.4f}")


def told(ground: Ground, found: OuterTrial | None, trials: Sequence[OuterTrial]) -> str:
    """What a side chose, or how near it came to the limit."""
    if found is not None:
        drop = found.metrics[TrialMetric.ACCURACY_DROP.value]
        return f"drop {drop:.4f}, {shared_count(ground, found)}"
    measured = [t for t in trials if t.outcome.is_measured and t.settled]
    if not measured:
        return f"none of {len(trials)} trials measured"
    nearest = most_accurate(measured)
    drop, latency = nearest.metrics[TrialMetric.ACCURACY_DROP.value], nearest.metrics[LATENCY]
    return (
        f"none of {len(trials)} trials within the limit; nearest {latency:.4f} ms, drop {drop:.4f}"
    )


def shared_count(ground: Ground, trial: OuterTrial) -> str:
    """How many operators of a trial each kind of place has."""
    plan = ground.space.decode(trial.point).get("partition", {})
    count: dict[str, int] = {}
    for place in plan.values():
        count[place] = count.get(place, 0) + 1
    told = ", ".join(f"{n} on {place}" for place, n in sorted(count.items()))
    return told or "all as by default"


def report(
    seed: int,
    objectives: Sequence[Objective],
    sides: dict[str, Side],
    gains: dict[str, list[float]],
) -> None:
    """One line; the ratios are noted in ``gains`` where both sides found something."""
    ours = sides["joint"]
    worst = 2 * ours.trials[0].metrics[LATENCY]
    line = f"{seed:4}" + "".join(f"{side.best_ms:16.4f}" for side in sides.values())
    for name, ratios in gains.items():
        theirs = sides[name].best_ms
        ratio = ours.best_ms / theirs if isfinite(theirs) else 0.0
        if not isfinite(ours.best_ms):
            ratio = inf if isfinite(theirs) else 1.0
        if isfinite(theirs) and isfinite(ours.best_ms):
            ratios.append(ratio)
        line += f"{ratio:15.4f}"
    least = min(
        t.metrics[LATENCY] for s in sides.values() for t in s.trials if t.outcome.is_measured
    )
    volumes = [hypervolume(side.trials, objectives, worst) for side in sides.values()]
    line += f"{least:14.4f}  " + " ".join(f"{volume:.4f}" for volume in volumes)
    print(f"{line}  {[side.measurements for side in sides.values()]}", flush=True)
    for name, side in list(sides.items())[1:]:
        print(f"      staged {name}: scheme {side.scheme}", flush=True)


if __name__ == "__main__":
    main()
