"""Sources around an NPU, of a package: what ``nest-tune bundle PACKAGE`` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.executable import CpuSegment, Executable, Segment
from compiler_core.graph.sampling import model_batch
from compiler_core.package.reader import Package
from compiler_core.units.facets.bundles import DrivenReport, driven_bundles
from compiler_core.units.facets.driving import DrivenModel, DrivenStep, driving_of
from nest_tune.api.compiling import Compilation
from nest_tune.api.packages import load_package
from nest_tune.api.values import Arrays, Data, PathName, samples_of
from nest_tune.bundling import self_test_samples


@dataclass(frozen=True)
class PackageBundle:
    """A bundle of a package.

    Attributes:
        folder: Of the sources.
        report: Sizes.
        check: What the self test says; ``None`` where it was not run.
    """

    folder: Path
    report: DrivenReport
    check: str | None


def bundle_package(
    package: PathName | Package | Compilation,
    output: PathName,
    *,
    inputs: Data | None = None,
    name: str | None = None,
    samples: int = 2,
    check: bool = False,
) -> PackageBundle:
    """Writes C sources that run a package with an NPU: constants, programs, the CPU's segments, and
    a driver interface of five functions with an implementation that simulates the NPU.

    Args:
        package: Folder, or what :func:`compile` returned.
        output: Folder of the sources.
        inputs: Samples for the self test; random ones without them.
        name: Of the generated functions.
        samples: Of the self test.
        check: Build the self test for this machine and run it.

    Raises:
        InputError: The package cannot be written as C.
        CheckError: A bit of the self test differs.
    """
    read = load_package(package)
    executable = read.executable
    model = driven_model(executable)
    graph = executable.signature
    data = None if inputs is None else samples_of(inputs, graph)
    backend = Simulator(executable)
    segments = {part.name: part for part in executable.npu_segments}

    def compute(part: str, entering: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        return dict(backend.run(segments[part], dict(entering)))

    writer, folder = driven_bundles(), Path(output)
    chosen = self_test_samples(graph, data, samples)
    report = writer.drive(model, name or graph.name, folder, chosen, compute)
    return PackageBundle(folder, report, writer.check_driven(folder) if check else None)


def driven_model(executable: Executable) -> DrivenModel:
    """A compiled model as generated sources see it.

    Raises:
        InputError: It has units whose programs nothing here starts, several memories, or a batch.
    """
    signature = executable.signature
    if model_batch(signature) != 1:
        raise InputError(
            f"the package computes {model_batch(signature)} samples at once; sources are written "
            "for one",
            hint="compile the model with a batch of 1",
        )
    units = {name: executable.target.unit(name) for name in executable.placed.values()}
    if len(units) != 1:
        raise InputError(
            f"the package runs on {', '.join(units) or 'the CPU alone'}; sources are written "
            "around one unit",
        )
    (unit,) = units.values()
    driving = driving_of(unit.machine.kind)
    if driving is None:
        raise InputError(f"unit {unit.name!r}: there is no driver for units of its kind in C")

    def step(segment: Segment) -> DrivenStep:
        if isinstance(segment, CpuSegment):
            return DrivenStep(segment.name, segment.inputs, segment.outputs, segment.model)
        if not executable.is_integer(segment):
            raise InputError(f"segment {segment.name!r} computes in numbers of its unit's own")
        found = driving.segment(segment, unit.machine)
        return DrivenStep(segment.name, segment.inputs, segment.outputs, b"", found)

    return DrivenModel(
        signature.name,
        signature,
        executable.tensors,
        executable.views,
        tuple(map(step, executable.segments)),
        executable.memory_bytes[unit.name],
        driving.instruction_bytes(unit.machine),
        driving.files(unit.machine),
    )
