"""Tuning tasks: those of a model, and the search for the best schedule of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import environ
from pathlib import Path
from typing import Any

from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import noise_samples, quantize_model
from compiler_core.compile.unit_layers import model_layers, model_tasks, named_layers
from compiler_core.configuration.configuration import Configuration, read_configuration
from compiler_core.errors import InputError
from compiler_core.partition.configured import plans_of_units, with_room
from compiler_core.quantize.profile import Profile
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.task_target import SourceTarget, TaskTarget, load_task_target
from compiler_core.targets.unit_tasks import UnitTask, choose_unit_schedules, find_unit, task_id
from compiler_core.tensor.task import Task
from compiler_core.units.facets.programs import UnitLayers
from compiler_core.units.registry import kind_of_machine
from nest_tune.api.source_tasks import tasks_of_sources
from nest_tune.api.values import Data, Model, PathName, calibration_of, loaded_model
from nest_tune.records.database import RecordDatabase
from nest_tune.samplers.registry import DEFAULT_SAMPLER, require_schedule_sampler
from nest_tune.stores.default_scheme import with_default_scheme
from nest_tune.stores.profile_store import stored_profile
from nest_tune.stores.task_store import find, remember
from nest_tune.study.request.settings import storage_url
from nest_tune.study.store.networks import networks_of
from nest_tune.study.store.storage import StudyStorage
from nest_tune.tuning.task_search import TaskResult, TaskSearch
from nest_tune.tuning.tune import MeasurementBudget
from nest_tune.tuning.tune import tune_task as search_task


@dataclass(frozen=True)
class ModelTask:
    """A distinct task of a model.

    Attributes:
        task: The workload and the kind of unit that runs it.
        shape: Of the workload in one line.
        count: How often the model runs it.
        bound_cycles: Lower bound of one run.
        default_cycles: Of the configuration's schedule, else of the untuned default.
        share_of_time: Of the time of all programs of the model on its unit.
        unit: Name of the unit that runs it; the first of several that are alike.
        id: Name of the task in configurations: its id, and the unit where ids say less.
        layers: Names of the layers that it stands for, in execution order.
    """

    task: Task
    shape: str
    count: int
    bound_cycles: int
    default_cycles: int
    share_of_time: float
    unit: str
    id: str
    layers: tuple[str, ...]


def tasks(
    model: Model,
    target: str | TaskTarget,
    *,
    config: PathName | Configuration | None = None,
    calibration: Data | None = None,
    precisions: Mapping[str, str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[ModelTask, ...]:
    """Lists the distinct tasks of a model; from then on their ids are known to :func:`tune_task`.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        config: Configuration; the untuned default without. Where the target has several units and
            nothing is planned, the tasks of each are those with everything on it that it can run.
        calibration: Samples of the inputs; without, ranges are those of seeded noise, so that a few
            tasks may differ from those of the compiled model.
        precisions: Of targets that take generated sources: ``int4`` or ``int16`` by node.
        shapes: Of inputs with dynamic axes.

    Raises:
        InputError: A file is wrong, or the cache folder cannot be written.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.tasks(
        ...     "examples/digits/model.onnx", "vta", calibration="examples/digits/calib.npz"
        ... )
        >>> round(sum(task.share_of_time for task in found), 6)
        1.0
    """
    chip = load_task_target(target)
    if isinstance(chip, SourceTarget):
        if config is not None:
            raise InputError(
                f"target {chip.name}: tasks of generated C follow from the model and precisions",
                hint="leave out --config; --precision NODE=int4 says what is not int8",
            )
        return _of_sources(chip, model, calibration, precisions, shapes)
    if precisions:
        raise InputError(
            f"target {chip.name}: precision by node is of generated C",
            hint="--config says number formats of other targets",
        )
    configuration = config if isinstance(config, Configuration) else Configuration()
    if config is not None and not isinstance(config, Configuration):
        configuration = read_configuration(Path(config))
    source = fitted(loaded_model(model, shapes, calibration), chip)
    configuration = with_room(configuration, source, chip)
    arithmetic = target_arithmetic(chip)
    if calibration is None:
        data: Mapping[str, Any] | Profile = noise_samples(source.graph)
    else:
        data = stored_profile(source.graph, calibration_of(calibration, source.graph))
        configuration = with_default_scheme(configuration, source, data, arithmetic=arithmetic)
    layers: list[UnitLayers] = []
    nodes: dict[str, list[str]] = {}
    for plan in plans_of_units(configuration, source, chip):
        asked = replace(configuration, plan=plan)
        quantized = quantize_model(source, asked, data, arithmetic=arithmetic)
        own = model_layers(quantized.quantized, chip)
        layers += own
        _add(nodes, ((name, layer.operator.name) for name, layer in named_layers(own, chip)))
    found = model_tasks(layers, chip)
    schedules = choose_unit_schedules(found, configuration.schedules)
    return _measured(found, schedules, nodes)


def _add(nodes: dict[str, list[str]], plan: Iterable[tuple[str, str]]) -> None:
    """Adds the layers of a plan to those of others, by task: one that several plans have on the
    same unit is run once."""
    before = {name: list(known) for name, known in nodes.items()}
    for name, layer in plan:
        if layer in before.get(name, ()):
            before[name].remove(layer)
        else:
            nodes.setdefault(name, []).append(layer)


def _of_sources(
    target: SourceTarget,
    model: Model,
    calibration: Data | None,
    precisions: Mapping[str, str] | None,
    shapes: Mapping[str, tuple[int, ...]] | None,
) -> tuple[ModelTask, ...]:
    """As :func:`tasks`, of a core that sources are generated for."""
    told = tasks_of_sources(
        model, target, calibration=calibration, precisions=precisions, shapes=shapes
    )
    found = {item.name: item for item, _ in told}
    nodes = {item.name: names for item, names in told}
    return _measured(found, choose_unit_schedules(found, {}), nodes)


def _measured(
    found: Mapping[str, UnitTask], schedules: Mapping[str, Any], nodes: Mapping[str, Sequence[str]]
) -> tuple[ModelTask, ...]:
    """What tasks cost with some schedules; from then on their ids are known.

    Args:
        found: Tasks by name.
        schedules: Likewise.
        nodes: Layers that each stands for.
    """
    counts = {name: len(nodes[name]) for name in found}
    remember(item.task for item in found.values())
    costs = {}
    for name, item in found.items():
        known, machine = kind_of_machine(item.unit.machine).tasks, item.unit.machine
        work = item.task.workload
        cycles = known.measure(work, schedules[name], machine).cycles
        costs[name] = cycles, known.bound(work, machine).cycles, counts[name] / machine.clock_hz
    total: dict[str, float] = {}
    for name, item in found.items():
        spent = costs[name][0] * costs[name][2]
        total[item.unit.name] = total.get(item.unit.name, 0.0) + spent
    return tuple(
        ModelTask(
            item.task,
            item.task.workload.shape,
            counts[name],
            costs[name][1],
            costs[name][0],
            costs[name][0] * costs[name][2] / (total[item.unit.name] or 1),
            item.unit.name,
            name,
            tuple(nodes[name]),
        )
        for name, item in found.items()
    )


def _networks(url: str) -> Mapping[str, Collection[str]]:
    """Keys of the tasks that studies in a storage have tuned, by network."""
    with closing(StudyStorage(url)) as studies:
        return networks_of(studies)


def tune_task(
    task: str | Task | ModelTask,
    target: str | TaskTarget,
    *,
    sampler: str = DEFAULT_SAMPLER,
    trials: int = 128,
    timeout_s: float | None = None,
    exhaustive: bool = False,
    anneal: int = 0,
    seed: int = 0,
    jobs: int = 1,
    storage: str | None = None,
    progress: Callable[[TaskSearch], None] | None = None,
) -> TaskResult:
    """Finds the best schedule of one task.

    Args:
        task: What to tune; an id that :func:`tasks` found, its beginning, or a ``.json`` file.
            Behind the id may stand ``@`` and a unit of the target; the first of the kind without.
        target: Name, path of a ``.toml`` file, or a loaded target.
        sampler: Name: ``xgb``, ``tpe``, ``nsga2``, ``random``, ``exhaustive`` or a plug-in's.
        trials: Schedules to look at, those that the records know included.
        timeout_s: Wall time; the search ends with the batch that passes it.
        exhaustive: Go on until the best is proven the optimum.
        anneal: Programs to time afterwards, where the task is a depthwise layer that stays on chip.
        seed: Of everything random.
        jobs: Worker processes.
        storage: Measurement database; ``NEST_TUNE_STORAGE`` or ``sqlite:///nest-tune.db`` without.
        progress: Called after every batch.

    Raises:
        InputError: The task, the target or the sampler is unknown.
        InfeasibleError: No schedule of the task fits the target.

    Example:
        >>> import nest_tune
        >>> first = nest_tune.tasks("examples/digits/model.onnx", "vta")[0]
        >>> result = nest_tune.tune_task(first, "vta", sampler="random", trials=16)
        >>> result.bound_cycles <= result.best_cycles <= result.default_cycles
        True
    """
    kind = require_schedule_sampler(sampler)
    chip = load_task_target(target)
    name = task if isinstance(task, str) else task.id
    if isinstance(task, str):
        chosen = find(task_id(task))
    else:
        chosen = task.task if isinstance(task, ModelTask) else task
    unit = find_unit(name, chosen, chip)
    url = storage_url(storage, environ)
    records = RecordDatabase(url)
    try:
        return search_task(
            chosen,
            unit.machine,
            sampler=sampler,
            budget=MeasurementBudget(trials, timeout_s),
            seed=seed,
            records=records,
            jobs=jobs,
            exhaustive=exhaustive or kind.exhausts,
            anneal=anneal,
            networks=_networks(url) if kind.learns else None,
            progress=progress,
        )
    finally:
        records.close()
