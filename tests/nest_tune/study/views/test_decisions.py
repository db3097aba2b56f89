"""Decisions of a trial in one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nest_tune.study.views.decisions import decisions_text

NAMES = st.sampled_from(["quantization.a", "quantization.b", "tiling"]) | st.from_regex(
    r"partition\.[a-z]{1,4}", fullmatch=True
)


def test_equal_decisions_of_a_space_are_told_together() -> None:
    found = {f"partition.conv{i}": "cpu:d8t" for i in range(20)}
    found = {"quantization.granularity": "channel", **found, "partition.last": "cpu"}
    assert decisions_text(found, 12, "show") == (
        "quantization.granularity=channel, partition.*=cpu:d8t (20 times), partition.last=cpu"
    )


def test_what_is_left_out_is_counted_and_found() -> None:
    found = {f"precision.n{i}": f"int{i}" for i in range(5)}
    assert decisions_text(found, 2, "nest-tune study show s:1") == (
        "precision.n0=int0, precision.n1=int1, and 3 more (nest-tune study show s:1)"
    )
    assert decisions_text({}, 2, "x") == "nothing"


@given(st.dictionaries(NAMES, st.sampled_from(["cpu", "vta", True])))
def test_every_decision_is_told_once(found: dict[str, object]) -> None:
    text = decisions_text(found, 1000, "x")
    parts = text.split(", ") if found else []
    told = sum(int(p.split("(")[1].split()[0]) if p.endswith("times)") else 1 for p in parts)
    assert told == len(found)
