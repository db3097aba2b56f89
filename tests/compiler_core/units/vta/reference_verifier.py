"""Plain verifier of small programs, and a generator of programs that come close to the rules.

Every loop is run, every element and every four DRAM bytes are members of Python sets,
happens-before is a graph searched depth first, and accesses are compared pair by pair.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import BufferDepth, ElementBytes, VtaGeometry
from compiler_core.units.vta.machine.isa import INSTRUCTION_DTYPE, decode, encode

LOAD, STORE, GEMM, FINISH, ALU = range(5)
UOP, WGT, INP, ACC, OUT = range(5)
SHR = 3
LOAD_MODULE, COMPUTE_MODULE, STORE_MODULE = range(3)
NAMES = ("load", "compute", "store")
WORD = 4

GEOMETRY = VtaGeometry(
    1, 16, 16, ElementBytes(4, 16, 256, 64, 16), BufferDepth(uop=8, inp=12, wgt=8, acc=12)
)
"""Buffers so small that random programs meet in them."""
DRAM_BYTES = 0x1000 + 6144

Row = dict[str, int]
Place = tuple[str, int]


class Expected(NamedTuple):
    """What has to be found; ``demanded`` only where the reference states it."""

    finding_class: str
    severity: str
    instruction: int
    resource: str
    demanded: str = ""


class Access(NamedTuple):
    reads: frozenset[Place]
    writes: frozenset[Place]


def module_of(row: Row) -> int:
    if row["opcode"] == STORE:
        return STORE_MODULE
    if row["opcode"] == LOAD and row["memory_type"] in (INP, WGT):
        return LOAD_MODULE
    return COMPUTE_MODULE


def token_sides(row: Row) -> tuple[list[str], list[str]]:
    """Counters that an instruction pops and pushes."""
    here = NAMES[module_of(row)]
    before = {"compute": "load", "store": "compute"}.get(here)
    after = {"load": "compute", "compute": "store"}.get(here)
    pops, pushes = [], []
    for side, neighbour in (("prev", before), ("next", after)):
        if row[f"pop_{side}"] and neighbour:
            pops.append(f"{neighbour}->{here}")
        if row[f"push_{side}"] and neighbour:
            pushes.append(f"{here}->{neighbour}")
    return pops, pushes


def executions(row: Row, micro_ops: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    for o in range(row["iter_out"]):
        for i in range(row["iter_in"]):
            for u in range(row["uop_begin"], row["uop_end"]):
                dst, src, wgt = micro_ops[u]
                yield (
                    dst + o * row["dst_out"] + i * row["dst_in"],
                    src + o * row["src_out"] + i * row["src_in"],
                    wgt + o * row["wgt_out"] + i * row["wgt_in"],
                )


def dram_words(row: Row, element_bytes: int) -> list[int]:
    words = []
    for y in range(row["y_size"]):
        start = (row["dram_base"] + y * row["x_stride"]) * element_bytes
        words += range(start // WORD, (start + row["x_size"] * element_bytes) // WORD)
    return words


def sram_elements(row: Row) -> range:
    height = row["y_pad_0"] + row["y_size"] + row["y_pad_1"]
    width = row["x_pad_0"] + row["x_size"] + row["x_pad_1"]
    return range(row["sram_base"], row["sram_base"] + height * width)


class ReferenceVerifier:
    """Checks of a program with known codes, legal flags and FINISH at its end."""

    def __init__(
        self,
        instructions: npt.NDArray[np.uint8],
        dram: npt.NDArray[np.uint8],
        geometry: VtaGeometry = GEOMETRY,
    ) -> None:
        decoded = decode(instructions)
        names = decoded.dtype.names or ()
        self.rows: list[Row] = [dict(zip(names, row.tolist(), strict=True)) for row in decoded]
        self.dram = dram
        self.depth = {
            UOP: geometry.depth.uop,
            WGT: geometry.depth.wgt,
            INP: geometry.depth.inp,
            ACC: geometry.depth.acc,
            OUT: geometry.depth.acc,
        }
        self.bytes = {
            t: getattr(geometry.element_bytes, n)
            for t, n in enumerate(("uop", "wgt", "inp", "acc", "out"))
        }
        self.found: set[Expected] = set()
        self.access: list[Access] = []
        self.edges: list[list[int]] = [[] for _ in self.rows]

    def run(self) -> set[Expected]:
        executed = self._follow_micro_ops()
        legal = not any(item.finding_class.endswith("out_of_range") for item in self.found)
        if self._match_tokens() and legal:
            self._find_races()
            self._follow_accumulators(executed)
        return self.found

    def _add(
        self, name: str, row: int, resource: str, demanded: str = "", severity: str = "error"
    ) -> None:
        self.found.add(Expected(name, severity, row, resource, demanded))

    def _follow_micro_ops(self) -> list[list[tuple[int, int, int]]]:
        """Ranges, micro-op rules, and the sets of places that each instruction reads and writes."""
        buffer = [(0, 0, 0)] * self.depth[UOP]
        loaded: set[int] = set()
        executed: list[list[tuple[int, int, int]]] = []
        for index, row in enumerate(self.rows):
            executed.append([])
            self._alu_fields(index, row)
            reads: set[Place] = set()
            writes: set[Place] = set()
            if row["opcode"] in (LOAD, STORE) and row["x_size"]:
                self._transfer(index, row, reads, writes, buffer, loaded)
            elif row["opcode"] in (GEMM, ALU):
                if row["uop_end"] > self.depth[UOP]:
                    self._add("sram_out_of_range", index, "uop SRAM")
                else:
                    executed[-1] = list(executions(row, buffer))
                    self._loops(index, row, executed[-1], buffer, loaded)
                    for dst, src, wgt in executed[-1]:
                        writes.add(("acc", dst))
                        if row["opcode"] == GEMM and not row["reset"]:
                            reads |= {("inp", src), ("wgt", wgt), ("acc", dst)}
                        if row["opcode"] == ALU:
                            reads |= {("acc", dst), ("acc", dst if row["use_imm"] else src)}
            self.access.append(Access(frozenset(reads), frozenset(writes)))
        return executed

    def _transfer(
        self,
        index: int,
        row: Row,
        reads: set[Place],
        writes: set[Place],
        buffer: list[tuple[int, int, int]],
        loaded: set[int],
    ) -> None:
        kind = row["memory_type"]
        name = ("uop", "wgt", "inp", "acc", "acc")[kind]
        elements = sram_elements(row)
        words = dram_words(row, self.bytes[kind])
        if elements[-1] >= self.depth[kind]:
            resource = "out SRAM" if kind == OUT else f"{name} SRAM"
            self._add("sram_out_of_range", index, resource)
        if max(words) * WORD + WORD > len(self.dram):
            self._add("dram_out_of_range", index, "DRAM")
        on_chip, in_dram = (reads, writes) if row["opcode"] == STORE else (writes, reads)
        on_chip |= {(name, element) for element in elements}
        in_dram |= {("dram", word) for word in words}
        if kind == UOP:
            for element, word in zip(elements, words, strict=True):
                at = word * WORD
                if element < self.depth[UOP]:
                    value = int.from_bytes(self.dram[at : at + WORD].tobytes(), "little")
                    if at + WORD > len(self.dram):
                        value = 0
                    buffer[element] = (value & 2047, value >> 11 & 2047, value >> 22)
                    loaded.add(element)

    def _loops(
        self,
        index: int,
        row: Row,
        executed: list[tuple[int, int, int]],
        buffer: list[tuple[int, int, int]],
        loaded: set[int],
    ) -> None:
        gemm = row["opcode"] == GEMM and not row["reset"]
        tensor = row["opcode"] == ALU and not row["use_imm"]
        for role, name, kind, used in (
            (0, "acc", ACC, True),
            (1, "inp", INP, gemm),
            (1, "acc", ACC, tensor),
            (2, "wgt", WGT, gemm),
        ):
            if used and max(e[role] for e in executed) >= self.depth[kind]:
                self._add("sram_out_of_range", index, f"{name} SRAM")
        used_micro_ops = range(row["uop_begin"], row["uop_end"])
        if not loaded.issuperset(used_micro_ops):
            self._add("uninitialised_read", index, "uop SRAM")
        destinations = [e[0] for e in executed]
        immediate = row["opcode"] == ALU and row["use_imm"]
        distances = {GEMM: (1, 2), ALU: (1,) if immediate else ()}[row["opcode"]]
        for distance in distances:
            if any(a == b for a, b in zip(destinations, destinations[distance:], strict=False)):
                self._add("hardware_rule", index, "micro-op dst")
        if immediate and any(buffer[u][0] != buffer[u][1] for u in used_micro_ops):
            self._add("hardware_rule", index, "micro-op src")

    def _alu_fields(self, index: int, row: Row) -> None:
        if row["opcode"] == ALU and row["use_imm"]:
            for side in ("out", "in"):
                if row[f"dst_{side}"] != row[f"src_{side}"]:
                    self._add("hardware_rule", index, f"src_{side}")
        elif row["opcode"] == ALU and row["alu_opcode"] == SHR:
            self._add("hardware_rule", index, "shift amount", severity="warning")

    def _match_tokens(self) -> bool:
        """Edges of happens-before; False for a program that deadlocks."""
        pushed: dict[str, list[int]] = {}
        popped: dict[str, int] = {}
        previous: dict[int, int] = {}
        for index, row in enumerate(self.rows):
            if (module := module_of(row)) in previous:
                self.edges[previous[module]].append(index)
            previous[module] = index
            pops, pushes = token_sides(row)
            for counter in pops:
                at = popped.get(counter, 0)
                if at == len(pushed.get(counter, [])):
                    self._add("deadlock", -1, "")
                    return False
                self.edges[pushed[counter][at]].append(index)
                popped[counter] = at + 1
            for counter in pushes:
                pushed.setdefault(counter, []).append(index)
        for counter, sources in pushed.items():
            if len(sources) > popped.get(counter, 0):
                row_index = sources[popped.get(counter, 0)]
                self._add("token_left_over", row_index, f"{counter} tokens")
        finish = len(self.rows) - 1
        for index, row in enumerate(self.rows):
            module = module_of(row)
            if module != COMPUTE_MODULE and finish not in self._after(index):
                self._add("finish_not_ordered", finish, f"{NAMES[module]} module")
        return True

    def _after(self, index: int) -> set[int]:
        seen: set[int] = set()
        stack = [index]
        while stack:
            for other in self.edges[stack.pop()]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return seen

    def _find_races(self) -> None:
        after = [self._after(index) for index in range(len(self.rows))]
        stored: set[Place] = set()
        for late, row in enumerate(self.rows):
            raced: set[Place] = set()
            mine = self.access[late]
            for early in range(late):
                if module_of(self.rows[early]) == module_of(row) or late in after[early]:
                    continue
                theirs = self.access[early]
                raced |= (mine.writes & (theirs.reads | theirs.writes)) | (
                    mine.reads & theirs.writes
                )
            for memory in ("inp", "wgt", "acc", "dram"):
                places = [place for name, place in raced if name == memory]
                if places and memory == "dram":
                    demanded = f"{len(places) * WORD} bytes from {min(places) * WORD:#x} on"
                    self._add("data_race", late, "DRAM", demanded)
                elif places:
                    demanded = f"{len(places)} elements from {min(places)} on"
                    self._add("data_race", late, f"{memory} SRAM", demanded)
            if row["opcode"] == LOAD and row["memory_type"] == UOP and mine.reads & stored:
                self._add("hardware_rule", late, "micro-ops in DRAM")
            if row["opcode"] == STORE:
                stored |= mine.writes

    def _follow_accumulators(self, executed: list[list[tuple[int, int, int]]]) -> None:
        defined: set[int] = set()
        computed: set[int] = set()
        loaded: set[Place] = set()
        for index, row in enumerate(self.rows):
            written = {place for name, place in self.access[index].writes if name == "acc"}
            if row["opcode"] == LOAD:
                loaded |= self.access[index].writes
                defined |= written
                computed -= written
            elif row["opcode"] == GEMM and row["reset"]:
                defined |= written
                computed -= written
            elif row["opcode"] in (GEMM, ALU):
                computed |= written
            if row["opcode"] == ALU and not row["use_imm"]:
                for dst, src, _ in executed[index]:
                    if src not in defined:
                        defined.discard(dst)
            if row["opcode"] == GEMM:
                for memory in ("inp", "wgt"):
                    used = {p for p in self.access[index].reads if p[0] == memory}
                    self._uninitialised(index, memory, {p[1] for p in used - loaded})
            if row["opcode"] == STORE:
                used_elements = {p for name, p in self.access[index].reads if name == "acc"}
                self._uninitialised(index, "acc", used_elements - defined)
                if missing := used_elements - computed:
                    demanded = f"{len(missing)} elements from {min(missing)} on"
                    self._add("hardware_rule", index, "acc SRAM", demanded)

    def _uninitialised(self, index: int, memory: str, places: set[int]) -> None:
        if places:
            demanded = f"{len(places)} elements from {min(places)} on"
            self._add("uninitialised_read", index, f"{memory} SRAM", demanded, "warning")


def random_dram(rng: random.Random) -> npt.NDArray[np.uint8]:
    """DRAM in which every word is a micro-op with small indices, half of them with src = dst."""
    words = np.zeros(DRAM_BYTES // WORD, "<u4")
    for at in range(0x1000 // WORD, len(words)):
        dst = rng.randrange(4)
        src = dst if rng.random() < 0.7 else rng.randrange(4)
        words[at] = dst | src << 11 | rng.randrange(3) << 22
    return words.view(np.uint8)


def random_program(rng: random.Random) -> npt.NDArray[np.uint8]:
    """A program whose tokens mostly balance and whose places mostly are in range, often shared."""
    rows: list[Row] = []
    counters = ("load->compute", "compute->load", "compute->store", "store->compute")
    tokens = dict.fromkeys(counters, 0)
    eager = rng.choice((0.2, 0.5, 0.9))

    def emit(row: Row, pops: float, pushes: float) -> None:
        full = dict.fromkeys(INSTRUCTION_DTYPE.names or (), 0) | row
        here = NAMES[module_of(full)]
        for side, neighbours in (
            ("prev", {"compute": "load", "store": "compute"}),
            ("next", {"load": "compute", "compute": "store"}),
        ):
            if here not in neighbours:
                continue
            counter = f"{neighbours[here]}->{here}"
            if tokens[counter] and rng.random() < pops:
                tokens[counter] -= 1
                full[f"pop_{side}"] = 1
            if rng.random() < pushes:
                tokens[f"{here}->{neighbours[here]}"] += 1
                full[f"push_{side}"] = 1
        rows.append(full)

    if rng.random() < 0.8:
        emit(_transfer(rng, UOP, x_size=8, sram_base=0, dram_base=0x400), 0, 0)
    for _ in range(rng.randrange(2, 22)):
        emit(_random_instruction(rng), eager, eager * 0.7)
    drain = {
        "compute->load": {"opcode": LOAD, "memory_type": INP},
        "compute->store": {"opcode": STORE, "memory_type": OUT},
        "load->compute": {"opcode": LOAD, "memory_type": UOP},
        "store->compute": {"opcode": LOAD, "memory_type": UOP},
    }
    if rng.random() < 0.9:
        for counter in ("compute->load", "compute->store"):
            while tokens[counter]:
                emit(drain[counter], 1, 0)
        emit({"opcode": LOAD, "memory_type": INP}, 0, 1)
        emit({"opcode": STORE, "memory_type": OUT}, 0, 1)
        while tokens["load->compute"] or tokens["store->compute"]:
            emit(drain["load->compute"], 1, 0)
    emit({"opcode": FINISH}, 0, 0)
    if rng.random() < 0.15:
        victim = rng.choice(rows)
        allowed = {0: ("next",), 1: ("prev", "next"), 2: ("prev",)}[module_of(victim)]
        victim[f"{rng.choice(('pop', 'push'))}_{rng.choice(allowed)}"] ^= 1
    return encode(np.array([tuple(row.values()) for row in rows], INSTRUCTION_DTYPE))


def _transfer(rng: random.Random, kind: int, **values: int) -> Row:
    return {
        "opcode": STORE if kind == OUT else LOAD,
        "memory_type": kind,
        "y_size": 1,
        "x_stride": rng.randrange(3),
    } | values


def _random_instruction(rng: random.Random) -> Row:
    kind = rng.choice((UOP, WGT, INP, INP, ACC, OUT, OUT, "gemm", "gemm", "alu", "alu"))
    far = 3 if rng.random() < 0.02 else 0
    if isinstance(kind, int):
        size = (4, 256, 16, 64, 16)[kind]
        span = (DRAM_BYTES - 0x1000) // size
        row = _transfer(
            rng,
            kind,
            sram_base=rng.randrange((4, 3, 6, 6, 6)[kind]) + far,
            dram_base=0x1000 // size + rng.randrange(max(1, span - 9)),
            x_size=rng.choice((0, 1, 2, 3)),
            y_size=1 if kind == UOP else rng.randrange(1, 3),
        )
        if kind in (INP, ACC) and rng.random() < 0.2:
            row["x_size"] = 1
            row[rng.choice(("y_pad_0", "x_pad_0", "x_pad_1"))] = 1
        return row
    begin = rng.randrange(6)
    row = {
        "opcode": GEMM if kind == "gemm" else ALU,
        "reset": int(kind == "gemm" and rng.random() < 0.4),
        "uop_begin": begin,
        "uop_end": begin + rng.randrange(1, 3) + far,
        "iter_out": rng.randrange(1, 4),
        "iter_in": rng.randrange(1, 4),
    }
    for name in ("dst_out", "dst_in", "src_out", "src_in"):
        row[name] = rng.randrange(3) + far
    if kind == "gemm":
        row |= {"wgt_out": rng.randrange(2), "wgt_in": rng.randrange(2)}
    else:
        row |= {"alu_opcode": rng.randrange(4), "use_imm": rng.randrange(2), "imm": 3}
        if row["use_imm"] and rng.random() < 0.8:
            row |= {"src_out": row["dst_out"], "src_in": row["dst_in"]}
    return row
