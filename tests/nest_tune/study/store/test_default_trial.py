"""Trial 0 of a study is what a compile without a scheme takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nest_tune
from compiler_core.quantize.scheme import QuantizationScheme, scheme_document
from nest_tune.study.proposals.outer_space import make_space, quantization_part
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.selection import ground_of

CASES = Path(__file__).parents[3] / "cases" / "default-compile-silently-destroys"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    data = np.load(CASES / "outlier.npz")
    np.savez(tmp_path / "eval.npz", x=data["x"])
    return {
        "model": str(CASES / "outlier.onnx"),
        "target": "vta",
        "calibration": str(CASES / "outlier.npz"),
        "evaluation": str(tmp_path / "eval.npz"),
        "metric": "agreement",
        "name": "s",
        "trials": 1,
        "storage": f"sqlite:///{tmp_path}/s.db",
        "seed": 0,
        "jobs": 1,
    }


def test_the_first_trial_is_what_compile_takes(given: dict[str, object], tmp_path: Path) -> None:
    made = nest_tune.compile(
        str(given["model"]), "vta", tmp_path / "out", calibration=str(given["calibration"])
    )
    study = nest_tune.Study.start(**given)  # type: ignore[arg-type]
    default = study.default
    assert default.metrics["latency_ms"] == made.metrics.latency_ms
    assert default.metrics["accuracy"] > 0.9
    assert study.configuration(0).scheme.decisions == made.configuration.scheme.decisions
    assert study.configuration(0).scheme.exponents == made.configuration.scheme.exponents


def test_a_study_goes_on_with_the_default_that_it_was_started_with(
    given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = nest_tune.Study.start(**given)  # type: ignore[arg-type]
    found = study.result
    stored = found.study.document["default_scheme"]
    assert stored["equalization"] is True

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the ladder was climbed again")

    monkeypatch.setattr("nest_tune.study.store.dependencies.default_choice", refused)
    ground = ground_of(found)
    assert ground.space.decode(ground.space.default)["quantization"] == stored
    assert scheme_document(ground.default) == stored
    with pytest.raises(AssertionError, match="climbed again"):
        survey_ground(found.settings)


def test_without_a_search_of_schemes_the_default_is_pinned() -> None:
    from compiler_core.compile.sources import load_model
    from compiler_core.quantize.ladder import GPTQ, RUNGS
    from compiler_core.quantize.scheme import WeightRounding
    from compiler_core.targets.load import load_target

    assert GPTQ not in RUNGS
    graph, target = load_model(CASES / "outlier.onnx").graph, load_target("vta")
    scheme = RUNGS["equalization"]
    space = make_space(graph, target, quantization=False, partition=False, default=scheme)
    assert space.decode(space.default) == {"quantization": scheme_document(scheme)}
    assert make_space(graph, target, quantization=False, partition=False).parts == ()
    rounded = QuantizationScheme(weight_rounding=WeightRounding.GPTQ)
    part = quantization_part(graph, target, rounded)
    assert part.scheme(part.default) == rounded
