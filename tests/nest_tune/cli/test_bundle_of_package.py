"""``nest-tune bundle PACKAGE``: C around an NPU, bit for bit as simulator and reference say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import nest_tune
from compiler_core.errors import InputError
from nest_tune.api.driving import bundle_package
from nest_tune.cli.app import _run
from tests.compiler_core.units.cpu.c.conftest import WARNINGS, compiler

SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
DIGITS = Path(__file__).parents[3] / "examples/digits"


def strict(folder: Path, *command: str) -> str:
    """Builds with all warnings as errors, and runs."""
    files = ["selftest.c", "npu_simulator.c", "model.c", "memory.c"]
    files += sorted(path.name for path in folder.glob("stage*.c"))
    made = subprocess.run(
        [compiler(command[0]), *command[1:], *WARNINGS, *files, "-o", "strict"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    board = [compiler(command[0]), *WARNINGS, "-c", "npu_registers.c", "-o", "board.o"]
    assert subprocess.run(board, cwd=folder).returncode == 0
    ended = subprocess.run([str(folder / "strict")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("target", ["vta", "vta-x2", "vta-int4"])
def test_digits(target: str, tmp_path: Path) -> None:
    data = DIGITS / "calib.npz"
    nest_tune.compile(DIGITS / "model.onnx", target, tmp_path / "p", calibration=data)
    made = bundle_package(tmp_path / "p", tmp_path / "b", inputs=data, samples=3, check=True)
    assert made.check is not None
    assert "3 of 3 samples equal" in made.check
    if target == "vta":
        for name in ("gcc", "clang"):
            assert "3 of 3" in strict(tmp_path / "b", name, *SANITIZERS)


def between(folder: Path) -> Path:
    """Convolutions with float between, two channels of which are left over in a vector."""
    random = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Softmax", ["q"], ["r"], axis=1),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["t", "b"], ["y"], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "between",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight("a", 18, 3, 3, 3), weight("b", 24, 18, 3, 3)],
    )
    file = folder / "between.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), file)
    return file


def test_float_segments_between_are_c_too(tmp_path: Path) -> None:
    data = {"x": np.random.default_rng(0).normal(0, 1, (8, 3, 9, 7)).astype(np.float32)}
    nest_tune.compile(between(tmp_path), "vta", tmp_path / "p", calibration=data)
    made = bundle_package(tmp_path / "p", tmp_path / "b", inputs=data, samples=4)
    assert len(made.report.stages) > 5
    assert "4 of 4" in strict(tmp_path / "b", "gcc", *SANITIZERS)


def test_what_the_package_has_decided_cannot_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DIGITS / "calib.npz"
    nest_tune.compile(DIGITS / "model.onnx", "vta", tmp_path / "p", calibration=data)
    words = ["bundle", str(tmp_path / "p"), "-o", str(tmp_path / "b")]
    assert _run([*words, "--target", "c99"], debug=False, as_json=False) == 2
    assert "--target:" in capsys.readouterr().err
    assert _run([*words, "--check"], debug=False, as_json=False) == 0
    assert "2 of 2 samples equal" in capsys.readouterr().out
    assert (tmp_path / "b" / "npu.h").read_text().count("(*") == 5


def test_packages_without_an_npu_are_refused(tmp_path: Path) -> None:
    data = DIGITS / "calib.npz"
    plan = tmp_path / "p"
    nest_tune.compile(DIGITS / "model.onnx", "aim-gddr6", plan, calibration=data)
    with pytest.raises(InputError, match=r"no driver|the CPU alone|its unit's own"):
        bundle_package(plan, tmp_path / "b")
