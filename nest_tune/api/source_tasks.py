"""Tasks of models on cores that sources are generated for: layers with more than one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler_core.compile.sources import noise_samples
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.targets.source_kinds import candidates_for, source_tasks_for
from compiler_core.targets.task_target import SourceTarget
from compiler_core.targets.unit_tasks import UnitTask, unit_task
from compiler_core.tensor.task import Task
from nest_tune.api.values import Data, Model, calibration_of, loaded_model
from nest_tune.bundling import model_for_sources
from nest_tune.stores.profile_store import stored_profile


def tasks_of_sources(
    model: Model,
    target: SourceTarget,
    *,
    calibration: Data | None = None,
    precisions: Mapping[str, str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[tuple[UnitTask, tuple[str, ...]], ...]:
    """The distinct tasks of a model, each with the names of the nodes that it stands for.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: The core.
        calibration: Samples of the inputs; seeded noise without.
        precisions: Precision by node, where it is not int8.
        shapes: Of inputs with dynamic axes.

    Raises:
        InputError: A file or argument is wrong, the model cannot be written as sources, or it has
            no layer of a name that ``precisions`` gives.
    """
    source = model_for_sources(loaded_model(model, shapes, calibration))
    graph = source.graph
    data: Any = noise_samples(graph) if calibration is None else calibration_of(calibration, graph)
    ranges = stored_profile(graph, data).ranges()
    chosen = dict(precisions or {})
    layers = {} if not chosen else _layers(graph, ranges, target)
    for node, said in chosen.items():
        known = layers.get(node)
        if known is None:
            raise InputError(
                f"precision of {node!r}: the model has no such layer",
                hint=did_you_mean(node, tuple(layers)),
            )
        if said not in known:
            raise InputError(f"precision of {node!r}: {said!r}; known are {', '.join(known)}")
    named: dict[str, tuple[UnitTask, list[str]]] = {}
    unit = target.units[0]
    for found in source_tasks_for(target.given).tasks(graph, ranges, chosen):
        item = unit_task(target, unit.name, Task(unit.kind, found.workload))
        named.setdefault(item.name, (item, []))[1].append(found.node)
    return tuple((item, tuple(nodes)) for item, nodes in named.values())


def _layers(graph: Any, ranges: Any, target: SourceTarget) -> dict[str, tuple[str, ...]]:
    found = candidates_for(target.given).precisions(graph, ranges)
    return {layer.node: layer.precisions for layer in found}
