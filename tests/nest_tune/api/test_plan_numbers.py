"""Plans of a model with its calibration data are timed with its own numbers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import nest_tune


def scaled(synthetic: ModuleType, seed: int) -> bytes:
    """Residuals of scales that are far apart, and layers whose numbers are no stand-in's."""
    b = synthetic.Builder(seed)
    b.conv("x", "a", (16, 16, 3, 3))
    b.add("Tanh", ["a"], "t")
    by = b.constant("by", synthetic.np.full((16, 16, 1, 1), 9.0, synthetic.np.float32))
    b.add("Conv", ["t", by], "c", kernel_shape=[1, 1])
    b.add("Sigmoid", ["c"], "s")
    b.add("Add", ["s", "c"], "d")
    b.conv("d", "y", (20, 16, 1, 1))
    content: bytes = b.model({"x": ["n", 16, 6, 6]}, {"y": ["n", 20, 6, 6]})
    return content


def widened(synthetic: ModuleType, seed: int) -> bytes:
    """Phases that lie side by side, and channels that are added to every pixel."""
    b = synthetic.Builder(seed)
    b.conv("x", "a", (16, 16, 3, 3))
    b.conv("a", "c", (64, 16, 1, 1))
    b.add("DepthToSpace", ["c"], "d", blocksize=2)
    b.add("GlobalAveragePool", ["a"], "g")
    b.conv("g", "e", (16, 16, 1, 1))
    b.add("Add", ["d", "e"], "f")
    b.conv("f", "y", (20, 16, 1, 1))
    content: bytes = b.model({"x": ["n", 16, 6, 6]}, {"y": ["n", 20, 12, 12]})
    return content


@pytest.mark.parametrize("name", ["residual", "mixed", "scaled", "widened"])
def test_a_plan_with_samples_takes_what_its_package_takes(
    name: str, synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in ("scaled", "widened"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes((scaled if name == "scaled" else widened)(synthetic, 3))
        noise = synthetic.np.random.default_rng(4).standard_normal((16, 16, 6, 6))
        samples = {"x": noise.astype(synthetic.np.float32)}
    else:
        path = Path(synthetic.write(name, tmp_path))
        samples = synthetic.samples(name, 16)
    shown = nest_tune.show_plan(path, "vta", calibration=samples)
    built = nest_tune.compile(path, "vta", tmp_path / "package", calibration=samples)
    assert shown.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8)
    if name == "scaled":  # a stand-in cannot know the shift of the residual
        rough = nest_tune.show_plan(path, "vta")
        assert rough.evaluation.npu_cycles != shown.evaluation.npu_cycles
