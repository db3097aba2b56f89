"""Models are timed as they are handed out: rewritten by the runtime as far as it goes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import onnxruntime
import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.host_timing import time_on_host
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.runtime import Runtime
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import CPU

ALL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
EXTENDED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


@pytest.mark.parametrize("asked", [Runtime(), Runtime(optimization="extended")])
def test_levels_of_rewriting(
    asked: Runtime, synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("host")
    model = load_model(synthetic.write("residual", tmp_path))
    plan = dict.fromkeys((node.name for node in model.graph.nodes), CPU)
    source = quantize_model(
        model, Configuration(plan=plan, runtime=asked), None, arithmetic=target_arithmetic(target)
    )
    executable = compile_model(source, target).executable
    levels = []
    opened = onnxruntime.InferenceSession

    def opening(content: bytes, options: Any, **given: Any) -> Any:
        levels.append(options.graph_optimization_level)
        return opened(content, options, **given)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opening)
    time_on_host(source, executable, rounds=3, budget_s=0.0)
    assert levels[0] == (ALL if asked == Runtime() else EXTENDED)
    assert set(levels[1:]) <= {ALL}
