"""Search spaces: what can be decided, and how much of it is legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import noise_samples, quantize_model
from compiler_core.compile.unit_layers import model_layers, model_tasks
from compiler_core.configuration.configuration import Configuration
from compiler_core.partition.configured import plans_of_units, with_room
from compiler_core.quantize.profile import Profile
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_npu_target
from compiler_core.targets.target import Target
from compiler_core.targets.task_target import TaskTarget, load_task_target
from compiler_core.targets.this_machine import require_npu
from compiler_core.targets.unit_tasks import find_unit, task_id
from compiler_core.tensor.task import Task
from compiler_core.units.facets.programs import UnitLayers
from nest_tune.api.asked import SpaceSettings
from nest_tune.api.settings import takes_settings
from nest_tune.api.values import Model, calibration_of, loaded_model
from nest_tune.setting import settled
from nest_tune.stores.default_scheme import with_default_scheme
from nest_tune.stores.profile_store import stored_profile
from nest_tune.stores.task_store import find
from nest_tune.study.proposals.outer_space import FIRST_SCHEME, make_space
from search_spaces.joint import JointSpace
from search_spaces.task_space import TaskSpace
from search_spaces.task_space import task_space as space_of


@dataclass(frozen=True, eq=False)
class ModelSpace:
    """What a study of a model can decide.

    Attributes:
        target: Name.
        joint: Schemes and plans.
        tasks: The tuning tasks of the untuned default, by their names in configurations.
        task_sizes: Points of each task's space before rules, likewise.
    """

    target: str
    joint: JointSpace
    tasks: Mapping[str, Task]
    task_sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        """Points of all spaces together."""
        whole = self.joint.product_size
        for size in self.task_sizes.values():
            whole *= size
        return whole


@dataclass(frozen=True, eq=False)
class TaskSpaceOf:
    """What can be decided for one task.

    Attributes:
        task: Which.
        space: Its schedules.
    """

    task: Task
    space: TaskSpace


@takes_settings(SpaceSettings)
def space(
    model: Model,
    target: str | Target,
    **asked: Unpack[SpaceSettings],
) -> ModelSpace:
    """The spaces of a model.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        asked: What is known beside them:

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.space("examples/digits/model.onnx", "vta")
        >>> found.size > found.joint.product_size > 1
        True
    """
    said = settled(SpaceSettings, asked)
    calibration, plan = said["calibration"], said["plan"]
    chip = require_npu(target) if isinstance(target, Target) else load_npu_target(target)
    source = fitted(loaded_model(model, said["shapes"], calibration), chip)
    known = target_arithmetic(chip)
    given, default = with_room(Configuration(), source, chip), FIRST_SCHEME
    if calibration is None:
        data: Mapping[str, Any] | Profile = noise_samples(source.graph)
    else:
        data = stored_profile(source.graph, calibration_of(calibration, source.graph))
        given = with_default_scheme(given, source, data, arithmetic=known)
        default = given.scheme.quantization()
    layers: list[UnitLayers] = []
    for units in plans_of_units(given, source, chip):
        quantized = quantize_model(source, replace(given, plan=units), data, arithmetic=known)
        layers += model_layers(quantized.quantized, chip)
    tasks = model_tasks(layers, chip)
    joint = make_space(
        source.graph, chip, plan=None if plan is None else Path(plan), default=default
    )
    sizes = {
        name: space_of(item.task.workload, item.unit.machine).product_size
        for name, item in tasks.items()
    }
    return ModelSpace(chip.name, joint, {n: item.task for n, item in tasks.items()}, sizes)


def task_space(
    task: str | Task, target: str | TaskTarget, *, among: Mapping[str, Task] | None = None
) -> TaskSpaceOf:
    """The space of one task.

    Args:
        task: Itself, or its id, or the beginning of that.
        target: As for :func:`space`.
        among: Tasks to look through first, by id; then those that were ever listed.

    Raises:
        InputError: There is no such task.

    Example:
        >>> import nest_tune
        >>> first = nest_tune.tasks("examples/digits/model.onnx", "vta")[0]
        >>> found = nest_tune.task_space(first.id, "vta").space
        >>> found.size < found.product_size
        True
    """
    chip = load_task_target(target)
    name = task if isinstance(task, str) else task.id
    if isinstance(task, str):
        matching = [known for known in among or {} if known.startswith(task)]
        name = matching[0] if len(matching) == 1 else task
        task = (among or {})[name] if len(matching) == 1 else find(task_id(task))
    return TaskSpaceOf(task, space_of(task.workload, find_unit(name, task, chip).machine))
