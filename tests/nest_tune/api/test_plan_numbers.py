"""Plans of a model with its calibration data are timed with its own numbers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import ModuleType

import pytest

import nest_tune
from compiler_core.compile.sources import load_model, noise_samples
from compiler_core.configuration.configuration import configuration_text
from compiler_core.partition.best import prepare
from compiler_core.partition.legal import misfits
from compiler_core.partition.plan import Plan, plan_text
from compiler_core.partition.resolve import plan_of
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.test_linked_plans import DepthwiseNetwork


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


@pytest.mark.parametrize(
    "decisions",
    [
        'granularity = "channel"\nsplit_inputs = "true"',  # operators that the CPU has beside
        'granularity = "channel"\nequalization = "true"',
    ],
)
@pytest.mark.parametrize("target", ["vta", "vta-int4"])
def test_what_a_scheme_adds_on_the_cpu_counts(
    decisions: str, target: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    b = synthetic.Builder(3)
    b.conv("x", "a", (16, 3, 3, 3))
    b.add("Sin", ["a"], "s")
    b.conv("s", "y", (20, 16, 1, 1))
    path, config = tmp_path / "m.onnx", tmp_path / "c.toml"
    path.write_bytes(b.model({"x": ["n", 3, 6, 6]}, {"y": ["n", 20, 6, 6]}))
    config.write_text(f'schema = "nest-tune/config/1"\n[scheme.decisions]\n{decisions}\n')
    noise = synthetic.np.random.default_rng(4).standard_normal((16, 3, 6, 6))
    samples = {"x": noise.astype(synthetic.np.float32)}
    shown = nest_tune.show_plan(path, target, calibration=samples, config=config)
    built = nest_tune.compile(path, target, tmp_path / "p", calibration=samples, config=config)
    assert shown.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8)
    assert shown.evaluation.energy_mj == pytest.approx(built.metrics.energy_mj, rel=1e-9)


def drawn_plan(model: Path, target: str, draw: Random, *, is_partial: bool) -> Path | None:
    """A random plan that a compile can lay out, of all groups or of some."""
    graph, chip = load_model(model).graph, load_target(target)
    rough = prepare(graph, chip, packaged=True)
    placement = tuple(map(draw.choice, rough.choices))
    if misfits(rough, placement):
        return None
    named = plan_of(placement, rough.groups, chip.places).units
    units = {n: unit for n, unit in named.items() if not is_partial or draw.random() < 0.6}
    path = model.with_suffix(".plan.toml")
    path.write_text(plan_text(Plan(units)))
    return path


@pytest.mark.parametrize(
    ("target", "seed"),
    [
        # Numbers of borders, places of what a plan leaves open, layers left in float.
        *(("vta", 3), ("vta-int4", 3), ("vta-duo", 5)),
        *(
            pytest.param(target, seed, marks=pytest.mark.slow)
            for target in ("vta", "vta-x4", "vta-duo", "vta-int4", "vta-pynq", "aim-gddr6")
            for seed in range(10, 18)
        ),
    ],
)
def test_any_plan_with_samples_takes_what_its_package_takes(
    target: str, seed: int, tmp_path: Path
) -> None:
    draw, model = Random(seed), tmp_path / "m.onnx"
    model.write_bytes(DepthwiseNetwork(seed).grow(10, newest=0.5))
    samples = noise_samples(load_model(model).graph, 12)
    plans = [None, *(drawn_plan(model, target, draw, is_partial=some) for some in (False, True))]
    for plan in plans:
        shown = nest_tune.show_plan(model, target, plan, calibration=samples)
        built = nest_tune.compile(model, target, tmp_path / "p", plan=plan, calibration=samples)
        assert shown.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8), plan
        assert shown.evaluation.npu_cycles == built.metrics.npu_cycles
        assert shown.evaluation.launches == built.metrics.launches


def test_the_best_plan_with_samples_and_a_configuration_are_as_their_packages(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    model, plan, lock = (tmp_path / name for name in ("m.onnx", "best.toml", "config.toml"))
    model.write_bytes(scaled(synthetic, 3))
    noise = synthetic.np.random.default_rng(4).standard_normal((16, 16, 6, 6))
    samples = {"x": noise.astype(synthetic.np.float32)}
    best = nest_tune.best_plan(model, "vta-x2", calibration=samples)
    best.write_plan(plan)
    built = nest_tune.compile(model, "vta-x2", tmp_path / "p", plan=plan, calibration=samples)
    assert best.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8)
    assert all(best.latency_ms <= item.latency_ms for item in best.found.baselines.values())
    lock.write_text(configuration_text(built.configuration))
    again = nest_tune.show_plan(model, "vta-x2", config=lock, calibration=samples)
    assert again.units == best.units
    assert again.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8)


def test_the_numbers_of_a_configuration_are_those_of_its_plan(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, samples = Path(synthetic.write("residual", tmp_path)), synthetic.samples("residual", 16)
    shown = nest_tune.show_plan(path, "vta", calibration=samples)
    reader = next(node for node in load_model(path).graph.nodes if "x" in node.inputs)
    plan = tmp_path / "plan.toml"
    plan.write_text(f'schema = "nest-tune/plan/1"\n[units]\n"{reader.name}" = "cpu"\n')
    folder = tmp_path / "package"
    built = nest_tune.compile(path, "vta", folder, calibration=samples, plan=plan)
    known = folder / "config.toml"
    again = nest_tune.show_plan(path, "vta", calibration=samples, config=known)
    assert again.latency_ms == pytest.approx(built.metrics.latency_ms, abs=1e-8)
    best = nest_tune.best_plan(path, "vta", calibration=samples, config=known)
    assert best.latency_ms <= shown.latency_ms * (1 + 1e-9)
