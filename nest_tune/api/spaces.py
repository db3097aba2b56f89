"""Search spaces: what can be decided, and how much of it is legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler_core.compile.compile import model_layers, model_tasks
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.partition.configured import with_room
from compiler_core.quantize.arithmetic import arithmetic_of
from compiler_core.targets.load import load_npu_target
from compiler_core.targets.target import Target
from compiler_core.targets.this_machine import require_npu
from compiler_core.tensor.task import Task
from nest_tune.api.values import Arrays, PathName, samples_of
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
        tasks: The tuning tasks of the untuned default, by id.
        task_sizes: Points of each task's space before rules, by id.
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


def space(
    model: PathName,
    target: str | Target,
    *,
    calibration: PathName | Arrays | None = None,
    plan: PathName | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> ModelSpace:
    """The spaces of a model.

    Args:
        model: ONNX file.
        target: Name, path of a ``.toml`` file, or a loaded target.
        calibration: Samples of the inputs; seeded noise stands in without.
        plan: File of a plan that fixes the partition.
        shapes: Of inputs with dynamic axes.

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.space("examples/digits/model.onnx", "vta")
        >>> found.size > found.joint.product_size > 1
        True
    """
    chip = require_npu(target) if isinstance(target, Target) else load_npu_target(target)
    source = load_model(Path(model), shapes)
    known = arithmetic_of(chip.npu)
    asked, default = with_room(Configuration(), source, chip), FIRST_SCHEME
    if calibration is None:
        quantized = quantize_model(source, asked, noise_samples(source.graph), arithmetic=known)
    else:
        profile = stored_profile(source.graph, samples_of(calibration, source.graph))
        asked = with_default_scheme(asked, source, profile, arithmetic=known)
        default = asked.scheme.quantization()
        quantized = quantize_model(source, asked, profile, arithmetic=known)
    tasks = model_tasks(model_layers(quantized.quantized, chip.npu))
    joint = make_space(
        source.graph, chip, plan=None if plan is None else Path(plan), default=default
    )
    sizes = {name: space_of(task.workload, chip.npu).product_size for name, task in tasks.items()}
    return ModelSpace(chip.name, joint, tasks, sizes)


def task_space(
    task: str | Task, target: str | Target, *, among: Mapping[str, Task] | None = None
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
    chip = require_npu(target) if isinstance(target, Target) else load_npu_target(target)
    if isinstance(task, str):
        matching = [found for name, found in (among or {}).items() if name.startswith(task)]
        task = matching[0] if len(matching) == 1 else find(task)
    return TaskSpaceOf(task, space_of(task.workload, chip.npu))
