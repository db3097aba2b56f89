"""Number formats of a model's operators on this machine, found by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from compiler_core.configuration.configuration import Configuration, Subject, configuration_text
from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from compiler_core.precision.report import FormatsReport, formats_report
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from nest_tune.api.values import Data, Model, PathName, Progress, loaded_model, samples_of
from nest_tune.stores.measured_formats import measured_formats, with_formats
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
    target: str | Target = "host",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = lambda _: None,
) -> PlannedFormats:
    """Finds the number format of every operator that this machine runs fastest.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        calibration: Samples of the inputs: what plans lose is measured on them.
        target: This machine, or boards by their addresses.
        shapes: Of inputs with dynamic axes.
        progress: Told what is being done.

    Raises:
        InputError: A file or argument is wrong.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    if not chip.by_clock:
        raise InputError(
            f"target {chip.name!r} is neither this machine nor a board: the clock says nothing of "
            "it",
            hint="nest-tune plan best MODEL --target host --calibration F",
        )
    source = loaded_model(model, shapes, calibration)
    profile = stored_profile(source.graph, samples_of(calibration, source.graph))
    choice = measured_formats(source, profile, board=chip.board, progress=progress)
    subjects = Subject(source.name, source.digest), Subject(chip.name, chip.digest)
    found = with_formats(Configuration(), source, choice)
    configuration = replace(found, model=subjects[0], target=subjects[1])
    return PlannedFormats(*subjects, configuration, formats_report(choice))
