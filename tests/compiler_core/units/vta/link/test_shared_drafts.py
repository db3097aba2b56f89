"""A draft that is shared is what the lowering makes, wherever the arrays lie."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler_core.memory.plan import ALIGNMENT
from compiler_core.recent import Recent
from compiler_core.targets.load import load_target
from compiler_core.units.vta.link import lower_part as parts
from compiler_core.units.vta.link import shared_drafts
from compiler_core.units.vta.link.activations import place_activations, plan_activations
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.lower_part import lower_part
from compiler_core.units.vta.link.slice_part import SlicePart, whole
from compiler_core.units.vta.lower.draft import Draft
from compiler_core.units.vta.machine.hardware import VtaCore
from tests.compiler_core.units.vta.merge.random_segments import random_schedules, random_segment


def _drafts(seed: int, target: str, address: int) -> list[Draft]:
    core = load_target(target).unit("vta").machine
    assert isinstance(core, VtaCore)
    r = random.Random(seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, core)
    geometry = core.geometry
    plan = plan_activations(layers, schedules, geometry)
    # As if the buffers of others came first: activations lie further on.
    plan = replace(plan, offsets={name: at + address for name, at in plan.offsets.items()})
    layout = place_activations(layers, plan, schedules, geometry)
    pool = ConstantPool(ALIGNMENT + 2 * address + plan.size)
    return [
        lower_part(
            layer,
            SlicePart(whole(layer.workload), schedules[layer.task.id]),
            layout,
            pool,
            geometry,
        )
        for layer in layers.layers
    ]


def _plain(lower: Any, workload: Any, schedule: Any, values: Any, placement: Any, g: Any) -> Draft:
    return lower(workload, schedule, values, placement, g).draft


@pytest.mark.parametrize("seed", range(25))
def test_shared_drafts_are_those_of_the_lowering(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (0, 37 * ALIGNMENT, 1 << 30)
    found = [_drafts(seed, "vta", place) for place in places]
    monkeypatch.setattr(parts, "shared_draft", _plain)
    for place, shared in zip(places, found, strict=True):
        for mine, plain in zip(shared, _drafts(seed, "vta", place), strict=True):
            assert mine.words == plain.words
            same = {"words": (), "home": None}
            assert vars(replace(mine, **same)) == vars(replace(plain, **same))
            np.testing.assert_array_equal(mine.micro_ops, plain.placed(0, 64).micro_ops)


def test_a_layer_that_lies_elsewhere_is_not_lowered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_drafts, "_KEPT", Recent(shared_drafts.MOST_INSTRUCTIONS))
    before = _drafts(1, "vta", 0)

    def refused(*_: Any) -> Any:
        raise AssertionError("lowered again")

    # Keys hold the lowering; what is called here is what it calls.
    for module in ("lower_conv", "lower_resident", "lower_max_pool"):
        monkeypatch.setattr(f"compiler_core.units.vta.lower.{module}.require_legal", refused)
    after = _drafts(1, "vta", 5 * ALIGNMENT)
    assert [one.words for one in before] != [one.words for one in after]


def test_drafts_weigh_their_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Recent[Draft] = Recent(1)
    monkeypatch.setattr(shared_drafts, "_KEPT", kept)
    weights = []
    keep = kept.keep

    def noted(key: Any, draft: Draft, weight: int = 1) -> None:
        weights.append(weight)
        assert weight == len(draft.words)
        keep(key, draft, weight)

    monkeypatch.setattr(kept, "keep", noted)
    _drafts(1, "vta", 0)
    assert weights
