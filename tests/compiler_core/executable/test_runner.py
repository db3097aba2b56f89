"""Compiled programs against the reference executor of the quantized graph, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import InputError
from compiler_core.executable.backends import Reference, Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import CpuSegment, Executable
from compiler_core.executable.runner import PackageRunner
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant

Compile = Callable[[str], CompiledModel]

NAMES = (
    "residual",
    "concat",
    "mixed",
    "depthwise",
    "batch_of_two",
    "float_only",
    "two_inputs",
    "moved",
)


@pytest.mark.parametrize("name", NAMES)
def test_programs_give_the_bits_of_the_reference(
    compiled_model: Compile, synthetic: ModuleType, name: str
) -> None:
    compiled = compiled_model(name)
    inputs = synthetic.samples(name, 18)
    expected = ReferenceExecutor(compiled.source.quantized).run_integer(inputs)
    simulator = Simulator(compiled.executable)
    results, difference = run_checked(compiled.executable, simulator, inputs)
    assert difference is None
    for output, array in expected.outputs.items():
        assert array.tobytes() == results[output].tobytes()
    first = results[compiled.executable.signature.outputs[0]]
    assert len(np.unique(first)) > 4  # outputs vary with the input, so equal bits mean something
    reference = PackageRunner(compiled.executable, Reference(compiled.executable)).run(inputs)
    for output, array in results.items():
        assert array.tobytes() == reference[output].tobytes()


@pytest.mark.parametrize("name", ["residual", "mixed", "batch_of_two"])
def test_any_number_of_samples_gives_the_bits_of_one_at_a_time(
    compiled_model: Compile, synthetic: ModuleType, name: str
) -> None:
    compiled = compiled_model(name)
    inputs = synthetic.samples(name, 34)
    step = 2 if name == "batch_of_two" else 1
    whole = PackageRunner(compiled.executable, Simulator(compiled.executable, threads=2)).run(
        inputs
    )
    single = PackageRunner(compiled.executable, Simulator(compiled.executable))
    for start in range(0, 34, step):
        part = {key: array[start : start + step] for key, array in inputs.items()}
        for output, array in single.run(part).items():
            assert array.tobytes() == whole[output][start : start + step].tobytes()


def test_stems_are_folded_where_the_schedule_says_so(compiled_model: Compile) -> None:
    """Guards that the bit-exact runs above cover folded inputs."""
    compiled = compiled_model("residual")
    folds = {
        schedule.fold
        for schedule in compiled.configuration.schedules.values()
        if isinstance(schedule, ConvSchedule)
    }
    assert folds - {FoldVariant.NONE}


def test_concatenations_are_slices_and_run_no_program(compiled_model: Compile) -> None:
    compiled = compiled_model("concat")
    (segment,) = compiled.executable.npu_segments
    operators = {layer.operator for layer in compiled.report.layers if layer.unit == "vta"}
    assert operators <= {"conv2d", "copy"}
    whole = segment.layout["outer"]
    inner = segment.layout["inner"]
    assert whole.address <= inner.address < whole.address + whole.size_bytes


def corrupted(executable: Executable) -> Executable:
    """The same programs with other weights in DRAM."""
    segments = []
    for segment in executable.segments:
        if isinstance(segment, NpuSegment):
            image = segment.image.copy()
            image[image > 0] ^= 0x15
            segments.append(replace(segment, image=image))
        else:
            segments.append(segment)
    return replace(executable, segments=tuple(segments))


def test_a_difference_is_found_and_named(compiled_model: Compile, synthetic: ModuleType) -> None:
    executable = compiled_model("two_inputs").executable
    broken = corrupted(executable)
    # Micro-ops lie in the image too, and a program that leaves the machine is another error.
    (segment,) = executable.npu_segments
    (wrong,) = broken.npu_segments
    weights = wrong.image.copy()
    for launch_segment in (segment,):
        same = launch_segment.image.view(np.uint32)
        weights.view(np.uint32)[same < 1 << 16] = same[same < 1 << 16]
    broken = replace(broken, segments=(replace(wrong, image=weights), *executable.segments[1:]))
    inputs = synthetic.samples("two_inputs", 3)
    _, difference = run_checked(broken, Simulator(broken), inputs)
    assert difference is not None
    assert difference.kind == "integer"
    assert difference.tensor in segment.outputs
    assert difference.count > 0
    assert difference.compiled != difference.reference
    assert difference.tensor in str(difference)


def test_wrong_inputs_are_named(compiled_model: Compile, synthetic: ModuleType) -> None:
    executable = compiled_model("residual").executable
    runner = PackageRunner(executable, Simulator(executable))
    good = synthetic.samples("residual", 2)["x"]
    for inputs, words in (
        ({"x": good[:, :2]}, r"input 'x' has shape \(2, 2, 12, 10\)"),
        ({"x": good.astype("f8")}, "input 'x' is float64; expected float32"),
        ({"z": good}, "inputs given: z; the model has x"),
        ({}, "inputs given: none"),
        ({"x": good[:0]}, "hold 0 samples"),
        ({"x": np.full_like(good, np.nan)}, "'x' holds NaN"),
    ):
        with pytest.raises(InputError, match=words):
            runner.run(inputs)


def test_infinities_saturate(compiled_model: Compile, synthetic: ModuleType) -> None:
    compiled = compiled_model("residual")
    inputs = synthetic.samples("residual", 2)
    inputs["x"][0, 0, 0] = np.inf
    inputs["x"][1, 1, 1] = -np.inf
    expected = ReferenceExecutor(compiled.source.quantized).run(inputs)
    results = PackageRunner(compiled.executable, Simulator(compiled.executable)).run(inputs)
    assert results["y"].tobytes() == expected["y"].tobytes()


def test_segments_come_as_the_quantizer_cut_them(compiled_model: Compile) -> None:
    kinds = ["cpu" if isinstance(s, CpuSegment) else "vta" for s in segments_of(compiled_model)]
    assert kinds == ["vta", "cpu", "vta", "cpu", "vta", "cpu"]


def segments_of(compiled_model: Compile) -> tuple[object, ...]:
    return compiled_model("mixed").executable.segments
