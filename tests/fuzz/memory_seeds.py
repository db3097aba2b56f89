"""Valid files of processing in memory: programs in both forms, a task, and a model that runs there,
with its data and its package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import launches
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.program_file import ProgramFile
from compiler_core.units.aim.program.text import format_text
from compiler_core.units.aim.schedule.schedule import ProductSchedule, Side
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector
from tests.compiler_core.units.aim.written_programs import write_program_file

_WORK = (
    (MatrixVector(20, 40), ProductSchedule(1, 2)),
    (MatrixVector(70, 600, bias=True), ProductSchedule(2, 3)),
    (
        MatrixVector(48, 90, 2, activations=(Activation.TANH,)),
        ProductSchedule(1, 1, activation=Side.UNIT),
    ),
)
PROGRAMS = len(_WORK)


def make_memory_seeds(folder: Path) -> None:
    """Writes all of them but the package."""
    machine, random = AimMachine(), np.random.default_rng(0)
    for number, (work, schedule) in enumerate(_WORK):
        layout = BankLayout(work, schedule)
        program = launches(layout, machine)[0].program
        text = "\n".join(["# a product", *format_text(program.records)]) + "\n"
        (folder / f"memory{number}.txt").write_text(text)
        matrix = random.integers(0, 1 << 15, (1, work.outputs, work.inputs)).astype(np.uint16)
        addresses, blocks = layout.weights(matrix)
        write_program_file(
            folder / f"memory{number}.npz",
            ProgramFile(program, bank_addresses=addresses, bank_blocks=blocks),
        )
    task = {
        "schema": "nest-tune/task/1",
        "unit": "aim",
        "workload": {"outputs": 300, "inputs": 700, "vectors": 2, "activations": ["tanh"]},
    }
    (folder / "memory-task.json").write_text(json.dumps(task))
    onnx.save(_cell(), folder / "cell.onnx")
    x = random.normal(size=(4, 1, 12)).astype(np.float32)
    np.savez(folder / "cell.npz", x=x, h0=np.zeros((2, 1, 16), np.float32))


def memory_commands() -> Iterator[tuple[str, ...]]:
    """What has to run on them before they are seeds."""
    yield ("compile", "cell.onnx", "--target", "aim-gddr6", "-o", "package-memory")
    for number in range(PROGRAMS):
        for ending in ("txt", "npz"):
            yield ("simulate", f"memory{number}.{ending}", "--target", "aim-gddr6")
    yield ("task", "tune", "memory-task.json", "--target", "aim-gddr6", "--trials", "2",
           "--sampler", "random", "--storage", "sqlite:///memory.db")  # fmt: skip


def _cell() -> onnx.ModelProto:
    random = np.random.default_rng(1)
    shapes = {"w": (1, 64, 12), "r": (1, 64, 16), "b": (1, 128), "v": (16, 9)}
    weights = [
        numpy_helper.from_array(random.normal(size=s, scale=0.2).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    names = ["x", "w", "r", "b", "", "h0"]
    nodes = [
        helper.make_node("LSTM", names, ["s", "h"], "cell", hidden_size=16),
        helper.make_node("MatMul", ["h", "v"], ["y"], "head"),
    ]
    given = {"x": [2, 1, 12], "h0": [1, 1, 16]}
    written = {"y": [1, 1, 9], "s": [2, 1, 1, 16]}
    inputs, outputs = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()]
        for values in (given, written)
    )
    graph = helper.make_graph(nodes, "cell", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
