"""Models from file to checked package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import CpuSegment
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.quantize.ir import FloatSegment
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target

Arrays = Mapping[str, npt.NDArray[Any]]
CheckedCompile = Callable[[Path, Arrays, Arrays], CompiledModel]


@pytest.fixture
def compiled_outputs() -> dict[str, npt.NDArray[Any]]:
    """What the last :func:`checked_compile` of a test computed."""
    return {}


@pytest.fixture
def checked_compile(
    tmp_path: Path, compiled_outputs: dict[str, npt.NDArray[Any]]
) -> CheckedCompile:
    """Compiles, writes, reads and runs a model; every bit equals the reference executor's.

    Arguments: the ONNX file, calibration samples, samples to run.
    """

    def compile_(path: Path, calibration: Arrays, inputs: Arrays) -> CompiledModel:
        model = load_model(path)
        (name,) = model.graph.inputs
        source = quantize_model(model, Configuration(), {name: calibration["x"]})
        compiled = compile_model(source, load_target("vta"))
        write_package(compiled, tmp_path / "package", {})
        executable = read_package(tmp_path / "package").executable
        feeds = {name: inputs["x"]}
        results, difference = run_checked(executable, Simulator(executable, threads=2), feeds)
        assert difference is None, str(difference)
        expected = ReferenceExecutor(source.quantized).run(feeds)
        for output, array in expected.items():
            assert array.tobytes() == results[output].tobytes()
        compiled_outputs.update(results)
        return compiled

    return compile_


@pytest.fixture
def qdq_steps(tmp_path: Path) -> Callable[[CompiledModel, Arrays], dict[str, float]]:
    """How far ``model.qdq.onnx`` of the last package is from the reference, output by output.

    In steps of the int8 output where it has one, else in the output's own unit. The first sample
    of the inputs is run, in stock onnxruntime.
    """

    def measure(compiled: CompiledModel, inputs: Arrays) -> dict[str, float]:
        quantized = compiled.source.quantized
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = tmp_path / "package" / "model.qdq.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (name,) = quantized.source.inputs
        feeds = {name: inputs["x"][:1]}
        results = dict(zip(quantized.source.outputs, session.run(None, feeds), strict=True))
        steps = {}
        for output, expected in ReferenceExecutor(quantized).run(feeds).items():
            known = quantized.tensors.get(output)
            step = 1.0 if known is None else 2.0**-known.exponent
            assert results[output].shape == expected.shape
            steps[output] = float(np.abs(results[output] - expected).max()) / step
        return steps

    return measure


def left_on_the_cpu(compiled: CompiledModel) -> list[str]:
    """Convolutions and layers with constant weights in CPU segments, by name."""
    found = []
    for segment in compiled.source.quantized.segments:
        if isinstance(segment, FloatSegment):
            for node in segment.graph.nodes:
                weighted = node.op in ("Conv", "Gemm", "Dense", "MatMul")
                if weighted and node.inputs[1] in segment.graph.constants:
                    found.append(node.name)
    return found


@pytest.fixture
def weighted_on_cpu() -> Callable[[CompiledModel], list[str]]:
    """:func:`left_on_the_cpu`."""
    return left_on_the_cpu


@pytest.fixture
def cpu_segments() -> Callable[[CompiledModel], int]:
    """Counts the CPU segments of a compiled model."""
    return lambda compiled: sum(
        isinstance(segment, CpuSegment) for segment in compiled.executable.segments
    )
