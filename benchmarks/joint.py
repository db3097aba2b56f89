"""Joint against staged search at equal numbers of trials: quantize, then partition, against both.

    python benchmarks/joint.py MODEL.onnx --calibration calib.npz --evaluation eval.npz

Staged search spends half of its trials on schemes with the default plan, pins the best feasible
one's scheme and spends the other half on plans. Both see the same cost, with one untuned schedule
per task, so that what is compared is the outer search. Prints, per seed, the lowest latency within
the accuracy limit, the lowest of all trials whatever their accuracy (what no search of these trials
could beat), and the hypervolume of (latency, accuracy) against the default trial.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nest_tune.study.creation import create_study
from nest_tune.study.flags import Flags, resolve
from nest_tune.study.front import pareto_front
from nest_tune.study.ground import survey_ground
from nest_tune.study.lifecycle import run_study
from nest_tune.study.observer import Observer
from nest_tune.study.result import StudyResult
from nest_tune.study.settings import StudySettings
from nest_tune.study.storage import StudyStorage
from nest_tune.study.trial import OuterTrial
from search_spaces.joint import JointSpace, OuterPoint, Part


class Fixed:
    """A part that stays at one point of another one."""

    parameters = ()
    default: OuterPoint = ()

    def __init__(self, part: Part, point: OuterPoint) -> None:
        self.name, self._part, self._point = part.name, part, point

    def decode(self, _point: OuterPoint) -> object:
        return self._part.decode(self._point)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


def run(settings: StudySettings, fixed: tuple[str, OuterPoint] | None = None) -> StudyResult:
    """One study; ``fixed`` names a part and the point that it stays at."""
    storage = StudyStorage(settings.storage)
    ground = survey_ground(settings)
    if fixed is not None:
        parts = [Fixed(p, fixed[1]) if p.name == fixed[0] else p for p in ground.space.parts]
        space = JointSpace(parts)
        ground = replace(ground, space=space, digests={**ground.digests, "space": space.digest})
    study = create_study(storage, ground, "replace")
    result = run_study(ground, storage, study, Observer())
    storage.close()
    return result


def fastest(trials: Sequence[OuterTrial]) -> OuterTrial | None:
    """The settled feasible trial of lowest latency."""
    good = [t for t in trials if t.is_feasible and t.settled]
    return min(good, key=lambda t: (t.metrics["latency_ms"], t.number), default=None)


def hypervolume(results: Sequence[StudyResult], reference: OuterTrial) -> float:
    """Area that the front dominates, from twice the default's latency and no accuracy; 1 is a
    latency of 0 at full accuracy."""
    objectives = results[0].settings.objectives
    front = pareto_front([t for result in results for t in result.trials], objectives)
    worst, area, covered = 2 * reference.metrics["latency_ms"], 0.0, 0.0
    for trial in sorted(front, key=lambda t: -t.metrics["accuracy"]):
        gained = max(0.0, worst - trial.metrics["latency_ms"]) / worst
        if gained > covered:
            area += trial.metrics["accuracy"] * (gained - covered)
            covered = gained
    return area


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--evaluation", required=True)
    parser.add_argument("--target", default="vta")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--max-accuracy-drop", type=float, default=0.01)
    arguments = parser.parse_args()
    gains = []
    print("seed  joint ms  staged ms  joint/staged  any accuracy  hypervolume joint  staged")
    with tempfile.TemporaryDirectory() as folder:
        flags = Flags(
            model=arguments.model,
            target=arguments.target,
            calibration=arguments.calibration,
            evaluation=arguments.evaluation,
            max_accuracy_drop=str(arguments.max_accuracy_drop),
            spaces=("quantization", "partition"),
            trials=arguments.trials,
            jobs=arguments.jobs,
            storage=f"sqlite:///{Path(folder) / 'joint.db'}",
        )
        base = resolve(None, flags, os.environ)
        for seed in range(arguments.seeds):
            joint = run(replace(base, name="joint", seed=seed))
            half = arguments.trials // 2
            first = run(replace(base, name="first", seed=seed, partition=False, trials=half))
            best = fastest(first.trials) or first.trials[0]
            rest = replace(base, name="second", seed=seed, trials=arguments.trials - half)
            second = run(rest, ("quantization", best.point))
            one, other = fastest(joint.trials), fastest([*first.trials, *second.trials])
            default = joint.trials[0]
            volumes = hypervolume([joint], default), hypervolume([first, second], default)
            times = [t.metrics["latency_ms"] if t else float("inf") for t in (one, other)]
            least = min(
                trial.metrics["latency_ms"]
                for result in (joint, first, second)
                for trial in result.trials
                if trial.outcome.is_measured
            )
            gains.append(times[0] / times[1])
            print(
                f"{seed:4}  {times[0]:8.4f}  {times[1]:9.4f}  {gains[-1]:12.4f}  "
                f"{least:12.4f}  {volumes[0]:17.4f}  {volumes[1]:6.4f}",
                flush=True,
            )
    print(
        f"geomean of joint/staged over {len(gains)} seeds: {statistics.geometric_mean(gains):.4f}"
    )


if __name__ == "__main__":
    main()
