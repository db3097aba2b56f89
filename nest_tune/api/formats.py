"""Number formats of a model's operators on this machine, found by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compiler_core.compile.sources import check_model
from compiler_core.configuration.configuration import (
    Configuration,
    Subject,
    configuration_text,
    read_configuration,
)
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.whole_file import write_atomically
from compiler_core.graph.ir import Graph
from compiler_core.precision.explained import explained
from compiler_core.precision.proposals import FLOAT
from compiler_core.precision.report import FormatsReport, formats_report, runtimes_report
from compiler_core.precision.runtimes import TimedRuntime
from compiler_core.quantize.precisions import precision_of
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.names import CPU
from nest_tune.api.values import Data, Model, PathName, Progress, calibration_of, loaded_model
from nest_tune.stores.measured_formats import (
    measured_formats,
    measured_runtime,
    measured_table,
    with_formats,
)
from nest_tune.stores.profile_store import stored_profile


@dataclass(frozen=True, eq=False)
class PlannedFormats:
    """Number formats of a model on this machine.

    Attributes:
        model, target: What they are for.
        configuration: What compiles to them.
        report: Plans by the clock, and every operator with its format and why.
    """

    model: Subject
    target: Subject
    configuration: Configuration
    report: FormatsReport

    def write(self, path: PathName) -> None:
        """Writes the configuration as a file that ``compile`` takes."""
        text = configuration_text(self.configuration).encode()
        write_atomically(Path(path), lambda stream: stream.write(text))


def best_formats(
    model: Model,
    calibration: Data,
    *,
    config: PathName | None = None,
    target: str | Target = "host",
    open_runtime: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = lambda _: None,
) -> PlannedFormats:
    """Finds the number format of every operator that this machine runs fastest.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        calibration: Samples of the inputs: what plans lose is measured on them.
        config: File whose table ``runtime`` says how the model runs; one thread without one.
        target: This machine, or boards by their addresses.
        open_runtime: Whether the clock decides how it runs, too: threads, whether they spin, how
            far the runtime rewrites the graph, and whose kernels; what the file says otherwise
            than the default stays.
        shapes: Of inputs with dynamic axes.
        progress: Told what is being done.

    Raises:
        InputError: A file or argument is wrong.
    """
    chip = _clocked(target)
    source = loaded_model(model, shapes, calibration)
    profile = stored_profile(source.graph, calibration_of(calibration, source.graph))
    given = Configuration() if config is None else read_configuration(Path(config))
    runtime = given.runtime
    timed: tuple[TimedRuntime, ...] = ()
    asked: dict[str, Any] = {"board": chip.board, "progress": progress}
    if open_runtime:
        opened = measured_runtime(source, profile, runtime, **asked)
        choice, runtime, timed = opened.formats, opened.runtime, opened.timed
    else:
        choice = measured_formats(source, profile, threads=runtime.threads, **asked)
    subjects = Subject(source.name, source.digest), Subject(chip.name, chip.digest)
    found = with_formats(Configuration(runtime=runtime), source, choice)
    configuration = replace(found, model=subjects[0], target=subjects[1])
    report = replace(formats_report(choice), runtimes=runtimes_report(timed))
    return PlannedFormats(*subjects, configuration, report)


@dataclass(frozen=True, eq=False)
class ShownFormats:
    """What the operators of a model take in their number formats, under one plan.

    Attributes:
        model, target: What they are of.
        report: Every operator with its format and why; no plan was run whole.
        expected_ms: Of the plan, by the costs of operators and pairs; ``None`` where they do not
            know all of it.
        float_ms: Of float32 throughout, likewise.
    """

    model: Subject
    target: Subject
    report: FormatsReport
    expected_ms: float | None
    float_ms: float | None


def shown_formats(
    model: Model,
    calibration: Data,
    *,
    config: PathName | None = None,
    target: str | Target = "host",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = lambda _: None,
) -> ShownFormats:
    """Tells what operators take in their number formats and what a configuration gives them; no
    plan is looked for. Times that are known are not measured again.

    Args:
        model, calibration, target, shapes, progress: As of :func:`best_formats`.
        config: File whose plan is shown; float32 throughout without one.

    Raises:
        InputError: A file or argument is wrong, or the plan is not of this model.
    """
    chip = _clocked(target)
    source = loaded_model(model, shapes, calibration)
    subjects = Subject(source.name, source.digest), Subject(chip.name, chip.digest)
    given = Configuration() if config is None else read_configuration(Path(config))
    check_model(source, given)
    places = _formats_of(given, source.graph)
    profile = stored_profile(source.graph, calibration_of(calibration, source.graph))
    table = measured_table(
        source, profile, threads=given.runtime.threads, board=chip.board, progress=progress
    )
    name = FLOAT if config is None else Path(config).name
    report = FormatsReport(name, (), explained(table, places))
    expected, floats = (table.total_us(own) for own in (places, {}))
    return ShownFormats(*subjects, report, _ms(expected), _ms(floats))


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1e3


def _formats_of(configuration: Configuration, graph: Graph) -> dict[str, str]:
    """Places of the operators that are not in float32.

    Raises:
        InputError: They are none of this model, or no formats of the CPU.
    """
    names = [node.name for node in graph.nodes]
    for name, place in configuration.plan.items():
        if name not in names:
            raise InputError(
                f"plan: units: the model has no node {name!r}", hint=did_you_mean(name, names)
            )
        if place != CPU and precision_of(place) is None:
            raise InputError(
                f"plan: {name!r} is at {place!r}, which is no number format of the CPU",
                hint="nest-tune plan best MODEL --target host --calibration F -o best.toml",
            )
    return {name: place for name, place in configuration.plan.items() if place != CPU}


def _clocked(target: str | Target) -> Target:
    chip = target if isinstance(target, Target) else load_target(target)
    if not chip.by_clock:
        raise InputError(
            f"target {chip.name!r} is neither this machine nor a board: the clock says nothing of "
            "it",
            hint="nest-tune plan best MODEL --target host --calibration F",
        )
    return chip
