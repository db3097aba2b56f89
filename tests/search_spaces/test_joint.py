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


class Priced(Plan):
    """A part that tells energies, too; it counts how often it is asked whether it can."""

    name = "priced"
    asked = 0

    def __getattribute__(self, name: str) -> object:
        if name == "price":
            Priced.asked += 1
        return super().__getattribute__(name)

    def price(self, point: OuterPoint, metric: str) -> float | None:
        return 3.0 + point[0] if metric == "energy_mj" else None


def test_what_parts_cannot_tell_is_asked_once_and_not_for_every_point() -> None:
    space = JointSpace([Scheme(), Priced(), Plan()])
    asked, points = Priced.asked, [(0, 0, n, m) for n in (0, 1) for m in (0, 1)]
    assert [space.price(point, "energy_mj") for point in points] == [3.0, 3.0, 4.0, 4.0]
    assert [space.price(point, "latency_ms") for point in points] == [4.0, 3.0, 3.0, 2.0]
    assert {space.price(point, "size_bytes") for point in points} == {None}
    assert Priced.asked == asked
