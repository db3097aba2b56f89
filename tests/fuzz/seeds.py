"""Valid files of every kind that the tool reads, made by the tool from the bundled example."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.memory_seeds import make_memory_seeds, memory_commands
from tests.fuzz.seed_models import MODELS

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
VECTORS = ROOT / "tests" / "vectors" / "vta"

Command = Callable[[Sequence[str]], int]

_STUDY = """\
[study]
name = "fuzz"
seed = 0
trials = 2
timeout = "10m"
[model]
path = "model.onnx"
[target]
name = "vta"
[data]
calibration = "calib.npz"
evaluation = "eval.npz"
metric = "top1"
[objectives]
latency_ms = "minimize"
accuracy = "maximize"
[constraints]
accuracy_drop = "<= 0.5"
[spaces]
quantization = true
partition = true
tiling = false
[spaces.values]
"quantization.weight_rounding" = ["nearest"]
[sampler]
name = "random"
[run]
runner = "local"
jobs = 1
storage = "sqlite:///study.db"
trial_timeout = "60s"
"""
_TARGET = """\
schema = "nest-tune/target/1"
name = "mine"
inherit = "full.toml"
description = "half the memory latency"

[npu.timing]
origin = "measured"
source = "logic analyser on the port"
memory_latency_cycles = 28
outstanding_bursts = 8
"""
_SCHEME = """\
granularity = "channel"
bias_correction = true
split_inputs = true
"""


def make_seeds(folder: Path, command: Command) -> None:
    """Fills a folder; every later case copies what it needs from there.

    Args:
        folder: Empty.
        command: Runs the command line in the working folder, which is ``folder``.

    Raises:
        RuntimeError: A command on valid files failed.
    """
    shutil.copy(DIGITS / "model.onnx", folder)
    for name, count in (("calib", 16), ("eval", 16)):
        arrays = dict(np.load(DIGITS / f"{name}.npz"))
        arrays = {key: value[:count] for key, value in arrays.items()}
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    rows = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    images = np.load(DIGITS / "calib.npz")["x"][:3]
    np.savez(folder / "any.npz", x=rows, image=images)
    for name in ("pop_chain.npz", "neg_deadlock_pop.npz"):
        if (VECTORS / name).exists():
            shutil.copy(VECTORS / name, folder)
    smallest = sorted(VECTORS.glob("*.npz"), key=lambda path: path.stat().st_size)[:8]
    for index, path in enumerate(smallest):
        shutil.copy(path, folder / f"program{index}.npz")
    (folder / "small.onnx").write_bytes(_small().SerializeToString())
    (folder / "study.toml").write_text(_STUDY)
    description = ROOT / "compiler_core" / "targets" / "descriptions" / "vta.toml"
    (folder / "full.toml").write_text(description.read_text())
    (folder / "short.toml").write_text(_TARGET)
    for name, make in MODELS.items():
        model, arrays = make()
        onnx.save(model, folder / f"{name}.onnx")
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    (folder / "scheme.toml").write_text(_SCHEME)
    make_memory_seeds(folder)
    for arguments in (*_COMMANDS, *_compiled(), *memory_commands()):
        if command(arguments) != 0:
            raise RuntimeError(f"nest-tune {' '.join(arguments)} fails on valid files")
    tasks = sorted((folder / "cache" / "tasks").glob("*.json"))
    shutil.copy(tasks[0], folder / "task.json")
    for arguments in _WITH_TASK:
        if command(arguments) != 0:
            raise RuntimeError(f"nest-tune {' '.join(arguments)} fails on valid files")
    for name in ("records", "study"):  # one file, without a log beside it
        with closing(sqlite3.connect(folder / f"{name}.db")) as database:
            (folder / f"{name}.one.db").unlink(missing_ok=True)
            database.execute("VACUUM INTO ?", (str(folder / f"{name}.one.db"),))


def _compiled() -> Iterator[tuple[str, ...]]:
    """Every other model as a package."""
    for name in MODELS:
        yield ("compile", f"{name}.onnx", "--target", "vta", "--calibration", f"{name}.npz",
               "-o", f"package-{name}")  # fmt: skip


_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("compile", "model.onnx", "--target", "vta", "--calibration", "calib.npz", "-o", "package"),
    ("plan", "best", "model.onnx", "--target", "vta", "-o", "plan.toml"),
    ("quantize", "profile", "model.onnx", "--calibration", "calib.npz", "-o", "profile"),
    ("profile-cpu", "model.onnx", "--repeats", "5", "--budget", "0", "-o", "cpu.csv"),
    ("study", "start", "study.toml"),
    ("study", "export", "fuzz", "--storage", "sqlite:///study.db", "-o", "lock.toml"),
    ("study", "start", "study.toml", "--storage", "journal:///study.log"),
    ("task", "list", "model.onnx", "--target", "vta"),
    ("run", "package", "--inputs", "calib.npz", "--outputs", "y.npz", "--check"),
    ("evaluate", "package", "--data", "eval.npz", "--against", "model.onnx"),
    ("profile", "package"),
    ("simulate", "program0.npz", "--target", "vta"),
    ("target", "check", "short.toml"),
)

_WITH_TASK: tuple[tuple[str, ...], ...] = (
    ("task", "tune", "task.json", "--target", "vta", "--trials", "24", "--sampler", "random",
     "--storage", "sqlite:///records.db", "-o", "schedule.toml"),
    ("task", "tune", "task.json", "--target", "vta", "--trials", "24", "--sampler", "random",
     "--storage", "journal:///records.log"),
    ("task", "measure", "task.json", "--target", "vta", "--schedule", "schedule.toml"),
    ("record", "export", "--storage", "sqlite:///records.db", "-o", "records.jsonl"),
    ("cost-model", "show", "--storage", "sqlite:///records.db", "--save", "cost.json"),
)  # fmt: skip


def _small() -> onnx.ModelProto:
    """Operators of many kinds on one small input, some of them over constants."""
    weights = [
        numpy_helper.from_array(np.ones((16, 1, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones((16, 16), np.float32), "m"),
        numpy_helper.from_array(np.array([1, 1, 4, 4], np.int64), "four"),
        numpy_helper.from_array(np.array([1, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array(16, np.int64), "sixteen"),
        numpy_helper.from_array(np.array(1, np.int64), "one"),
        numpy_helper.from_array(np.array([True]), "true"),
    ]

    def branch(name: str, op: str) -> onnx.GraphProto:
        node = helper.make_node(op, ["s"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, 1, None)])

    nodes = [
        helper.make_node("Reshape", ["x", "four"], ["r"]),
        helper.make_node("Pad", ["r", "pads"], ["p"], mode="constant"),
        helper.make_node("Conv", ["p", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["q", "", "scales"], ["u"], mode="nearest"),
        helper.make_node("GlobalAveragePool", ["u"], ["g"]),
        helper.make_node("Reshape", ["g", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["d"]),
        helper.make_node("Range", ["zero", "sixteen", "one"], ["n"]),
        helper.make_node("Cast", ["n"], ["nf"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["d", "nf"], ["s"]),
        helper.make_node(
            "If", ["true"], ["o"], then_branch=branch("b", "Relu"), else_branch=branch("e", "Neg")
        ),
        helper.make_node("Softmax", ["o"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
