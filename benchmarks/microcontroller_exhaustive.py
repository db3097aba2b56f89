"""Studies of generated C against every combination of precisions, on networks of few layers.

    python benchmarks/microcontroller_exhaustive.py FOLDER [--target cortex-m4] [--trials 60]

``FOLDER`` holds ``model.onnx``, ``calib.npz``, ``eval.npz``. Every layer has weights of 8 or 4 bits
or activations of 16 bits; constants are limited to a share of those of int8, accuracy to one point
less than the float model's.

What an operator costs depends on its layer and on the elements that its neighbours hand it. So
instructions and constants of every combination follow from those of the combinations that change at
most three layers in a row, each an exact count with the best kernel that the study or this program
has measured; random combinations are held against what they cost as wholes. Combinations within the
limit of constants are then judged in ascending order of instructions, until the first keeps the
limit of accuracy: no other that does takes fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

import nest_tune
from compiler_core.files.plain import from_plain
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.bundles.cores import core_of, count
from compiler_core.units.cpu.c.bundles.targets import load_board
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from nest_tune.study.execution.source_bench import COST, KERNEL, SourceBench
from nest_tune.study.execution.subjects import Subjects

PRECISIONS = ("int8", "int4", "int16")
_DROP = 0.01
_REACH = 3
"""Layers in a row that a cost may depend on."""

Combination = tuple[int, ...]


class Costs:
    """Instructions and constants of combinations.

    Args:
        bench: Of the model.
        nodes: Its layers in order.
        quantization: How ranges follow from statistics.
        known: Schedules that are measured, by task.
    """

    def __init__(
        self,
        bench: SourceBench,
        nodes: Sequence[str],
        quantization: Mapping[str, str],
        known: Mapping[str, Any],
    ) -> None:
        self._bench, self._nodes, self._known = bench, nodes, dict(known)
        self._quantization = dict(quantization)
        self._wholes: dict[Combination, npt.NDArray[np.float64]] = {}

    def decisions(self, combination: Combination) -> dict[str, Any]:
        """As a study has them."""
        chosen = zip(self._nodes, combination, strict=True)
        precision = {node: PRECISIONS[at] for node, at in chosen if at}
        return {"quantization": self._quantization, "precision": precision}

    def schedules(self, combination: Combination) -> Mapping[str, Any]:
        """Best kernels of a combination; those that nobody has measured are."""
        found = self._bench.schedules(self.decisions(combination), self._known, tuned=True)
        self._known.update(found)
        return found

    def whole(self, combination: Combination) -> npt.NDArray[np.float64]:
        """Instructions and constant bytes, from the operators of the network itself."""
        if combination not in self._wholes:
            schedules = self.schedules(combination)
            candidate = self._bench.candidate(self.decisions(combination))
            instructions = sum(schedules[task.name][COST] for task in candidate.tasks)
            constants = self.bundle(combination).sources.constant_bytes
            self._wholes[combination] = np.array([instructions, constants], float)
        return self._wholes[combination]

    def bundle(self, combination: Combination) -> Any:
        """Sources of a combination with its best kernels."""
        schedules = self.schedules(combination)
        candidate: Any = self._bench.candidate(self.decisions(combination))
        kernels = {
            task.value: from_plain(KernelSchedule, dict(schedules[task.name][KERNEL]), task.name)
            for task in candidate.tasks
        }
        return scheduled_bundle(candidate.network, "whole", kernels)

    def table(self) -> npt.NDArray[np.float64]:
        """Of every combination, the last layer's precision changing first: [combinations, 2]."""
        layers, ways = len(self._nodes), len(PRECISIONS)
        total = np.zeros((ways,) * layers + (2,))
        for reach in range(_REACH + 1):
            for first in range(layers - reach + 1 if reach else 1):
                part = np.zeros((ways,) * reach + (2,))
                for here in product(range(ways), repeat=reach):
                    part[here] = self._beyond(first, here)
                shape = [1] * first + [ways] * reach + [1] * (layers - first - reach) + [2]
                total = total + part.reshape(shape)
        return np.asarray(total.reshape(-1, 2))

    def _beyond(self, first: int, here: Combination) -> npt.NDArray[np.float64]:
        """What changing these neighbours together costs beyond changing fewer of them."""
        if not here:
            return self.whole((0,) * len(self._nodes))
        if not here[0] or not here[-1]:
            return np.zeros(2)
        found = self._in_row(first, here).copy()
        for size in range(len(here)):
            for at in range(len(here) - size + 1 if size else 1):
                found -= self._beyond(first + at, here[at : at + size])
        return found

    def _in_row(self, first: int, here: Combination) -> npt.NDArray[np.float64]:
        rest = len(self._nodes) - first - len(here)
        return self.whole((0,) * first + here + (0,) * rest)


def counted(costs: Costs, combination: Combination, target: str) -> float:
    """Instructions of the whole program."""
    bundle = costs.bundle(combination)
    with tempfile.TemporaryDirectory() as scratch:
        folder, core = Path(scratch), core_of(load_board(target).core)
        write_sources_of(bundle, folder)
        return sum(count(core, folder, folder / "program", len(bundle.sources.steps)))


def main() -> None:
    """Runs the comparison and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=200, help="at most")
    parser.add_argument("--storage", default="sqlite:///exhaustive.db")
    asked = parser.parse_args()
    files = {name: str(asked.folder / f"{name}.npz") for name in ("calib", "eval")}
    model = asked.folder / "model.onnx"
    bench = SourceBench(
        Subjects(str(model), asked.target, calibration=files["calib"], evaluation=files["eval"])
    )
    limit = asked.share * bench.candidate({}).costs({}, {}).metrics["constant_bytes"]
    before = os.times()
    study = nest_tune.Study.start(
        model=model,
        target=asked.target,
        calibration=files["calib"],
        evaluation=files["eval"],
        objectives=["instructions:min"],
        constraints=[f"constant_bytes<={limit:.0f}"],
        max_accuracy_drop="1%",
        trials=asked.trials,
        jobs=asked.jobs,
        trial_timeout="600s",
        storage=asked.storage,
        if_exists="resume",
        name=f"{asked.folder.name}-{asked.target}-{asked.share:g}",
    )
    after = os.times()
    best = study.best("fastest")
    ours = dict(study.decisions(best.number))
    quantization = {
        name.split(".", 1)[1]: value
        for name, value in ours.items()
        if name.startswith("quantization.")
    }
    nodes = [choice.node for choice in bench.candidates.precisions(bench.model.graph, bench.ranges)]
    known = {name: task.schedule for name, task in study.result.tasks.items()}
    costs = Costs(bench, nodes, quantization, known)
    table, shape = costs.table(), (len(PRECISIONS),) * len(nodes)
    random, wrong = Random(0), []
    for _ in range(12):
        drawn = tuple(random.randrange(len(PRECISIONS)) for _ in nodes)
        wrong.append(costs.whole(drawn) - table[np.ravel_multi_index(drawn, shape)])
    within = np.flatnonzero(table[:, 1] <= limit)
    order = within[np.argsort(table[within, 0], kind="stable")]
    floats, judged, optimum = bench.float_accuracy(0).value, 0, None
    for at in order[: asked.evaluations]:
        combination = tuple(int(way) for way in np.unravel_index(at, shape))
        judged += 1
        if floats - bench.accuracy(costs.decisions(combination), 0).value <= _DROP + 1e-12:
            optimum = combination
            break
    least = float(table[order[0], 0])
    took = best.metrics["instructions"]
    lines: dict[str, Any] = {
        "model": asked.folder.name,
        "target": asked.target,
        "layers": len(nodes),
        "combinations": len(table),
        "within_constants": len(order),
        "table_wrong_by": np.abs(wrong).max(axis=0).tolist(),
        "study": {"instructions": took, "trial": best.number, "decisions": ours},
        "study_cpu_s": sum(after[:4]) - sum(before[:4]),
        "least_whatever_the_accuracy": least,
        "study_to_least": took / least,
        "judged": judged,
    }
    if optimum is not None:
        exact = float(table[np.ravel_multi_index(optimum, shape), 0])
        lines["optimum"] = {
            "precision": costs.decisions(optimum)["precision"],
            "instructions": exact,
            "counted_as_a_whole": counted(costs, optimum, asked.target),
        }
        lines["study_to_optimum"] = took / exact
    print(json.dumps(lines, indent=1, default=str))


if __name__ == "__main__":
    main()
