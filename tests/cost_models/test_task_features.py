"""The facet of features, and what is said where a kind has none."""

from __future__ import annotations

import pytest

from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from compiler_core.units.unit import UnitKind
from cost_models import task_features


def test_a_kind_without_features_names_samplers_that_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_features, "kind_of_machine", lambda _: UnitKind("plain"))
    with pytest.raises(InputError, match="unit kind 'plain' has no features") as caught:
        task_features.task_features(load_target("vta").npu)
    assert "--sampler random" in (caught.value.hint or "")
