"""Random networks full of fan-out, skip tensors, concatenations and depthwise layers as merged
programs: exact, ordered by proof (a compile verifies), not slower than apart, on several cores and
where buffers are small."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.partition.best import prepare, untuned
from compiler_core.partition.configured import with_plan
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.border_networks import BorderNetwork

SMALL = """schema = "nest-tune/target/1"
name = "small"
inherit = "{base}"

[npu.geometry]
origin = "assumed"
source = "a test"
buffer_depth = {{ uop = 512, inp = 256, wgt = 128, acc = 256 }}
"""
TARGETS = ["vta", "vta-x2", "small vta", "small vta-x4"]


class JoinedNetwork(BorderNetwork):
    """Also with depthwise convolutions and slices of channels."""

    def __init__(self, synthetic: ModuleType, seed: int) -> None:
        super().__init__(synthetic, seed)
        self._kinds = (self._conv, self._conv, self._depthwise, self._add, self._concat,
                       self._pool, self._slice, self._clamp, self._function)  # fmt: skip

    def _depthwise(self, source: str, name: str) -> None:
        channels = self.shapes[source][0]
        self._builder.conv(source, name, (channels, 1, 3, 3), group=channels)
        self.shapes[name] = self.shapes[source]

    def _slice(self, source: str, name: str) -> None:
        channels, height, width = self.shapes[source]
        kept = max(1, channels // 2)
        ends = [
            self._builder.constant(f"{name}_{what}", np.array([value], "i8"))
            for what, value in (("first", 0), ("end", kept), ("axis", 1))
        ]
        self._builder.add("Slice", [source, *ends], name)
        self.shapes[name] = (kept, height, width)


def check(synthetic: ModuleType, folder: Path, seed: int) -> None:
    kind, _, base = TARGETS[seed % len(TARGETS)].rpartition(" ")
    if kind:
        (folder / "small.toml").write_text(SMALL.format(base=base))
    machine = load_target(str(folder / "small.toml") if kind else base)
    network = JoinedNetwork(synthetic, seed)
    (folder / "model.onnx").write_bytes(network.grow(10))
    model = load_model(folder / "model.onnx")
    batch = model.graph.types["x"].shape[0]
    count = batch if isinstance(batch, int) else 2
    random = np.random.default_rng(seed)
    samples = {"x": random.normal(size=(2 * count, *network.shapes["x"])).astype("f4")}
    found = []
    for merge in (False, True):
        asked = with_plan(Configuration(launches=LaunchSettings(merge=merge)), model, machine)
        source = quantize_model(model, asked, samples, arithmetic=target_arithmetic(machine))
        made = compile_model(source, machine)
        assert run_checked(made.executable, Simulator(made.executable), samples)[1] is None
        found.append(made.metrics.latency_ms)
    assert found[1] <= found[0]


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_are_exact_when_merged(
    synthetic: ModuleType, tmp_path: Path, seed: int
) -> None:
    check(synthetic, tmp_path, seed)


@pytest.mark.parametrize("seed", [70021, 70099])
def test_defaults_on_units_of_several_precisions_are_not_slower_together(
    synthetic: ModuleType, tmp_path: Path, seed: int
) -> None:
    (tmp_path / "model.onnx").write_bytes(JoinedNetwork(synthetic, seed).grow(4 + seed % 25))
    graph, machine = load_model(tmp_path / "model.onnx").graph, load_target("vta-duo")
    apart, together = (
        evaluator.latency_ps(untuned(evaluator))
        for evaluator in (prepare(graph, machine, joins_layers=joins) for joins in (False, True))
    )
    assert together <= apart


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_more_random_networks(synthetic: ModuleType, tmp_path: Path, seed: int) -> None:
    check(synthetic, tmp_path, seed)
