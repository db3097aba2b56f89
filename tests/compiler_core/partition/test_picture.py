"""Where the edges of the picture of a plan run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.partition.picture import _WIDTH, _lane

PLACES = st.floats(0, 3000)


@given(PLACES, st.lists(PLACES, min_size=1, max_size=12))
def test_a_lane_passes_beside_all_boxes(wanted: float, boxes: list[float]) -> None:
    lane = _lane(wanted, boxes)
    assert all(not left <= lane <= left + _WIDTH for left in boxes)


def test_a_lane_is_straight_where_nothing_is_in_the_way() -> None:
    assert _lane(500.0, [0.0, 700.0]) == 500.0


def test_a_lane_goes_round_the_box_of_a_residual_block_on_the_right() -> None:
    assert _lane(_WIDTH / 2, [0.0]) > _WIDTH
