"""``nest-tune cost-model``: what the cost model learnt and how well it predicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable
from nest_tune.cli.options import EXAMPLE_TARGET, AsJson, RecordStorage, TargetName, UnitName
from nest_tune.cli.output import print_json
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent
from nest_tune.study.request.settings import DEFAULT_STORAGE

if TYPE_CHECKING:
    from compiler_core.targets.task_target import TaskTarget
    from compiler_core.units.unit import Machine
    from cost_models.boosted import BoostedModel
    from cost_models.evaluation import PredictionQuality
    from cost_models.training import TrainingSet
    from nest_tune.tuning.knowledge import Knowledge

app = typer.Typer(
    name="cost-model",
    help="The learned cost model of tilings: what it learned, how well it predicts.",
    epilog="Example: nest-tune cost-model eval --target vta",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)


@app.command(epilog="Example: nest-tune cost-model show --target vta --save model.json")
def show(
    target: TargetName = EXAMPLE_TARGET,
    unit: UnitName = None,
    storage: RecordStorage = DEFAULT_STORAGE,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved model; else one is trained.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the trained model.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which features the model reads, and what each contributes."""
    require_writable(save, "--save")

    from compiler_core.targets.task_target import load_task_target
    from cost_models.boosted import BoostedModel
    from cost_models.task_features import feature_schema, task_features

    machine = _machine(load_task_target(target), unit)
    columns = task_features(machine).columns
    schema = feature_schema(columns)
    if model is not None:
        learnt = BoostedModel.load(model, columns)
    else:
        learnt = _knowledge(machine, storage).base_model(machine, seed=0)
    if save is not None:
        learnt.save(save, columns)
    shares = learnt.importance(columns)
    features = [
        {"name": name, "unit": unit, "meaning": meaning, "gain_share": shares.get(name, 0.0)}
        for name, unit, meaning in columns
    ]
    features.sort(key=lambda feature: -float(str(feature["gain_share"])))
    if as_json:
        document = {"rows": learnt.rows, "feature_schema": schema, "features": features}
        print_json("cost-model-show", document)
        return
    from rich.table import Table

    table = Table("feature", "unit", "share of gain", "meaning", box=None)
    for f in features:
        share = percent(float(str(f["gain_share"])))
        table.add_row(str(f["name"]), str(f["unit"]), share, str(f["meaning"]))
    print_table(table)
    print(f"trained on {learnt.rows} records; feature schema {schema}")


@app.command("eval", epilog="Example: nest-tune cost-model eval --target vta --json")
def evaluate(
    target: TargetName = EXAMPLE_TARGET,
    unit: UnitName = None,
    storage: RecordStorage = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Predict tasks from the records of other networks: rank correlation, recall, error, by kind of
    operator."""
    from compiler_core.errors import InputError
    from compiler_core.targets.task_target import load_task_target

    machine = _machine(load_task_target(target), unit)
    knowledge = _knowledge(machine, storage)
    data = knowledge.training_set(machine)
    if len(data) < 8:
        raise InputError(
            f"{len(data)} records of target {target}; an evaluation needs 8",
            hint="nest-tune task tune TASK measures some",
        )
    networks = _networks(storage)
    helps = knowledge.transfers(machine, networks)
    rows, held = _qualities(knowledge, machine, networks)
    document: dict[str, Any] = {
        "target": target,
        "records": len(data),
        "held_out": held,
        "walk": asdict(rows["all"][0]),
        "model": asdict(rows["all"][1]),
        "operators": {
            name: {"walk": asdict(walk), "model": asdict(model)}
            for name, (walk, model) in rows.items()
            if name != "all"
        },
        "helped_operators": list(helps),
    }
    if as_json:
        print_json("cost-model-eval", document)
        return
    from rich.table import Table

    headers = ("operator", "predictor", "tasks", "rows", "Kendall tau", "top-10 % recall", "error")
    table = Table(*headers, box=None)
    for name, pair in rows.items():
        for predictor, q in zip(("coarse walk alone", "with the model"), pair, strict=True):
            numbers = (f"{q.kendall_tau:.3f}", percent(q.top_recall), percent(q.error, 2))
            table.add_row(name, predictor, str(q.tasks), str(q.rows), *numbers)
    print_table(table)
    print(f"each task is predicted by a model that never saw its {held}")
    shown = ", ".join(helps) or "none"
    print(f"operators whose tasks new studies tune with a model of other networks: {shown}")


def _qualities(
    knowledge: Knowledge, machine: Machine, networks: Mapping[str, Collection[str]]
) -> tuple[dict[str, tuple[PredictionQuality, PredictionQuality]], str]:
    """Of the walk and of held-out models, for all tasks and for each operator; and what was held
    out: networks where there are two, else tasks."""
    import numpy as np

    from cost_models.boosted import BoostedModel as Boosted
    from cost_models.evaluation import cross_validate, held_out, quality
    from nest_tune.tuning.knowledge import BASE

    data = knowledge.training_set(machine)

    def train(part: TrainingSet) -> BoostedModel:
        return Boosted.train(part, 0, BASE)

    groups = knowledge.network_numbers(machine, (networks[name] for name in sorted(networks)))
    held = "network" if sum(map(bool, groups)) > 1 else "task"
    if held == "network":
        predicted, done = held_out(data, groups, train)
    else:
        predicted, done = cross_validate(data, train), np.ones(len(data), np.bool_)
    names = np.array(knowledge.operators(machine))[data.task]
    found = {}
    for name in ("all", *sorted(set(names[done].tolist()))):
        chosen = done & ((names == name) | (name == "all"))
        part = data.only(chosen)
        found[name] = quality(part.walk_cycles, part), quality(predicted[chosen], part)
    return found, held


def _networks(storage: str) -> Mapping[str, Collection[str]]:
    """Tasks by network, as studies in a storage know them."""
    from nest_tune.study.store.networks import networks_of
    from nest_tune.study.store.storage import StudyStorage

    with closing(StudyStorage(storage)) as studies:
        return networks_of(studies)


def _machine(chip: TaskTarget, unit: str | None) -> Machine:
    found: Machine = chip.units[0].machine if unit is None else chip.unit(unit).machine
    return found


def _knowledge(machine: Machine, storage: str) -> Knowledge:
    from nest_tune.records.database import RecordDatabase
    from nest_tune.records.sources import StoredRecords
    from nest_tune.tuning.knowledge import knowledge_of

    with closing(RecordDatabase(storage)) as database:
        found = knowledge_of(StoredRecords(database, database.newest()), machine)
        found.training_set(machine)  # what is learnt from the start is kept
    return found
