"""Layers as one program: the same bytes as one launch after another, ordered by proof, faster."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.memory.plan import ALIGNMENT, align
from compiler_core.targets.load import load_target
from compiler_core.units.vta.link.activations import place_activations, plan_activations
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.linker import link_segment
from compiler_core.units.vta.link.lower_part import lower_part
from compiler_core.units.vta.link.merged_layers import MergedSegment, merge_segment
from compiler_core.units.vta.link.segment import SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart, whole
from compiler_core.units.vta.lower.draft import BufferOrigin, encoded
from compiler_core.units.vta.lower.tokens import finished
from compiler_core.units.vta.machine.isa import MemoryType, Opcode, decode
from compiler_core.units.vta.merge import choose
from compiler_core.units.vta.merge.accesses import accesses
from compiler_core.units.vta.merge.merge import Entry, JoinedInstructions
from compiler_core.units.vta.merge.places import footprint, place_layers
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta.merge.random_segments import random_schedules, random_segment

CORES = {name: load_target(name).npu for name in ("vta", "vta-rtl2020")}
CORE = CORES["vta"]
GEOMETRY = CORE.geometry


class Both:
    """A segment as launches and as one program, each in its own DRAM."""

    def __init__(
        self,
        layers: SegmentLayers,
        schedules: dict[str, Schedule],
        entries: list[Entry] | None = None,
        core: str = "vta",
        further: int = 0,
    ) -> None:
        plan = plan_activations(layers, schedules, GEOMETRY)
        layout = place_activations(layers, plan, schedules, GEOMETRY)
        self.first, self.end = ALIGNMENT, ALIGNMENT + align(plan.size)
        pool = ConstantPool(self.end)
        self.launches = link_segment(layers, schedules, layout, pool, GEOMETRY)
        self.apart = self._filled(pool)
        pool = ConstantPool(self.end)
        if further:  # constants lie elsewhere, and what is between them too
            pool.place(np.zeros(further, np.uint8))
        self.merged: MergedSegment = merge_segment(
            layers, schedules, layout, pool, CORES[core], entries
        )
        self.together = self._filled(pool)

    def _filled(self, pool: ConstantPool) -> np.ndarray:
        dram = np.zeros(pool.end, np.uint8)
        rng = np.random.default_rng(5)
        dram[self.first : self.end] = rng.integers(0, 256, self.end - self.first, dtype=np.uint8)
        pool.write(dram)
        return dram

    def check(self) -> None:
        """Same bytes, no race in any order, all instructions there."""
        error = first_error(verify(self.merged.instructions, GEOMETRY, self.together))
        assert error is None, str(error)
        for launch in self.launches:
            execute(launch.instructions, GEOMETRY, self.apart)
        execute(self.merged.instructions, GEOMETRY, self.together)
        region = slice(self.first, self.end)
        np.testing.assert_array_equal(self.together[region], self.apart[region])
        work = {Opcode.GEMM, Opcode.ALU, Opcode.STORE}
        count = sum(
            int(np.isin(decode(launch.instructions)["opcode"], list(work)).sum())
            for launch in self.launches
        )
        rows = decode(self.merged.instructions)
        assert int(np.isin(rows["opcode"], list(work)).sum()) == count
        assert int((rows["opcode"] == Opcode.FINISH).sum()) == 1
        assert set(self.merged.layers.tolist()) == set(range(len(self.launches)))


def random_entries(r: random.Random, count: int) -> list[Entry]:
    return [
        Entry(r.choice([0, 1, 2, 5, 64]), r.choice([0, 1, 64]), r.random() < 0.5)
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_random_segments_give_the_bytes_of_their_launches(seed: int) -> None:
    r = random.Random(seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    entries = random_entries(r, len(layers.layers)) if seed % 3 else None
    Both(layers, schedules, entries, r.choice(list(CORES))).check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_more_random_segments(seed: int) -> None:
    r = random.Random(seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    Both(layers, schedules, random_entries(r, len(layers.layers)), r.choice(list(CORES))).check()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("core", CORES)
def test_a_chosen_program_is_not_slower_than_its_launches(seed: int, core: str) -> None:
    r = random.Random(1000 + seed)
    layers = random_segment(r)
    both = Both(layers, random_schedules(r, layers, CORES[core]), core=core)
    machine = CORES[core]
    apart = sum(
        time_program(launch.instructions, machine.timing, GEOMETRY).cycles
        for launch in both.launches
    )
    assert both.merged.cycles <= apart
    assert (
        time_program(both.merged.instructions, machine.timing, GEOMETRY).cycles
        == both.merged.cycles
    )


def test_borders_of_large_layers_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    r = random.Random(1003)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    chosen = Both(layers, schedules)
    assert chosen.merged.entries[0] == Entry()
    monkeypatch.setattr(choose, "WORK", 0)
    usual = Both(layers, schedules)
    assert set(usual.merged.entries) == {Entry()}
    assert chosen.merged.cycles <= usual.merged.cycles
    usual.check()


def test_neighbours_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    r = random.Random(1004)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    first = Both(layers, schedules).merged
    timed: list[object] = []
    real = choose.merged_program

    def counted(joined: JoinedInstructions, *arguments: object) -> object:
        timed.append(joined)
        return real(joined, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "merged_program", counted)
    again = Both(layers, schedules).merged
    assert not timed
    assert again.entries == first.entries
    np.testing.assert_array_equal(again.instructions, first.instructions)


class Sized:
    """As many layers as instructions are given for."""

    def __init__(self, *counts: int) -> None:
        self.counts = counts

    def __len__(self) -> int:
        return len(self.counts)

    def instruction_count(self, layers: range) -> int:
        return sum(self.counts[layers.start : layers.stop])


@given(counts=st.lists(st.integers(2, 40_000), min_size=1, max_size=40))
def test_small_layers_are_tried_first_and_more_thoroughly_with_what_is_left(
    counts: list[int],
) -> None:
    joined = cast("JoinedInstructions", Sized(*counts))
    efforts = choose._affordable(joined)
    size = {n: joined.instruction_count(choose._near(joined, n)) for n in range(1, len(counts))}
    spent = {n: size[n] * sum(choose._TRIES[: efforts[n].ways]) * efforts[n].rounds for n in size}
    assert sum(spent.values()) <= choose.WORK
    assert efforts[0] == choose._Effort()
    for one, other in permutations(size, 2):
        if size[one] < size[other]:
            assert efforts[one] >= efforts[other]
    left = choose.WORK - sum(spent.values())
    for n in size:
        if efforts[n].ways < len(choose._TRIES):
            assert size[n] * choose._TRIES[efforts[n].ways] > left


@pytest.mark.parametrize("seed", range(12))
def test_neighbours_whose_constants_lie_elsewhere_are_not_timed_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = random.Random(7000 + seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    first = Both(layers, schedules).merged
    with monkeypatch.context() as changed:

        def anew(joined, core, entries, near, _, rounds):  # type: ignore[no-untyped-def]
            return choose.merged_program(joined, core, entries, near, rounds)[0]

        changed.setattr(choose, "_cycles", anew)
        plain = Both(layers, schedules, further=5 * ALIGNMENT).merged
    timed: list[object] = []
    real = choose.merged_program

    def counted(joined: JoinedInstructions, *arguments: object) -> object:
        timed.append(joined)
        return real(joined, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "merged_program", counted)
    again = Both(layers, schedules, further=5 * ALIGNMENT).merged
    assert not timed
    assert again.entries == plain.entries == first.entries
    assert again.cycles == plain.cycles == first.cycles
    np.testing.assert_array_equal(again.instructions, plain.instructions)


@pytest.mark.parametrize("seed", range(12))
def test_programs_are_those_of_the_smallest_granules(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger granules of what a program writes cover its transfers as exactly."""
    r = random.Random(4000 + seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    entries = random_entries(r, len(layers.layers))
    narrow = Both(layers, schedules, entries).merged
    monkeypatch.setattr(JoinedInstructions, "_written_by", lambda self, _: self._region)
    wide = Both(layers, schedules, entries).merged
    assert narrow.cycles == wide.cycles
    np.testing.assert_array_equal(narrow.instructions, wide.instructions)


@pytest.mark.parametrize("seed", range(10))
def test_a_moved_program_computes_the_same(seed: int) -> None:
    r = random.Random(2000 + seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    plan = plan_activations(layers, schedules, GEOMETRY)
    layout = place_activations(layers, plan, schedules, GEOMETRY)
    for layer in layers.layers:
        pool = ConstantPool(ALIGNMENT + align(plan.size))
        part = SlicePart(whole(layer.workload), schedules[layer.task.id])
        draft = lower_part(layer, part, layout, pool, GEOMETRY)
        size, depth = footprint(draft, GEOMETRY), GEOMETRY.depth
        room = (depth.inp - size.inp, depth.wgt - size.wgt, depth.acc - size.acc)
        assert min(room) >= 0
        images = []
        for origin in (BufferOrigin(), BufferOrigin(*(r.randint(0, most) for most in room))):
            moved = draft.moved(origin)
            pool_of_one = ConstantPool(ALIGNMENT + align(plan.size))
            lower_part(layer, part, layout, pool_of_one, GEOMETRY)
            address = pool_of_one.place(moved.placed(0, depth.uop).micro_ops)
            placed = moved.placed(address // GEOMETRY.element_bytes.uop, depth.uop)
            dram = np.zeros(pool_of_one.end, np.uint8)
            pool_of_one.write(dram)
            rng = np.random.default_rng(seed)
            dram[ALIGNMENT : ALIGNMENT + plan.size] = rng.integers(
                0, 256, plan.size, dtype=np.uint8
            )
            stream = encoded(finished(placed.steps))
            assert first_error(verify(stream, GEOMETRY, dram)) is None
            execute(stream, GEOMETRY, dram)
            images.append(dram[: ALIGNMENT + plan.size])
        np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize("seed", range(20))
def test_micro_ops_of_moved_layers_stay_in_their_buffer(seed: int) -> None:
    """A table that a GEMM and an ALU instruction share may become two where layers are moved."""
    r = random.Random(3000 + seed)
    layers = random_segment(r)
    schedules = random_schedules(r, layers, CORE)
    plan = plan_activations(layers, schedules, GEOMETRY)
    layout = place_activations(layers, plan, schedules, GEOMETRY)
    pool = ConstantPool(ALIGNMENT + align(plan.size))
    drafts = []
    for layer in layers.layers:
        part = SlicePart(whole(layer.workload), schedules[layer.task.id])
        drafts.append(lower_part(layer, part, layout, pool, GEOMETRY))
    counts = [draft.micro_op_count for draft in drafts]
    for most in {max(counts), max(counts) + 2, 2 * max(counts), sum(counts), sum(counts) - 2}:
        geometry = replace(GEOMETRY, depth=replace(GEOMETRY.depth, uop=most))
        for placed in place_layers(drafts, pool.place, geometry):
            rows = decode(encoded([step.word for step in placed.placed(geometry).steps]))
            loads = (rows["opcode"] == Opcode.LOAD) & (rows["memory_type"] == MemoryType.UOP)
            assert loads.any()
            assert int((rows["sram_base"] + rows["x_size"])[loads].max()) <= most


def test_touched_ranges_are_those_of_every_micro_op_execution() -> None:
    r = random.Random(7)
    for _ in range(6):
        layers = random_segment(r)
        schedules = random_schedules(r, layers, CORE)
        plan = plan_activations(layers, schedules, GEOMETRY)
        layout = place_activations(layers, plan, schedules, GEOMETRY)
        pool = ConstantPool(ALIGNMENT + align(plan.size))
        for layer in layers.layers:
            part = SlicePart(whole(layer.workload), schedules[layer.task.id])
            placed = lower_part(layer, part, layout, pool, GEOMETRY).placed(0, 2048)
            words = encoded([step.word for step in placed.steps])
            found = accesses(words, placed.tables, GEOMETRY)
            for row, table, mine in zip(decode(words), placed.tables, found, strict=True):
                if table is None:
                    continue
                outer = range(int(row["iter_out"]))
                inner = range(int(row["iter_in"]))
                for column, shift, mask, name in (
                    (8, 0, 0x7FF, "dst"),
                    (0, 11, 0x7FF, "src"),
                    (2, 22, 0x3FF, "wgt"),
                ):
                    if name != "dst" and (row["opcode"] != Opcode.GEMM or row["reset"]):
                        continue
                    touched = {
                        (offset + table[1] >> shift & mask)
                        + a * int(row[f"{name}_out"])
                        + b * int(row[f"{name}_in"])
                        for offset in table[0].offsets
                        for a in outer
                        for b in inner
                    }
                    assert (min(touched), max(touched) + 1) == tuple(mine[column : column + 2])
