"""Names of studies that nobody named."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.errors import InputError
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.naming import base_name, named
from nest_tune.study.store.rehearsal import rehearsed_name
from nest_tune.study.store.storage import StudyStorage

SETTINGS = {"settings": {}}


@pytest.mark.parametrize(
    ("model", "target", "base"),
    [
        ("nets/resnet8.onnx", "vta", "resnet8-vta"),
        ("resnet8", "boards/my soc.toml", "resnet8-my-soc"),
        ("<img src=x>.onnx", "vta-x4", "img-src-x-vta-x4"),
        ("v1.0.onnx", "vta", "v1.0-vta"),
        ("日本.onnx", "vta", "vta"),
        (f"{'n' * 200}.onnx", "vta", "n" * 90),
    ],
)
def test_a_name_begins_with_model_and_target(model: str, target: str, base: str) -> None:
    assert base_name(model, target) == base


def test_numbers_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    asked = StudySettings("", "net.onnx", "vta", storage=url)  # type: ignore[arg-type]
    assert rehearsed_name(asked, "fail").name == "net-vta-1"
    assert not (tmp_path / "s.db").exists()
    storage = StudyStorage(url)
    for name in ("net-vta-2", "net-vta-10", "net-vta-x", "net-vta-011", "other-vta-99"):
        storage.create(name, SETTINGS)
    assert named(storage, asked, "fail").name == "net-vta-11"
    assert named(storage, asked, "resume").name == named(storage, asked, "replace").name
    assert named(storage, asked, "resume").name == "net-vta-10"
    mine = StudySettings("net-vta-2", "net.onnx", "vta", storage=url)  # type: ignore[arg-type]
    assert named(storage, mine, "fail") is mine
    storage.close()
    assert rehearsed_name(asked, "fail").name == "net-vta-11"
    assert rehearsed_name(mine, "resume") == mine
    with pytest.raises(InputError, match="the name is taken"):
        rehearsed_name(mine, "fail")
