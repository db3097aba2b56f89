"""Studies of generated C whose model is of no use in integers alone: what ``compile`` would choose
is among the first trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.units.facets.candidates import CandidateRequest
from nest_tune.study.proposals.source_parts import FormPart
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.wished import wished_point
from tests.nest_tune.study.test_source_studies import DATA, needs

HEAD = "float32 up to the first weights, then int8"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))


def table(folder: Path) -> dict[str, Any]:
    """A network on raw columns, one of which is 10,000 times larger than what decides."""
    random = np.random.default_rng(0)
    sizes = np.array([1e4, 1, 1, 1, 1], np.float32)
    arrays = {
        "offset": np.zeros(5, np.float32),
        "sizes": sizes,
        "w": random.normal(0, 1, (5, 6)).astype(np.float32),
        "b": np.zeros(6, np.float32),
        "v": random.normal(0, 1, (6, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["x", "offset"], ["centred"]),
        helper.make_node("Div", ["centred", "sizes"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w", "b"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "v"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "m.onnx")
    x = (random.normal(0, 1, (64, 5)) * sizes).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    return {"model": folder / "m.onnx", "calibration": folder / "x.npz"}


def ground_of(**data: Any) -> Any:
    texts = {name: str(path) for name, path in data.items()}
    return survey_ground(resolve(None, StudyRequest(**texts, target="rv32imc"), {}))


def test_the_ladder_of_compile_is_tried_first(tmp_path: Path) -> None:
    needs("rv32imc")
    data = table(tmp_path)
    study = nest_tune.Study.start(
        **data,
        evaluation=data["calibration"],
        storage=f"sqlite:///{tmp_path / 's.db'}",
        target="rv32imc",
        name="s",
        metric="sqnr_db",
        objectives=["flash_bytes:min", "accuracy:max"],
        trials=4,
    )
    space = ground_of(**data).space
    forms = [space.decode(trial.point).get("form", {}) for trial in study.trials]
    assert [form.get("form", "") for form in forms] == ["", "", HEAD, "float32"]
    quality = [trial.metrics["accuracy"] for trial in study.trials]
    assert quality[0] < 10 < 25 < quality[2] < quality[3]
    made = study.compile_bundle(tmp_path / "p", 2)
    assert nest_tune.run_bundle(made.folder, data["calibration"], check=True).bit_exact
    study.resume(trials=5)
    assert len(study.trials) == 5


def test_configurations_name_their_form(tmp_path: Path) -> None:
    needs("rv32imc")
    data = table(tmp_path)
    nest_tune.compile_bundle(
        data["model"], "rv32imc", tmp_path / "p", calibration=data["calibration"]
    )
    ground = ground_of(**data)
    point = wished_point(ground, config=tmp_path / "p/config.toml")
    assert ground.space.decode(point)[FormPart.name] == {"form": HEAD}
    other = ground_of(model=DATA["model"], calibration=DATA["calibration"])
    assert not any(isinstance(part, FormPart) for part in other.space.parts)


def test_forms_that_are_not_there() -> None:
    graph = load_model(DATA["model"]).graph
    request = CandidateRequest(graph, ("m", "0"), {}, "c99", form="half")
    with pytest.raises(InputError, match="form 'half' is not known"):
        candidates_for("c99").make(request)
