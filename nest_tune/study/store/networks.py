"""Which tasks studies have tuned for which network, and whether that teaches others."""

from __future__ import annotations

from contextlib import closing

from compiler_core.errors import InputError
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import task_units
from compiler_core.tensor.task import task_key
from nest_tune.records.database import RecordDatabase
from nest_tune.records.sources import StoredRecords
from nest_tune.study.store.storage import StudyStorage
from nest_tune.tuning.knowledge import knowledge_of


def networks_of(storage: StudyStorage, without: str = "") -> dict[str, set[str]]:
    """Keys of the tasks that studies have tuned, by the digest of their model.

    Args:
        storage: Of the studies.
        without: Digest of a model that does not count.
    """
    found: dict[str, set[str]] = {}
    for study in storage.scan()[0]:
        model = dict(study.document.get("digests", {})).get("model", "")
        if not model or model == without:
            continue
        try:
            names = storage.tasks(study)
        except InputError:  # damaged: it is named where studies are listed
            continue
        if names:
            found.setdefault(model, set()).update(map(task_key, names))
    return found


def helped_operators(
    storage: StudyStorage, target: Target, model: str, newest: int
) -> dict[str, list[str]]:
    """Operators, by unit, whose tasks are predicted better with a model of other networks' records
    than by the walk alone; see :meth:`~nest_tune.tuning.knowledge.Knowledge.transfers`.

    Args:
        storage: Of studies and records.
        target: Of a new study.
        model: Digest of its model, which does not count.
        newest: Number of the last record that counts.
    """
    networks = networks_of(storage, model)
    if len(networks) < 2 or not newest:
        return {}
    found = {}
    with closing(RecordDatabase(storage.url)) as database:
        start = StoredRecords(database, newest)
        for unit in task_units(target):
            operators = knowledge_of(start, unit.machine).transfers(unit.machine, networks)
            if operators:
                found[unit.name] = list(operators)
    return found
