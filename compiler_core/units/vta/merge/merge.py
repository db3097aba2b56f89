"""Joins the programs of several layers into one, ordered by tokens alone.

Layers follow one another in each module; a later one starts as soon as what it needs is there:
its first weights are loaded while the one before still computes (where the buffers hold both), its
inputs once the tiles that they hold are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.lower.draft import encoded
from compiler_core.units.vta.lower.loops import MicroOpTable
from compiler_core.units.vta.lower.tokens import (
    COMPUTE,
    LOAD,
    NOTHING,
    STORE,
    TOKENS_MAX,
    BareInstruction,
)
from compiler_core.units.vta.machine.hardware import VtaGeometry, VtaTiming
from compiler_core.units.vta.machine.isa import (
    MEMORY_FIELDS,
    MemoryType,
    Opcode,
    decode,
)
from compiler_core.units.vta.merge._order import order_layers
from compiler_core.units.vta.merge._tokens import token_flags
from compiler_core.units.vta.merge.accesses import (
    DRAM_FIRST,
    DRAM_PITCH,
    DRAM_ROW_BYTES,
    DRAM_ROWS,
    accesses,
)
from compiler_core.units.vta.merge.places import PlacedLayer
from compiler_core.units.vta.simulate.alike import timed_addresses, timed_words

_NO_OPERATION = int(Opcode.LOAD)
"""A LOAD of no micro-ops: the compute module runs it and touches nothing."""
_NO_OPERATION_WORDS = np.array([_NO_OPERATION, 0], np.uint64)
_TYPE = MEMORY_FIELDS["memory_type"]
_LOAD_OF_MICRO_OPS = (1 << 3) - 1 | (1 << _TYPE.width) - 1 << _TYPE.low


class Entry(NamedTuple):
    """How a layer begins while the one before still runs.

    Attributes:
        ahead: LOADs that wait for nothing of the program and go before its first other one.
        early: Of these, how many go before the first LOAD of the layer before that waits, where
            the buffers hold both layers.
        micro_ops_early: Whether its micro-ops are loaded when the layer before begins, where their
            buffer holds both.
    """

    ahead: int = 2
    early: int = 0
    micro_ops_early: bool = False


@dataclass(frozen=True, eq=False)
class Merged:
    """Several layers as one program.

    Attributes:
        instructions: ``uint8[n, 16]``.
        layers: ``int32[n]``, the layer of each; FINISH belongs to the last one.
        steps: ``int64[n]``, its number among the instructions of all layers one after another, or
            -1.
        awaited: The steps of STOREs that LOADs of later layers wait for.
        computes: ``bool[n]``, those that compute, or load accumulators.
    """

    instructions: npt.NDArray[np.uint8]
    layers: npt.NDArray[np.int32]
    steps: npt.NDArray[np.int64]
    awaited: npt.NDArray[np.int64]
    computes: npt.NDArray[np.bool_]


class JoinedInstructions:
    """The instructions of all layers, one layer after another, not yet in order.

    Args:
        layers: In order of the program.
        geometry: The machine.
    """

    def __init__(self, layers: Sequence[PlacedLayer], geometry: VtaGeometry) -> None:
        self._layers, self._geometry = layers, geometry
        steps: list[BareInstruction] = []
        tables: list[tuple[MicroOpTable, int] | None] = []
        self._starts = [0]
        for layer in layers:
            placed = layer.placed(geometry)
            steps += placed.steps
            tables += placed.tables
            self._starts.append(len(steps))
        self._layer_of = np.repeat(np.arange(len(layers)), np.diff(self._starts))
        words = encoded([step.word for step in steps])
        self._words = words.view(np.uint64)
        self._computes = _computing(words)
        self._touched = accesses(words, tables, geometry)
        self._module = np.array([step.module for step in steps], np.int64)
        # Each layer's own numbers, put behind those of the layers before.
        needs = np.array([(step.previous, step.following) for step in steps], np.int64)
        offsets = np.array(self._starts[:-1], np.int64)[self._layer_of]
        self._needs = np.where(needs >= 0, needs + offsets[:, None], NOTHING)
        self._region = self._written()
        self._free = self._waits_for_nothing()
        self._ahead = [
            start + np.flatnonzero(self._free[start:stop]) for start, stop in pairwise(self._starts)
        ]
        pairs = [(layer, before) for before, layer in pairwise(layers)]
        self._beside = [False, *(layer.beside(before) for layer, before in pairs)]
        deep = geometry.depth.uop
        self._micro_ops_beside = [
            False,
            *(layer.micro_ops_beside(before, deep) for layer, before in pairs),
        ]

    def __len__(self) -> int:
        return len(self._layers)

    def instruction_count(self, layers: range) -> int:
        """Instructions of some layers, without those that only order them."""
        return self._starts[layers.stop] - self._starts[layers.start]

    def digests(self, timing: VtaTiming) -> tuple[bytes, ...]:
        """Of all that the cycles of some layers' program depend on, layer by layer: where equal
        arrays that no layer writes lie in DRAM is none of it.

        Args:
            timing: Of the machine.
        """
        found: list[bytes] = []
        words = self._words.copy()
        touched = self._touched.copy()
        apart = self._outside()
        words[apart] = timed_words(words[apart].view(np.uint8), timing)
        touched[apart, DRAM_FIRST] = timed_addresses(touched[apart, DRAM_FIRST], timing)
        for first, stop in pairwise(self._starts):
            state = blake2b(np.array([*self._region, stop - first]).tobytes(), digest_size=16)
            needs = np.where(self._needs[first:stop] >= 0, self._needs[first:stop] - first, NOTHING)
            for array in (words, touched, self._free):
                state.update(np.ascontiguousarray(array[first:stop]).tobytes())
            state.update(needs.tobytes())
            layer = self._layers[len(found)]
            state.update(repr((layer.origin, layer.size, layer.micro_op_begin)).encode())
            state.update(repr((layer.draft.micro_op_count, layer.draft.marks)).encode())
            state.update(repr((layer.draft.preload, self._geometry)).encode())
            found.append(state.digest())
        return tuple(found)

    def taken(self, entries: Sequence[Entry], which: range) -> tuple[Entry, ...]:
        """What is left of how some layers begin: no more LOADs than there are, and nothing early
        that the buffers do not hold beside the layer before. Where that is equal, programs are."""
        found = []
        for number in which:
            entry, follows = entries[number], number > which.start
            ahead = min(entry.ahead, len(self._ahead[number]))
            early = min(entry.early, ahead) if follows and self._beside[number] else 0
            sooner = entry.micro_ops_early and follows and self._micro_ops_beside[number]
            found.append(Entry(ahead, early, sooner))
        return tuple(found)

    def merge(
        self,
        entries: Sequence[Entry],
        carriers: Mapping[int, int] | None = None,
        layers: range | None = None,
    ) -> Merged:
        """Joins layers into one program.

        Args:
            entries: How each layer begins.
            carriers: Computations that are to follow a STORE though they need not, so that LOADs
                of later layers find one to wait for: its step by theirs, see
                :attr:`Merged.steps`.
            layers: Which, one after another; else all.
        """
        which = layers or range(len(self))
        order, block = self._ordered(entries, which)
        first = self._starts[which.start]
        place_of = np.full(len(order) + 1, NOTHING, np.int64)
        place_of[order - first] = np.arange(len(order))
        needs = self._needs[order]
        carry = np.full(len(order), NOTHING, np.int64)
        for computation, store in (carriers or {}).items():
            carry[place_of[computation - first]] = place_of[store - first]
        depth = self._geometry.depth
        source, found, asked = order_layers(
            self._module[order],
            place_of[np.where(needs >= 0, needs - first, NOTHING)],
            block,
            self._touched[order],
            carry,
            (depth.inp, depth.wgt, depth.acc),
            self._written_by(order),
        )
        layer_of = self._layer_of[order]
        # A no-operation carries what the next instruction waits for.
        known = np.where(source >= 0, np.arange(len(source)), len(source))
        following = np.minimum.accumulate(known[::-1])[::-1]
        of_layer = np.append(layer_of[source[following]], which.stop - 1).astype(np.int32)
        step_of = np.append(np.where(source < 0, NOTHING, order[source]), NOTHING)
        awaited = order[np.flatnonzero(asked)]
        program = self._encoded(order, source, found)
        computes = self._computes[step_of] & (step_of >= 0)
        return Merged(program, of_layer, step_of, awaited, computes)

    def _encoded(
        self,
        order: npt.NDArray[np.int64],
        source: npt.NDArray[np.int64],
        needs: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.uint8]:
        """Instructions with their tokens; see :func:`order_layers` for the arguments."""
        there = source >= 0
        at = order[np.where(there, source, 0)]
        module = np.where(there, self._module[at], COMPUTE)
        flags = token_flags(module, needs, TOKENS_MAX)
        words = np.zeros((len(source) + 1, 2), np.uint64)
        words[:-1] = np.where(there[:, None], self._words[at], _NO_OPERATION_WORDS)
        words[-1, 0] = int(Opcode.FINISH)
        words[:, 0] |= flags
        return words.view(np.uint8)

    def _written(self) -> tuple[int, int, int]:
        """First byte and bytes of the DRAM that STOREs write, and a granule of it."""
        mine = self._touched[self._module == STORE]
        first = int(mine[:, DRAM_FIRST].min())
        last = int(_dram_ends(mine).max())
        bytes_of = self._geometry.element_bytes
        return first, last - first, min(bytes_of.inp, bytes_of.out)

    def _written_by(self, order: npt.NDArray[np.int64]) -> tuple[int, int, int]:
        """Of that, what some instructions write, in the largest granules that divide all they
        transfer there."""
        first, _, granule = self._region
        touched, stores = self._touched[order], self._module[order] == STORE
        starts, ends = touched[:, DRAM_FIRST], _dram_ends(touched)
        begin = (int(starts[stores].min()) - first) // granule * granule + first
        end = int(ends[stores].max())
        inside = touched[(starts < end) & (ends > begin)]
        several = inside[inside[:, DRAM_ROWS] > 1]
        parts = (inside[:, DRAM_FIRST] - begin, inside[:, DRAM_ROW_BYTES], several[:, DRAM_PITCH])
        common = int(np.gcd.reduce(np.concatenate(parts)))
        return begin, end - begin, granule if common % granule else common

    def _waits_for_nothing(self) -> npt.NDArray[np.bool_]:
        """LOADs that fill their place for the first time with what the program does not write."""
        return np.asarray((self._module == LOAD) & (self._needs[:, 1] == NOTHING) & self._outside())

    def _outside(self) -> npt.NDArray[np.bool_]:
        """Instructions that touch nothing of what STOREs write."""
        first, size, _ = self._region
        starts = self._touched[:, DRAM_FIRST]
        return np.asarray((_dram_ends(self._touched) <= first) | (starts >= first + size))

    def _ordered(
        self, entries: Sequence[Entry], which: range
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The order of the instructions, and the layer among whose instructions each stands."""
        none = np.zeros(0, np.int64)
        own, ahead, early, micro_ops = {}, {}, {which.stop: none}, {which.stop: none}
        for number, entry in zip(which, self.taken(entries, which), strict=True):
            start, stop = self._starts[number], self._starts[number + 1]
            free = self._ahead[number][: entry.ahead]
            early[number] = free[: entry.early]
            micro_ops[number] = np.array([start]) if entry.micro_ops_early else none
            ahead[number] = free[entry.early :]
            stays = np.ones(stop - start, np.bool_)
            stays[free - start] = False
            stays[micro_ops[number] - start] = False
            own[number] = start + np.flatnonzero(stays)
        order: list[npt.NDArray[np.int64]] = []
        block: list[npt.NDArray[np.int64]] = []
        for number in which:
            mine = own[number]
            loads = int(self._words[int(mine[0]), 0]) & _LOAD_OF_MICRO_OPS == _NO_OPERATION
            begins = int(loads and not len(micro_ops[number]))
            first, later = micro_ops[number + 1], early[number + 1]
            parts = (mine[:begins], first, ahead[number], later, mine[begins:])
            order += parts
            block.append(np.full(sum(map(len, parts)), number))
        return np.concatenate(order), np.concatenate(block)


def _dram_ends(touched: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    ends = touched[:, DRAM_FIRST] + (touched[:, DRAM_ROWS] - 1) * touched[:, DRAM_PITCH]
    return np.asarray(ends + touched[:, DRAM_ROW_BYTES])


def carriers_of(
    merged: Merged, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> dict[int, int]:
    """The computations that can follow the awaited STOREs without waiting.

    Args:
        merged: A program.
        starts, ends: ``int64[n]``, cycles of its instructions.

    Returns:
        Step of the STORE by that of the computation.
    """
    mine = np.flatnonzero(merged.computes)
    known = np.flatnonzero(merged.steps >= 0)
    first = int(merged.steps[known].min())
    place_of = np.full(int(merged.steps.max()) + 1 - first, NOTHING)
    place_of[merged.steps[known] - first] = known
    stores = np.sort(merged.awaited)
    places = place_of[stores - first]
    after = np.maximum(np.searchsorted(starts[mine], ends[places]), np.searchsorted(mine, places))
    inside = after < len(mine)
    carriers = merged.steps[mine[after[inside]]]
    return dict(zip(carriers.tolist(), stores[inside].tolist(), strict=True))


def _computing(instructions: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    rows = decode(instructions)
    opcode = rows["opcode"]
    computes = (opcode == Opcode.GEMM) | (opcode == Opcode.ALU)
    computes |= (opcode == Opcode.LOAD) & (rows["memory_type"] == MemoryType.ACC)
    return np.asarray(computes)
