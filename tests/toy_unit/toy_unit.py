# ruff: noqa: ARG002 (protocols have more arguments than a small unit reads)
"""A kind of unit as its author would write it: a matrix-vector unit with one instruction.

``MATVEC rows columns`` multiplies a tile of the matrix, which it loads, with a part of a vector
and adds to partial sums. A schedule says how the matrix is cut, and whether all vectors go through
a tile before the next one is loaded, which spills their partial sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from compiler_core.errors import CheckError, InfeasibleError, InputError
from compiler_core.files.npz import MIB, NpzLimits, read_npz
from compiler_core.files.plain import from_plain
from compiler_core.quantize.arithmetic import IntegerTraits, usual_arithmetic
from compiler_core.targets.schema import UnitSection
from compiler_core.targets.unit_table import Figure
from compiler_core.tensor.digest import digest
from compiler_core.tensor.task import Task
from compiler_core.units.simulation import CounterTable, RefusedProgram, SimulatedProgram
from compiler_core.units.unit import TaskBound, TaskCost, UnitKind
from compiler_core.units.violation import Violation
from cost_models.task_features import BoundDepth, FeatureBatch
from search_spaces.parameter import Parameter
from search_spaces.task_space import SpaceTables


@dataclass(frozen=True)
class Machine:
    rows: int
    columns: int
    port_bytes: int
    clock_hz: float
    kind: str = "toy"


@dataclass(frozen=True)
class MatVec:
    """``vectors`` products with an int8 matrix ``[outputs, inputs]``."""

    outputs: int
    inputs: int
    vectors: int
    operator = "matrix_vector"
    digest = property(digest)
    macs = property(lambda self: self.outputs * self.inputs * self.vectors)
    shape = property(lambda self: f"{self.outputs}x{self.inputs} times {self.vectors}")


class Order(Enum):
    TILES_OUTSIDE = "tiles"
    VECTORS_OUTSIDE = "vectors"


@dataclass(frozen=True)
class Cut:
    rows: int
    columns: int
    order: Order = Order.VECTORS_OUTSIDE
    digest = property(digest)


def cycles(w: MatVec, rows: Any, columns: Any, tiles_outside: Any, m: Machine) -> Any:
    steps = -(-w.outputs // rows) * -(-w.inputs // columns)
    loads = np.where(tiles_outside, steps, steps * w.vectors) * -(-rows * columns // m.port_bytes)
    spills = np.where(
        tiles_outside & (steps > 1), steps * w.vectors * -(-4 * rows // m.port_bytes), 0
    )
    return 3 * steps * w.vectors + loads + spills


class Tasks:
    def default(self, w: MatVec, m: Machine) -> Cut:
        if min(w.outputs, w.inputs) < 1:
            raise InfeasibleError(f"no schedule of {w.shape} is legal")
        columns = max(n for n in range(1, m.columns + 1) if w.inputs % n == 0)
        return Cut(min(w.outputs, m.rows), columns)

    def violations(self, w: MatVec, s: Cut, m: Machine) -> tuple[Violation, ...]:
        if not isinstance(s, Cut):
            raise TypeError(f"{type(s).__name__} does not schedule a {type(w).__name__}")
        asked = (
            ("rows", s.rows, min(w.outputs, m.rows)),
            ("columns", s.columns, min(w.inputs, m.columns)),
        )
        return tuple(
            Violation(name, demand, bound, name, f"lower {name}")
            for name, demand, bound in asked
            if not 1 <= demand <= bound
        )

    def bound(self, w: MatVec, m: Machine) -> TaskBound:
        compute = 3 * -(-w.outputs // m.rows) * -(-w.inputs // m.columns) * w.vectors
        reads = -(-w.outputs * w.inputs // m.port_bytes)
        return TaskBound(compute + reads, "compute" if compute > reads else "reads")

    def measure(self, w: MatVec, s: Cut, m: Machine) -> TaskCost:
        if found := self.violations(w, s, m):
            raise InfeasibleError(f"schedule for {w.operator}: {found[0]}")
        total = int(cycles(w, s.rows, s.columns, s.order is Order.TILES_OUTSIDE, m))
        moved = {"matrix": w.outputs * w.inputs, "vectors": w.vectors * (w.inputs + w.outputs)}
        return TaskCost(total, 2.0 * w.macs, moved, {"array": {"busy_cycles": total}})


class Documents:
    def workload(self, value: Any, where: str, *, bounded: bool = False) -> MatVec:
        found = from_plain(MatVec, value, where)
        if min(found.outputs, found.inputs, found.vectors) < 1 or (
            bounded and found.macs > 1 << 40
        ):
            raise InputError(f"{where}: extents {found.shape}")
        return found

    def schedule(self, value: Any, where: str) -> Cut:
        return from_plain(Cut, value, where)

    def machine(self, value: Any, where: str) -> Machine:
        return from_plain(Machine, value, where)

    def machine_digest(self, machine: Machine) -> str:
        return digest(machine)


@dataclass(frozen=True)
class Arithmetic:
    """int8 products with a matrix that fits anywhere, requantized by shifts."""

    kind = "toy"
    traits = IntegerTraits(channel_block=1)
    general = property(lambda self: self)

    def unsupported(self, graph: Any, node: Any) -> str | None:
        if node.op not in ("Conv", "Dense", "MatMul", "Gemm"):
            return f"{node.op} is no product with a matrix."
        return usual_arithmetic().unsupported(graph, node)

    def unsupported_scheme(self, graph: Any, node: Any, scheme: Any) -> str | None:
        return usual_arithmetic().unsupported_scheme(graph, node, scheme)

    def misfit(self, window: Any) -> None:
        return None

    def parts(self, step: Any, source: Any, result: Any, fresh: Any) -> Any:
        return [(step, result)]


class Arithmetics:
    def of(self, machine: Any) -> Arithmetic:
        return Arithmetic()


class Layers:
    def layers(self, segment: Any, tensors: Any, from_cpu: Any) -> Any:
        found = []
        for operator in segment.operators:
            if hasattr(operator, "weight"):
                batch, _, height, width = tensors[operator.output].shape
                outputs, *inputs = operator.weight.shape
                vectors = batch * height * width * operator.groups
                work = MatVec(outputs // operator.groups, int(np.prod(inputs)), vectors)
                found.append(SimpleNamespace(operator=operator, task=Task("toy", work)))
        return SimpleNamespace(segment=segment, layers=tuple(found))

    def layout_varies(self, w: MatVec) -> bool:
        return False

    def input_bytes(self, w: MatVec, s: Cut, m: Machine) -> int:
        return w.inputs * w.vectors


class Spaces:
    def tables(self, w: MatVec, m: Machine) -> SpaceTables:
        rows, columns = (
            range(1, min(w.outputs, 32) + 1),
            [n for n in range(1, w.inputs + 1) if w.inputs % n == 0],
        )
        parameters = (
            Parameter("rows", tuple(rows)),
            Parameter("columns", tuple(columns)),
            Parameter("order", tuple(Order), ordered=False),
        )
        return SpaceTables(
            parameters, ("rows", "columns"), (m.rows, m.columns), free=("order",), leading=2
        )

    def broken(self, w: MatVec, rows: Any, limits: Any) -> Any:
        return rows[:, :2] > np.array(limits)

    def canonical(self, w: MatVec, rows: Any, cap: Any) -> Any:
        return rows

    def schedule(self, w: MatVec, values: Any) -> Cut:
        return Cut(**values)


class Features:
    columns = (
        ("log_steps", "ln", "tiles of the matrix"),
        ("fill", "1", "share of the array that a tile fills"),
        ("tiles_outside", "flag", "all vectors go through a tile at once"),
    )

    def features(self, w: MatVec, rows: Any, m: Machine) -> FeatureBatch:
        steps = -(-w.outputs // rows[:, 0]) * -(-w.inputs // rows[:, 1])
        fill = rows[:, 0] * rows[:, 1] / (m.rows * m.columns)
        values = np.stack([np.log(steps), fill, rows[:, 2] == 0], axis=1).astype(np.float32)
        return FeatureBatch(values, Tasks().bound(w, m).cycles, self.estimate(w, rows, m))

    def estimate(self, w: MatVec, rows: Any, m: Machine) -> Any:
        return 4.0 * -(-w.outputs // rows[:, 0]) * -(-w.inputs // rows[:, 1]) * w.vectors

    def bounds(self, w: MatVec, rows: Any, m: Machine, depth: BoundDepth, limit: Any = None) -> Any:
        steps = -(-w.outputs // rows[:, 0]) * -(-w.inputs // rows[:, 1])
        return np.maximum(3 * steps * w.vectors, Tasks().bound(w, m).cycles)

    def unread(self, depth: BoundDepth) -> tuple[str, ...]:
        return ("order",) if depth is BoundDepth.CLOSED else ()


class Simulation:
    profiles = ()

    def run(self, path: Any, m: Machine, *, profile=None, memory_bytes=None, trace=False) -> Any:
        program = read_npz(path, limits=NpzLimits(MIB, 1))["insn"].reshape(-1, 2)
        large = np.flatnonzero((program > (m.rows, m.columns)).any(axis=1))
        if len(large):
            fault = RefusedProgram(
                "tile_too_large", f"tile {program[large[0]]}", "cut it", int(large[0])
            )
            return SimulatedProgram(len(program), 0, "toy", refused=fault)
        total = self.cycles(program, m)
        table = CounterTable("cycles", ("part", "busy"), (("array", (total,)),))
        summary, memory = f"{len(program)} products", np.zeros(0, np.uint8)
        return SimulatedProgram(
            len(program), 0, "toy", cycles=total, memory=memory, summary=summary, tables=(table,),
            counters={"products": len(program)}, tracks=("array",), slices=tuple,
        )  # fmt: skip

    def cycles(self, instructions: Any, m: Machine) -> int:
        return int((3 - (-instructions.prod(axis=1) // m.port_bytes)).sum())

    def check(self, m: Machine) -> str:
        if self.cycles(np.array([[1, 1]]), m) != 4:
            raise CheckError("one product takes four cycles")
        return "one product, 4 cycles"


class Section(UnitSection):
    kind: Literal["toy"]
    rows: Annotated[int, Field(ge=1, le=1024)]
    columns: Annotated[int, Field(ge=1, le=1024)]
    port_bytes: Annotated[int, Field(ge=1, le=64)]


class Table:
    section = Section

    def machine(self, section: Section) -> Machine:
        return Machine(section.rows, section.columns, section.port_bytes, section.clock_hz)

    def figures(self, m: Machine) -> tuple[Figure, ...]:
        return (Figure("array", f"{m.rows}x{m.columns}", "array", f"{m.rows} x {m.columns}"),)


DOCUMENTS = Documents()

KIND = UnitKind(
    "toy",
    lowering_version=7,
    facets={
        "tasks": Tasks(),
        "documents": "toy_unit:DOCUMENTS",
        "arithmetic": Arithmetics(),
        "layers": Layers(),
        "table": Table(),
        "spaces": Spaces(),
        "features": Features(),
        "simulation": Simulation(),
    },
)
