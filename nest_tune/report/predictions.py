"""Predicted against measured: the cost model on the schedules that a study has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.targets.load import load_target
from compiler_core.targets.unit_tasks import of_unit, task_units
from compiler_core.units.unit import Machine
from cost_models.boosted import BoostedModel
from cost_models.evaluation import quality
from cost_models.training import TrainingSet
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import Record
from nest_tune.report.charts import ScatterChart
from nest_tune.report.data import Predictions
from nest_tune.study.store.result import StudyResult
from nest_tune.study.tuning.from_records import own_records
from nest_tune.tuning.knowledge import BASE, knowledge_of

_FOLDS = 5
_MOST_DOTS = 1200
_FEWEST_ROWS = 16


def predictions(result: StudyResult, storage: str) -> tuple[Predictions, ...]:
    """Predicts each task of a study by a model of the records of the others, unit by unit.

    Args:
        result: The study; its tasks name the records that it made.
        storage: URL of the database that holds them.

    Returns:
        None for units of which too few of the records are there.

    Raises:
        InputError: The target or the database cannot be read.
    """
    target = load_target(result.settings.target)
    found = []
    with closing(RecordDatabase(storage)) as database:
        for unit in task_units(target):
            tasks = of_unit(result.tasks, target, unit.name)
            known = own_records(database, unit.machine, tasks)
            own = _predictions(known, unit.machine)
            if own is not None:
                name = unit.name if len(target.units) > 1 else ""
                found.append(replace(own, unit=name))
    return tuple(found)


def _predictions(known: Mapping[str, Sequence[Record]], machine: Machine) -> Predictions | None:
    """Of the records of one unit's tasks; ``None`` where there are too few schedules."""
    own = tuple(record for records in known.values() for record in records)
    data = knowledge_of(Snapshot(own), machine).training_set(machine)
    count = len(np.unique(data.task))
    if len(data) < _FEWEST_ROWS or count < 2:
        return None
    predicted = _held_out(data)
    every = -(-len(data) // _MOST_DOTS)
    # By size, so that every task keeps its share of the dots.
    shown = np.argsort(data.cycles, kind="stable")[::every]
    chart = ScatterChart(
        "measured cycles",
        "predicted cycles",
        tuple(
            (float(measured), float(guess))
            for measured, guess in zip(data.cycles[shown], predicted[shown], strict=True)
        ),
    )
    walk, model = quality(data.walk_cycles, data), quality(predicted, data)
    return Predictions(chart, len(shown), len(data), count, walk, model)


def _held_out(data: TrainingSet) -> npt.NDArray[np.float64]:
    """Cycles ``float64[n]`` by models that never saw the task whose schedules they predict."""
    predicted = data.walk_cycles.copy()
    for fold in range(_FOLDS):
        held = data.task % _FOLDS == fold
        if held.any() and not held.all():
            model = BoostedModel.train(data.only(~held), 0, BASE)
            correction, _ = model.correction(data.values[held])
            predicted[held] *= np.exp(correction)
    return predicted
