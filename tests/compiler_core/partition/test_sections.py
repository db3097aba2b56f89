"""Times of placements by sections against the whole timeline, and what a move has timed anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.sources import load_model
from compiler_core.partition.best import prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.groups import build_groups
from compiler_core.partition.modules import modules_of
from compiler_core.partition.savings import Border, Savings, with_known_savings
from compiler_core.system.jobs import ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU, Placement
from tests.compiler_core.partition.border_networks import BorderNetwork

TARGETS = ("vta", "vta-x2", "vta-x4", "vta-aim", "vta-duo", "aim-gddr6")
SEEDS = range(25)
MOVES = 25


def plain_times(
    evaluator: Evaluator, placement: Placement, first: int = 0, stop: int | None = None
) -> tuple[int, int]:
    """Latency and sum of all jobs, with all of them on one timeline."""
    found = evaluator.joinings(placement, first, stop)
    latencies = []
    for joined in found:
        jobs = joined.played()
        latencies.append(simulate(jobs, ranks(jobs), evaluator.costs.machinery).latency_ps)
    sums = (sum(job.run_ps + job.overhead_ps for job in joined.jobs) for joined in found)
    return min(latencies), min(sums)


def section_times(
    evaluator: Evaluator, placement: Placement, first: int = 0, stop: int | None = None
) -> tuple[int, int]:
    sections = evaluator.sections
    latency = sections.latency_ps(placement, first, stop)
    return latency, sections.sequential_ps(placement, first, stop)


def moves(evaluator: Evaluator, draw: random.Random, count: int) -> Iterator[Placement]:
    """Placements, each but the first of several one move from the one before."""
    choices = evaluator.choices
    for pick in (0, -1, None):
        placement = tuple(draw.choice(own) if pick is None else own[pick] for own in choices)
        yield placement
        for _ in range(count):
            group = draw.randrange(len(choices))
            place = draw.choice(choices[group])
            placement = (*placement[:group], place, *placement[group + 1 :])
            yield placement


def drawn_savings(evaluator: Evaluator, draw: random.Random) -> Savings:
    """What layers save behind some others."""
    names = [
        (evaluator.unit_of[place], launch.name)
        for cost in evaluator.costs.groups
        for place, at in cost.at.items()
        if evaluator.unit_of[place] >= 0
        for launch in at.programs
    ]
    pairs = [(draw.choice(names), draw.choice(names)) for _ in range(60 if names else 0)]
    return Savings(
        {Border(unit, one, other): draw.randint(-999, 99_999) for (unit, one), (_, other) in pairs}
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_times_of_sections_add_up_to_those_of_the_whole(
    synthetic: ModuleType, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    size, newest = draw.choice((6, 12)), draw.choice((0.0, 0.6, 0.9))
    path = tmp_path / "m.onnx"
    path.write_bytes(BorderNetwork(synthetic, seed).grow(size, newest))
    target = load_target(TARGETS[seed % len(TARGETS)])
    evaluator = prepare(load_model(path).graph, target, joins_layers=draw.random() < 0.7)
    if evaluator.joins_layers and draw.random() < 0.5:
        evaluator = with_known_savings(evaluator, drawn_savings(evaluator, draw))
    modules = modules_of(evaluator.groups)
    for placement in moves(evaluator, draw, MOVES):
        own = section_times(evaluator, placement)
        assert own == plain_times(evaluator, placement), (placement, target.name)
        module = draw.choice(modules)
        part = section_times(evaluator, placement, module.first, module.stop)
        assert part == plain_times(evaluator, placement, module.first, module.stop)


def diamonds(synthetic: ModuleType, levels: int) -> bytes:
    """One module: ways that part and meet again, and at the end the model's input once more."""
    b, name = synthetic.Builder(1), "x"
    for level in range(levels):
        b.add("Relu", [name], f"r{level}")
        b.add("Tanh", [name], f"t{level}")
        b.add("Add", [f"r{level}", f"t{level}"], f"a{level}")
        name = f"a{level}"
    b.add("Add", ["x", name], "y")
    content: bytes = b.model({"x": [1, 16, 4, 4]}, {"y": [1, 16, 4, 4]})
    return content


def test_a_move_times_only_what_it_changes(
    synthetic: ModuleType,
    tmp_path: Path,
    random_evaluator: type[Evaluator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(diamonds(synthetic, 60))
    groups = build_groups(load_model(path).graph)
    assert len(modules_of(groups)) == 1
    evaluator = random_evaluator(groups, 3)
    placement = tuple(ON_CPU for _ in evaluator.choices)
    assert section_times(evaluator, placement) == plain_times(evaluator, placement)
    timed: list[int] = []
    plain = Evaluator.timed_ways

    def counted(self: Evaluator, place: Placement, first: int, stop: int) -> object:
        timed.append(stop - first)
        return plain(self, place, first, stop)

    monkeypatch.setattr(Evaluator, "timed_ways", counted)
    draw = random.Random(5)
    for _ in range(30):
        group = draw.randrange(len(placement) - 1)  # at the last, the input waits for a conversion
        place = draw.choice(evaluator.choices[group])
        moved = (*placement[:group], place, *placement[group + 1 :])
        timed.clear()
        own = section_times(evaluator, moved)
        assert sum(timed) <= 12
        assert own == plain_times(evaluator, moved)
