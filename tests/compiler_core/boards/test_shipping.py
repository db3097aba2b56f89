"""What is sent to boards stands alone: an older Python, NumPy and onnxruntime are all it needs."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from onnx import helper

from compiler_core.boards.shipping import COMMAND, program, request, sent, sized
from compiler_core.clock import serving, sessions
from compiler_core.clock.serving import MARK, SIZE_DIGITS, ShippedPart

NEEDED = {"numpy", "onnxruntime"}


def sources() -> dict[str, str]:
    first = ast.parse(program()).body[0]
    assert isinstance(first, ast.Assign)
    found: dict[str, str] = ast.literal_eval(first.value)
    return found


@pytest.mark.parametrize("name", sources())
def test_modules_are_of_an_older_python_and_import_what_is_there(name: str) -> None:
    shipped = list(sources())
    text = sources()[name]
    tree = ast.parse(text, feature_version=(3, 9))
    for node in ast.walk(tree):
        module = ""
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
        elif isinstance(node, ast.Import):
            module = node.names[0].name
        if not module:
            continue
        top = module.partition(".")[0]
        assert top in NEEDED or top in sys.stdlib_module_names or module in shipped, module
        if module in shipped:  # modules are made one after another
            assert shipped.index(module) < shipped.index(name)
    assert not re.search("strict=|kw_only=|slots=|zip\\(", text), "later than 3.9, or loses ends"


def test_the_command_reads_what_is_sent() -> None:
    """As a board would, in an interpreter that does not see this project."""
    asked = {"profiled": "", "threads": 1, "repeats": 0, "budget_s": 0.0, "timeout_s": 60.0}
    payload = request({}, {"x": np.ones(3)}, **asked)  # type: ignore[arg-type]
    code = COMMAND.format(python="python").partition(" -c ")[2].strip("'")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=sent(payload), capture_output=True, check=True
    )
    line = done.stdout.decode().splitlines()[-1]
    assert json.loads(line.removeprefix(MARK))["machine"]["threads"] == 1
    arrays = np.load(io.BytesIO(payload))
    assert json.loads(arrays["request"].tobytes())["inputs"] == {"x": "input/0"}
    assert len(sent(b"")) == len(program()) + 2 * SIZE_DIGITS


def test_the_command_holds_nothing_of_a_shell_but_its_quotes() -> None:
    assert COMMAND.count("'") == 2
    assert not set(COMMAND.partition(" -c ")[2]) & set("$`\\")


def test_the_profiled_candidate_has_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a board would answer; the other candidate is opened as usual."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", 1, [3])],
            [helper.make_tensor_value_info("y", 1, [3])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    ).SerializeToString()
    part = ShippedPart("p", ["x"], ["y"], model)
    opened: list[Any] = []
    usual = sessions.open_session

    def noted(model: bytes, options: Any, provider: str) -> Any:
        opened.append((options.graph_optimization_level.name, provider))
        return usual(model, options, provider)

    monkeypatch.setattr(serving, "open_session", noted)
    payload = request(
        {"ours": [part], "float": [part]},
        {"x": np.ones(3, np.float32)},
        profiled="ours",
        threads=1,
        repeats=2,
        budget_s=0.1,
        timeout_s=60.0,
        options={
            "threads": 1, "spinning": False, "optimization": "basic",
            "provider": "CPUExecutionProvider",
        },
    )  # fmt: skip
    monkeypatch.setattr(serving.signal, "alarm", lambda _: None)
    answer = json.loads(serving.serve(io.BytesIO(sized(payload) + payload)).removeprefix(MARK))
    assert sorted(answer["samples_us"]) == ["float", "ours"]
    assert opened == [("ORT_ENABLE_BASIC", "CPUExecutionProvider")]
    with pytest.raises(ValueError, match="is not in onnxruntime"):
        usual(model, sessions.session_options(1, spinning=True, optimization="all"), "NoProvider")
