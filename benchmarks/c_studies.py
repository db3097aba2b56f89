"""Studies of generated C against the fewest bit-operations, within the same limits.

    python benchmarks/c_studies.py FOLDER [--target cortex-m4] [--trials 60] [--share 0.7]

``FOLDER`` holds ``model.onnx``, ``calib.npz``, ``eval.npz``. Constants are limited to a share of
those of int8, accuracy to one point less than the float model's; what is chosen is chosen on the
even samples of the evaluation data and reported on the odd ones.

The competitor is the network of fewest bit-operations (products times bits of weights and
activations) within these limits: plans of least bit-operations for their damage, exact for damages
that add up, of which the first that keeps the limit on accuracy is taken, or a network that the
study found and that takes fewer. It is counted with the kernels that the study finds for it, and
with weights that stay packed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import nest_tune
from nest_tune.study.choice.precision_plans import PrecisionCosts, next_plan, plans
from nest_tune.study.execution.noise_of_moves import OutputNoise
from nest_tune.study.execution.source_bench import COST, SourceBench
from nest_tune.study.execution.subjects import Subjects
from nest_tune.study.tuning.seam import TunedTask

_BITS = {"int8": 8, "int4": 4}
_BIT_PRODUCTS = {"int8": 8 * 8, "int4": 4 * 8, "int4-packed": 4 * 8, "int16": 8 * 16}
"""Bits of weights times bits of activations."""
_SAMPLES = 100
_DROP = 0.01


def halves(file: Path, folder: Path) -> tuple[Path, Path]:
    """Even and odd samples of evaluation data, as two files."""
    with np.load(file) as data:
        arrays = dict(data)
    found = []
    for name, first in (("even", 0), ("odd", 1)):
        path = folder / f"{name}.npz"
        np.savez(path, **{key: array[first::2] for key, array in arrays.items()})
        found.append(path)
    return found[0], found[1]


def fewest_bit_operations(
    bench: SourceBench, limit: float, known_good: list[dict[str, str]]
) -> dict[str, str]:
    """Precision by layer of the competitor.

    Args:
        bench: On the samples that choose.
        limit: Of the constants, in bytes.
        known_good: Precisions of networks that keep the limits, as the study found them.
    """
    choices = bench.candidates.precisions(bench.model.graph, bench.ranges)
    meter = OutputNoise(bench, _SAMPLES)

    def decisions(layers: list[str]) -> dict[str, Any]:
        return {"quantization": _RANGING, "precision": dict.fromkeys(layers, "int4")}

    base = meter.candidate(decisions([]))
    added = [max(0.0, meter.candidate(decisions([c.node])) - base) for c in choices]
    whole = bench.candidate(decisions([])).costs({}, {}).metrics["constant_bytes"]
    small = (
        bench.candidate(decisions([c.node for c in choices]))
        .costs({}, {})
        .metrics["constant_bytes"]
    )
    weights = np.array([[c.weights, 0.0] for c in choices], float)
    stored = weights * ((whole - small) / weights.sum())
    operations = np.array([[8.0 * c.macs * bits for bits in _BITS.values()] for c in choices])
    damage = np.stack([np.zeros(len(added)), np.array(added)], axis=1)
    table = PrecisionCosts(operations, damage, (stored,), (limit - (whole - stored.sum()),))
    known = plans(table)
    floats = bench.float_accuracy(0).value
    good: dict[tuple[int, ...], bool] = {}
    while (plan := next_plan(known, good, set(good))) is not None:
        layers = [c.node for c, at in zip(choices, plan.block, strict=True) if at]
        accuracy = bench.accuracy(decisions(layers), 0).value
        good[plan.block] = floats - accuracy <= _DROP + 1e-12
    found = list(known_good)
    for plan in known:
        if good.get(plan.block):
            layers = [c.node for c, at in zip(choices, plan.block, strict=True) if at]
            found.append(dict.fromkeys(layers, "int4"))

    def bit_operations(chosen: dict[str, str]) -> int:
        return sum(c.macs * _BIT_PRODUCTS[chosen.get(c.node, "int8")] for c in choices)

    return min(found, key=bit_operations)


_RANGING = {"activation_range": "max", "weight_range": "mse"}


def instructions(
    bench: SourceBench, decisions: dict[str, Any], known: Mapping[str, TunedTask]
) -> float:
    """Sum over the operators, each with its best kernel."""
    schedules = {name: task.schedule for name, task in known.items()}
    found = bench.schedules(decisions, schedules, tuned=True)
    return float(sum(found[task.name][COST] for task in bench.candidate(decisions).tasks))


def main() -> None:
    """Runs the comparison and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--storage", default="sqlite:///c_studies.db")
    asked = parser.parse_args()
    model, calibration = asked.folder / "model.onnx", asked.folder / "calib.npz"
    with tempfile.TemporaryDirectory() as scratch:
        even, odd = halves(asked.folder / "eval.npz", Path(scratch))
        benches = [
            SourceBench(
                Subjects(
                    str(model), asked.target, calibration=str(calibration), evaluation=str(half)
                )
            )
            for half in (even, odd)
        ]
        int8 = benches[0].candidate({}).costs({}, {}).metrics
        limit = asked.share * int8["constant_bytes"]
        before = os.times()
        study = nest_tune.Study.start(
            model=model,
            target=asked.target,
            calibration=calibration,
            evaluation=even,
            holdout=str(odd),
            objectives=["instructions:min"],
            constraints=[f"constant_bytes<={limit:.0f}"],
            max_accuracy_drop="1%",
            trials=asked.trials,
            jobs=asked.jobs,
            trial_timeout="600s",
            storage=asked.storage,
            if_exists="resume",
            name=f"{asked.folder.name}-{asked.target}",
        )
        after = os.times()
        best = study.best("fastest")
        ours = dict(study.decisions(best.number))
        kept = []
        for trial in study.trials:
            if trial.is_feasible:
                shown = study.decisions(trial.number).items()
                kept.append({n.split(".", 1)[1]: v for n, v in shown if n.startswith("precision.")})
        other = fewest_bit_operations(benches[0], limit, kept)
        decisions = {"quantization": _RANGING, "precision": other}
        stays = {n: "int4-packed" if way == "int4" else way for n, way in other.items()}
        packed = {"quantization": _RANGING, "precision": stays}
        known = study.result.tasks
        counts = [instructions(benches[0], way, known) for way in (decisions, packed)]
        floats = benches[1].float_accuracy(0).value
        told = study.result.closed.reported.get(best.number)
        lines = {
            "model": asked.folder.name,
            "target": asked.target,
            "int8": {"instructions": study.trials[1].metrics["instructions"], **int8},
            "limit_constant_bytes": limit,
            "study": {**best.metrics, "trial": best.number, "decisions": ours},
            "fewest_bit_operations": {"precision": other, "instructions": counts[0]},
            "packed_instructions": counts[1],
            "ratio": best.metrics["instructions"] / counts[0],
            "ratio_to_packed": best.metrics["instructions"] / counts[1],
            "float_on_odd": floats,
            "competitor_on_odd": benches[1].accuracy(decisions, 0).value,
            "study_on_odd": None if told is None else told.value,
            "cpu_s": sum(after[:4]) - sum(before[:4]),
        }
    print(json.dumps(lines, indent=1, default=str))


if __name__ == "__main__":
    main()
