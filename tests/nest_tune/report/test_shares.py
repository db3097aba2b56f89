"""What a latency is made of, against counting every picosecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.configuration.launches import LaunchSettings
from nest_tune.report.shares import IDLE, RunningSpan, attribute, latency_shares
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.result import StudyResult, compile_trial

LENGTH = 24


def counted(stretches: list[RunningSpan], total: int) -> dict[str, float]:
    """One picosecond after another."""
    sums: dict[str, float] = {}
    for now in range(total):
        here = [s for s in stretches if s.start_ps <= now < s.end_ps]
        ours = [s for s in here if s.on_unit] or here
        if not ours:
            sums[IDLE] = sums.get(IDLE, 0.0) + 1
        for stretch in ours:
            for reason, part in stretch.parts.items():
                sums[reason] = sums.get(reason, 0.0) + part / len(ours)
    return sums


@st.composite
def stretch(draw: st.DrawFn) -> RunningSpan:
    start = draw(st.integers(0, LENGTH))
    part = draw(st.sampled_from([0.25, 0.5, 1.0]))
    parts = {"compute": part, "above": 1 - part} if part < 1 else {"cpu": 1.0}
    return RunningSpan(start, draw(st.integers(start, LENGTH)), draw(st.booleans()), parts)


@given(st.lists(stretch(), max_size=12))
def test_every_picosecond_has_one_reason(stretches: list[RunningSpan]) -> None:
    found = attribute(stretches, LENGTH)
    assert found == pytest.approx(counted(stretches, LENGTH))
    assert sum(found.values()) == pytest.approx(LENGTH)


@pytest.mark.parametrize("merge", [False, True])
def test_parts_add_up_to_the_latency(result: StudyResult, merge: bool) -> None:
    ground = survey_ground(result.settings, result.study)
    default = result.default
    assert default is not None
    source = compile_trial(ground, result, default).source
    configuration = replace(source.configuration, launches=LaunchSettings(merge=merge))
    compiled = compile_model(replace(source, configuration=configuration), ground.target)
    shares = latency_shares(compiled)
    assert sum(share.ms for share in shares) == pytest.approx(compiled.timeline.latency_ms)
    assert sum(share.share for share in shares) == pytest.approx(1.0)
    assert {"launch", "above", "compute"} <= {share.reason for share in shares}
    assert all(share.label and share.kind for share in shares)
