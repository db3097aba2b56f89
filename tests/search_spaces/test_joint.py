"""The product of parts: where their parameters stand, and what is tried first."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.joint import JointSpace, OuterPoint
from search_spaces.parameter import Parameter


class Scheme:
    """A part that cannot tell what its points cost."""

    name = "scheme"
    parameters = (Parameter("a", (0, 1, 2)), Parameter("b", (False, True)))
    default: OuterPoint = (0, 0)

    def decode(self, point: OuterPoint) -> object:
        return point

    def is_legal(self, point: OuterPoint) -> bool:
        return point != (2, 1)

    def guesses(self) -> Sequence[OuterPoint]:
        return ((1, 1), (2, 1), (2, 0))


class Plan:
    """A part that can."""

    name = "plan"
    parameters = (Parameter("c", ("cpu", "npu"), ordered=False),)
    default: OuterPoint = (0,)

    def decode(self, point: OuterPoint) -> object:
        return point

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ((1,), (0,))

    def estimate(self, point: OuterPoint) -> float:
        return 2.0 - point[0]


def test_blocks_cut_a_point_into_its_parts() -> None:
    space = JointSpace([Scheme(), Plan()])
    assert [(2, 1, 0)[block] for block in space.blocks] == [(2, 1), (0,)]
    assert JointSpace([]).blocks == ()


def test_guesses_keep_other_parts_at_the_best_that_is_known_of_them() -> None:
    # Schemes with the plan of least cost, plans with the default scheme; illegal ones are left out.
    space = JointSpace([Scheme(), Plan()])
    assert space.guesses() == ((1, 1, 1), (2, 0, 1), (0, 0, 1))


def test_the_default_is_no_guess() -> None:
    assert JointSpace([Plan()]).guesses() == ((1,),)
