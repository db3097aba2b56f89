"""Studies of generated C: precision by layer, kernels measured one by one, packages of sources."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nest_tune
from compiler_core.compile.sources import load_model, read_samples
from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.tensor.task import task_key
from compiler_core.units.facets.candidates import CandidateRequest
from nest_tune.api.bundle_packages import load_bundle
from nest_tune.cli.app import _run
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.wished import wished_point

DIGITS = Path(__file__).parents[3] / "examples/digits"
DATA = {
    "model": DIGITS / "model.onnx",
    "calibration": DIGITS / "calib.npz",
    "evaluation": DIGITS / "eval.npz",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))


def needs(target: str) -> None:
    try:
        candidates_for(target).identity(target)
    except MissingDependencyError as error:
        pytest.skip(error.message)


def start(folder: Path, **more: Any) -> nest_tune.Study:
    return nest_tune.Study.start(
        **DATA, storage=f"sqlite:///{folder / 's.db'}", sampler="random", **more
    )


@pytest.mark.parametrize(
    ("target", "goal"),
    [
        pytest.param("cortex-m4", "instructions", marks=pytest.mark.slow),
        ("rv32imc", "flash_bytes"),
    ],
)
def test_a_study_ends_in_the_package_that_was_measured(
    target: str, goal: str, tmp_path: Path
) -> None:
    needs(target)
    study = start(
        tmp_path,
        target=target,
        name="s",
        trials=2,
        objectives=[f"{goal}:min"],
        values={"quantization.activation_range": ("max",)},
    )
    trials = study.trials
    assert [trial.outcome.value for trial in trials] == ["complete"] * 2
    assert (goal == "instructions") == ("latency_ms" in trials[0].metrics)
    best = study.best(f"min:{goal}")
    for trial in (trials[0], best):
        made = study.compile_bundle(tmp_path / f"p{trial.number}", trial.number)
        opened = load_bundle(made.folder)[1]
        assert opened.report.flash_bytes == trial.metrics["flash_bytes"]
        assert opened.report.ram_peak_bytes == trial.metrics["ram_peak_bytes"]
        run = nest_tune.run_bundle(made.folder, DATA["calibration"], check=True)
        assert run.bit_exact
        if goal == "instructions":
            counted = nest_tune.profile_bundle(made.folder).operators
            total = sum(item.instructions or 0 for item in counted)
            assert total == trial.metrics["instructions"]


@pytest.mark.slow
def test_latencies_by_the_clock_have_intervals(tmp_path: Path) -> None:
    needs("c99")
    study = start(
        tmp_path,
        target="c99",
        name="c",
        trials=2,
        objectives=["latency_ms:min"],
        values={"quantization.activation_range": ("max",)},
    )
    for trial in study.trials:
        low, high = trial.intervals["latency_ms"]
        assert 0 < low <= trial.metrics["latency_ms"] <= high
    for task in study.result.tasks.values():
        assert task.schedule["cost"] > 0
    again = start(
        tmp_path,
        target="c99",
        name="d",
        trials=2,
        objectives=["latency_ms:min"],
        values={"quantization.activation_range": ("max",)},
    )
    assert again.result.closed.earlier > 0


@pytest.mark.slow
def test_layers_are_tuned_as_tasks_of_their_core(tmp_path: Path) -> None:
    needs("cortex-m4")
    study = start(
        tmp_path,
        target="cortex-m4",
        name="t",
        trials=2,
        objectives=["instructions:min"],
        values={"quantization.activation_range": ("max",)},
    )
    default, tuned = study.trials
    assert tuned.tuned
    assert not default.tuned
    assert tuned.metrics["instructions"] <= default.metrics["instructions"]
    searched = {n: task for n, task in study.result.tasks.items() if n.startswith("cpu_")}
    assert searched
    assert all(task.measurements > 1 for task in searched.values())
    storage = f"sqlite:///{tmp_path / 's.db'}"
    records = nest_tune.list_records(storage=storage)
    assert {row.task for row in records.tasks} == {task_key(name) for name in searched}
    # A second study finds all of them again.
    again = start(
        tmp_path,
        target="cortex-m4",
        name="u",
        trials=2,
        objectives=["instructions:min"],
        values={"quantization.activation_range": ("max",)},
    )
    assert again.trials[1].metrics == tuned.metrics
    assert nest_tune.list_records(storage=storage).tasks == records.tasks


@pytest.mark.slow
def test_equal_studies_have_equal_trials_however_they_are_cut(tmp_path: Path) -> None:
    needs("cortex-m4")
    more = {"target": "cortex-m4", "objectives": ["instructions:min", "flash_bytes:min"], "seed": 5}
    more["spaces"] = ["quantization"]
    whole = start(tmp_path, name="whole", trials=4, **more)
    cut = start(tmp_path, name="cut", trials=2, **more).resume(trials=4)
    assert [(t.point, dict(t.metrics)) for t in whole.trials] == [
        (t.point, dict(t.metrics)) for t in cut.trials
    ]


def test_a_candidate_by_its_configuration_gives_the_same_bits(tmp_path: Path) -> None:
    model = load_model(DATA["model"])
    samples = read_samples(DATA["calibration"], model.graph)
    ranges = dict(stored_profile(model.graph, samples).ranges())
    search = candidates_for("rv32imc")
    layers = [choice.node for choice in search.precisions(model.graph, ranges)]
    few = {name: array[:3] for name, array in samples.items()}
    seen = set()
    for ranging in ({}, {"activation_range": "mse", "weight_range": "mse"}):
        for precisions in (
            {},
            dict.fromkeys(layers[:2], "int4-packed"),
            dict.fromkeys(layers, "int16"),
        ):
            request = CandidateRequest(
                model.graph, (model.name, model.digest), ranges, "rv32imc", ranging, precisions
            )
            made = search.make(request)
            seen.add(made.digest)
            config = tmp_path / "config.toml"
            config.write_text(made.configuration({}))
            found = search.decided(config, model.graph, model.digest, ranges)
            usual = {"activation_range": "max", "weight_range": "max"}
            assert (found.ranging, found.precisions) == ({**usual, **ranging}, precisions)
            nest_tune.compile_bundle(DATA["model"], None, tmp_path / "p", config=config)
            opened = load_bundle(tmp_path / "p")[1]
            ours = made.outputs(few)
            for name, rows in opened.reference(few).items():
                assert np.array_equal(opened.real(name, rows), ours[name])
    assert len(seen) == 6
    halved = {name: replace(known, low=known.low / 2) for name, known in ranges.items()}
    with pytest.raises(InputError, match="its ranges follow from these calibration data by none"):
        search.decided(config, model.graph, model.digest, halved)


def test_small_memory_is_searched_where_it_is_asked_for(tmp_path: Path) -> None:
    needs("rv32imc")
    more: dict[str, Any] = {"target": "rv32imc", "trials": 4, "spaces": ["quantization"]}
    study = start(tmp_path, name="s", objectives=["ram_peak_bytes:min"], **more)
    usual, best = study.trials[0], study.best("min:ram_peak_bytes")
    assert best.metrics["ram_peak_bytes"] < usual.metrics["ram_peak_bytes"]
    assert "=" in dict(study.decisions(best.number))["memory.patches"]
    made = study.compile_bundle(tmp_path / "p", best.number)
    assert made.report.ram_peak_bytes == best.metrics["ram_peak_bytes"]
    assert nest_tune.run_bundle(made.folder, DATA["calibration"], check=True).bit_exact
    other = start(tmp_path, name="o", objectives=["flash_bytes:min"], **more)
    assert not any("memory" in name for name in dict(other.decisions(0)))


def test_what_is_not_measured_cannot_be_asked_for(tmp_path: Path) -> None:
    for target, asked, said in (
        ("cortex-m4", {"objectives": ["npu_cycles:min"]}, "objective npu_cycles: it is not"),
        ("vta", {"constraints": ["flash_bytes<=4"]}, "limit flash_bytes: it is not measured"),
        ("rv32imc", {"objectives": ["latency_ms:min"]}, "known there are flash_bytes"),
        ("c99", {"plan": "plan.toml"}, "there is nothing to plan"),
    ):
        with pytest.raises(InputError, match=said):
            start(tmp_path, target=target, name="n", trials=2, **asked)


def test_configurations_of_sources_are_points_of_their_studies_alone(tmp_path: Path) -> None:
    needs("c99")
    asked = StudyRequest(**{n: str(path) for n, path in DATA.items()}, target="c99")
    settings = resolve(None, asked, {})
    ground = survey_ground(settings)
    layers = [p.name for part in ground.space.parts[1:] for p in part.parameters]
    decisions = {"quantization.weight_range": "mse", f"precision.{layers[1]}": "int4"}
    point = wished_point(ground, decisions=decisions)
    config = tmp_path / "config.toml"
    # Kernels that unpack tell such weights from those that stay packed.
    made = SourceBench(ground.subjects).candidate(ground.space.decode(point))
    config.write_text(made.configuration({task.name: task.kernels[-1] for task in made.tasks}))
    assert made.tasks[0].shape == "1x8x8x1 -> 1x8x8x16"
    unpacks = any(task.kernels[-1].get("unpacked") for task in made.tasks)
    found = wished_point(ground, config=config)
    assert ground.space.decode(found)["quantization"] == ground.space.decode(point)["quantization"]
    assert (found == point) == unpacks
    elsewhere = survey_ground(replace(settings, target="vta"))
    with pytest.raises(InputError, match="takes programs"):
        wished_point(elsewhere, config=config)
    config.write_text('schema = "nest-tune/config/1"')
    with pytest.raises(InputError, match="takes"):
        wished_point(ground, config=config)
    with pytest.raises(InputError, match="which have no plan"):
        wished_point(ground, plan=config)


def test_without_a_compiler_a_study_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = [word for name, path in DATA.items() for word in (f"--{name}", str(path))]
    code = _run(["study", "start", *words, "--target", "cortex-m7"], debug=False, as_json=False)
    told = capsys.readouterr().err
    assert code == 5
    assert "arm-none-eabi-gcc and qemu-system-arm cannot be found" in told
    assert "--target c99" in told


def test_a_lock_leads_to_the_same_sources(tmp_path: Path) -> None:
    needs("cortex-m4")
    study = start(tmp_path, target="cortex-m4", name="s", trials=2, spaces=["quantization"], seed=3)
    lock = tmp_path / "best.toml"
    trial = study.export(lock, 1)
    found = nest_tune.check(lock)
    assert found.ok, found.differences
    assert found.count > 20
    text = lock.read_text()
    assert "latency_ms" not in text.split("[lock.layers", 1)[1]  # nothing measures it
    first = study.compile_bundle(tmp_path / "p", 1)
    digest = hashlib.sha256((first.folder / "model.c").read_bytes())
    again = nest_tune.compile_bundle(DATA["model"], None, tmp_path / "again", config=lock)
    made = hashlib.sha256((again.folder / "model.c").read_bytes())
    assert made.hexdigest() == digest.hexdigest()
    flash = int(trial.metrics["flash_bytes"])
    name = next(name for name in ("stem", "first") if f"lock.layers.{name}]" in text)
    changed = re.sub(rf"flash_bytes = {flash}(\.0)?\b", f"flash_bytes = {flash + 8}", text)
    changed = re.sub(
        rf"(lock\.layers\.{name}\].*?instructions = )\d+", r"\g<1>7", changed, flags=re.DOTALL
    )
    assert changed != text
    lock.write_text(changed)
    found = nest_tune.check(lock)
    assert {(item.metric, item.where) for item in found.differences} == {
        ("flash_bytes", "whole model"),
        ("instructions", name),
    }
    # Older locks wrote zeros for what is not known.
    older = re.sub(
        r"(\noperator = .*)", r"\1\ncycles = 0\nlatency_ms = 0.0\ntask = ''", found.new_text
    )
    lock.write_text(older)
    assert nest_tune.check(lock, DATA["evaluation"]).ok


def test_precisions_of_least_cost_are_planned(tmp_path: Path) -> None:
    """With sizes alone nothing is measured: bytes are what a plan saves."""
    needs("rv32imc")
    study = start(
        tmp_path,
        target="rv32imc",
        name="s",
        trials=12,
        objectives=["constant_bytes:min"],
        max_accuracy_drop="1%",
        window=1,
    )
    moves = [trial.attributes.get("move") for trial in study.trials]
    assert "least cost for its damage" in moves
    best, default = study.best("fastest"), study.default
    assert best.metrics["constant_bytes"] < 0.9 * default.metrics["constant_bytes"]
    assert best.metrics["accuracy_drop"] <= 0.01


@pytest.mark.slow
def test_report_and_explanation_of_sources(tmp_path: Path) -> None:
    needs("cortex-m4")
    study = start(
        tmp_path,
        target="cortex-m4",
        name="s",
        trials=3,
        objectives=["constant_bytes:min"],
        spaces=["quantization"],
    )
    best = study.best("fastest")
    assert best.metrics["constant_bytes"] < study.default.metrics["constant_bytes"]
    text = study.report(tmp_path / "r.html").read_text()
    part = text[text.index('id="sources"') :]
    assert "4-bit weights" in part
    assert f"flash {best.metrics['flash_bytes']:,.0f} bytes of 1,048,576" in part
    assert "arena of" in part
    assert "left out" not in text
    assert "follow from the classes of these instructions" in text
    costs = {"instructions": 10.0, "cycles": 13.0}
    assumed = candidates_for("cortex-m4").origin_of_cycles("cortex-m4", costs)
    assert assumed == "an assumed 1.3 cycles per instruction"
    rows = re.findall(r"<td>([\d,]+)</td></tr>", part)
    total = sum(int(row.replace(",", "")) for row in rows)
    assert total == pytest.approx(best.metrics["instructions"], abs=len(rows))
    told = study.explain(best.number)
    worth = {effect.decision: effect.metrics for effect in told.effects}
    layer = worth["precision.second"]["constant_bytes"] - best.metrics["constant_bytes"]
    assert 4000 < layer < 5000  # 9216 weights, half a byte each
