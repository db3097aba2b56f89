# ruff: noqa: ARG002 (protocols have more arguments than a small unit reads)
"""A kind of unit as its author would write it: a matrix-vector unit with one instruction.

``MATVEC rows columns`` multiplies a tile of the matrix, which it loads, with a part of a vector
and adds to partial sums. A schedule says how the matrix is cut, and whether all vectors go through
a tile before the next one is loaded, which spills their partial sums.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from compiler_core.errors import CheckError, InfeasibleError, InputError, InternalError
from compiler_core.files.npz import MIB, NpzLimits, read_npz
from compiler_core.files.plain import from_plain
from compiler_core.files.trace import TraceSlice
from compiler_core.quantize.arithmetic import IntegerTraits, usual_arithmetic
from compiler_core.quantize.ir import tensors_of
from compiler_core.targets.schema import UnitSection
from compiler_core.targets.unit_table import Figure
from compiler_core.tensor.digest import digest
from compiler_core.tensor.task import Task
from compiler_core.units.facets.profiles import LaunchSlice, Roof
from compiler_core.units.facets.programs import (
    CoreCost,
    LaunchCost,
    LaunchState,
    LinkedSegments,
    MemoryUse,
)
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
        cost = Programs().time(Launch("", "", (), "", tiles(w, s)), m)
        assert cost.cycles == cycles(w, s.rows, s.columns, s.order is Order.TILES_OUTSIDE, m)
        modules = {"array": {"busy_cycles": cost.cycles}}
        moved = cost.cores[0].moved_bytes
        return TaskCost(cost.cycles, cost.energy_pj, moved, modules, cost.read_cycles)


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
    def layers(self, segment: Any, tensors: Any, from_cpu: Any, machine: Any) -> Any:
        found = []
        for operator in segment.operators:
            if hasattr(operator, "weight"):
                batch, _, height, width = tensors[operator.output].shape
                outputs, *inputs = operator.weight.shape
                vectors = batch * height * width * operator.groups
                work = MatVec(outputs // operator.groups, int(np.prod(inputs)), vectors)
                found.append(SimpleNamespace(operator=operator, task=Task("toy", work)))
        names = {name for operator in segment.operators for name in tensors_of(operator)}
        shapes = {name: tensors[name].shape for name in sorted(names)}
        return SimpleNamespace(segment=segment, layers=tuple(found), shapes=shapes)

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


class Launch:
    """One product: a ``MATVEC`` for each tile, four int32 each."""

    def __init__(self, name: str, layer: str, sources: Any, task: str, words: Any, core: int = 0):
        self.name, self.layer, self.sources, self.task = name, layer, tuple(sources), task
        self.words, self.cores = words, (core,)
        self.code, self.instruction_count = words.tobytes(), len(words)
        self.own_code = self.code

    def on_core(self, core: int) -> Launch:
        return Launch(self.name, self.layer, self.sources, self.task, self.words, core)


class Segment:
    kind = "toy"

    def __init__(self, name: str, operators: Any, inputs: Any, outputs: Any, launches: Any):
        self.name, self.operators = name, tuple(operators)
        self.inputs, self.outputs, self.launches = tuple(inputs), tuple(outputs), tuple(launches)
        self.constants = b"".join(o.weight.tobytes() + o.bias.tobytes() for o in self.operators)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def with_launches(self, launches: Any) -> Segment:
        same = Segment(self.name, self.operators, self.inputs, self.outputs, launches)
        same.shapes = self.shapes
        return same

    def tensor_bytes(self, name: str) -> int:
        return int(np.prod(self.shapes[name]))


def tiles(work: MatVec, cut: Cut) -> Any:
    """Words of rows, columns, whether the tile is loaded, whether partial sums are spilled."""
    steps = -(-work.outputs // cut.rows) * -(-work.inputs // cut.columns)
    outside = cut.order is Order.TILES_OUTSIDE
    words = np.tile(np.array([[cut.rows, cut.columns, 1, 0]], "<i4"), (steps * work.vectors, 1))
    if outside:
        words[:, 2] = np.arange(len(words)) % work.vectors == 0
        words[:, 3] = steps > 1
    return words


def word_cycles(words: Any, m: Machine) -> Any:
    rows, columns, loads, spills = words.T.astype(np.int64)
    return 3 + loads * -(-rows * columns // m.port_bytes) + spills * -(-4 * rows // m.port_bytes)


class Session:
    """Computes a segment: the tiles of a product add up to it."""

    def __init__(self, tensors: Any):
        self.tensors = tensors

    def run(self, segment: Segment, inputs: Any, observer: Any = None) -> Any:
        known = dict(inputs)
        by_name = {operator.name: operator for operator in segment.operators}
        for launch in segment.launches:
            operator = by_name[launch.layer]
            known[operator.output] = product(operator, known[operator.input])
            if observer is not None:
                files = {"insn.bin": launch.code, "vector.bin": known[operator.output].tobytes()}
                observer(LaunchState(segment, launch, 0, launch.instruction_count, files))
        return {name: known[name] for name in segment.outputs}


def product(o: Any, x: Any) -> Any:
    """A convolution as products with a matrix, requantized: int8[N, C, H, W]."""
    top, left, bottom, right = o.pads
    x = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    (outputs, depth, kh, kw), (n, _, height, width) = o.weight.shape, x.shape
    spread = [d * (k - 1) + 1 for d, k in zip(o.dilations, (kh, kw), strict=True)]
    h, w = (height - spread[0]) // o.strides[0] + 1, (width - spread[1]) // o.strides[1] + 1
    sums = np.zeros((n, outputs, h, w), np.int64) + o.bias[:, None, None]
    own = outputs // o.groups
    for at in np.ndindex(kh, kw):
        y0, x0 = (a * d for a, d in zip(at, o.dilations, strict=True))
        part = x[:, :, y0 : y0 + (h - 1) * o.strides[0] + 1 : o.strides[0]]
        part = part[..., x0 : x0 + (w - 1) * o.strides[1] + 1 : o.strides[1]]
        for group in range(o.groups):
            matrix = o.weight[group * own : (group + 1) * own, :, at[0], at[1]].astype(np.int64)
            vectors = part[:, group * depth : (group + 1) * depth]
            sums[:, group * own : (group + 1) * own] += np.einsum("oc,nchw->nohw", matrix, vectors)
    shift = o.shift if o.channel_shifts is None else o.channel_shifts[:, None, None]
    down, up = np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)
    sums = (sums + (1 << down >> 1) >> down) << up
    return np.clip(sums, o.clip_min, o.clip_max).astype(np.int8)


class Programs:
    joins_layers = False

    def link(self, request: Any) -> LinkedSegments:
        segments, constants, sizes = [], 0, [0]
        for part in request.layers:
            launches = [
                Launch(
                    f"launch-{number:03d}", layer.operator.name, layer.operator.sources,
                    layer.task.id, tiles(layer.task.workload, request.schedules[layer.task.id]),
                )
                for number, layer in enumerate(part.layers)
            ]  # fmt: skip
            own = part.segment
            segment = Segment(own.name, own.operators, own.inputs, own.outputs, launches)
            segment.shapes = part.shapes
            segments.append(segment)
            constants += len(segment.constants)
            sizes.append(sum(segment.tensor_bytes(name) for name in part.shapes))
        use = MemoryUse(constants + max(sizes), constants, max(sizes), sum(sizes))
        return LinkedSegments(tuple(segments), use)

    def verify(self, linked: LinkedSegments, request: Any) -> None:
        machine = request.units.machine
        for launch in (launch for segment in linked.segments for launch in segment.launches):
            if (launch.words[:, :2] > (machine.rows, machine.columns)).any():
                raise InternalError(f"{launch.layer}: a tile is too large")

    def prepare(self, segments: Any, tensors: Any, memory_bytes: int, machine: Any) -> Session:
        return Session(tensors)

    def time(self, launch: Launch, m: Machine) -> LaunchCost:
        spent = word_cycles(launch.words, m)
        total, loads = int(spent.sum()), int(spent.sum()) - 3 * len(spent)
        moved = {
            "matrix": int((launch.words[:, 0] * launch.words[:, 1] * launch.words[:, 2]).sum())
        }
        cost = CoreCost(total, 2.0 * moved["matrix"], len(spent), moved, {"array_load": loads})
        return LaunchCost(total, (cost,), loads, 0)


class Parts:
    def files(self, segment: Segment) -> dict[str, bytes]:
        told = {
            "shapes": {name: list(shape) for name, shape in segment.shapes.items()},
            "launches": [[x.name, x.layer, list(x.sources), x.task] for x in segment.launches],
        }
        return {"toy.json": json.dumps(told).encode()} | {
            f"{launch.name}.bin": launch.code for launch in segment.launches
        }

    def read(self, entry: Any, files: Any, where: str) -> Segment:
        try:
            told = json.loads(files["toy.json"])
            launches = [
                Launch(*row, np.frombuffer(files[f"{row[0]}.bin"], "<i4").reshape(-1, 4))
                for row in told["launches"]
            ]
            shapes = {str(name): tuple(map(int, s)) for name, s in told["shapes"].items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: toy.json: {error}") from error
        named = {operator.name for operator in entry.operators}
        if any(launch.layer not in named for launch in launches):
            raise InputError(f"{where}: toy.json launches what is no operator")
        segment = Segment(entry.name, entry.operators, entry.inputs, entry.outputs, launches)
        segment.shapes = shapes
        return segment

    def tensors(self, segment: Segment) -> Any:
        yield from (f"tensor {name}: int8{list(s)}" for name, s in sorted(segment.shapes.items()))

    def commands(self, segment: Segment, launch: Launch) -> Any:
        yield f"# {segment.name} {launch.name} {launch.layer}"
        yield from (f"MATVEC {' '.join(map(str, word))}" for word in launch.words.tolist())


class Profiles:
    def roof(self, m: Machine) -> Roof:
        return Roof(m.rows * m.columns, m.port_bytes, (), is_duplex=False, arithmetic="array")

    def tracks(self, m: Machine) -> tuple[str, ...]:
        return ("array",)

    def slices(self, launch: Launch, m: Machine) -> Any:
        begin = 0
        for spent in word_cycles(launch.words, m).tolist():
            start, end = (round(at / m.clock_hz * 1e9) for at in (begin, begin + spent))
            told = TraceSlice(0, "MATVEC", "matvec", start, end, {"cycles": spent})
            yield LaunchSlice(launch.cores[0], told, "MATVEC")
            begin += spent

    def busy(self, launch: Launch, m: Machine) -> Any:
        ends = np.cumsum(word_cycles(launch.words, m)).astype(np.float64)
        return {"array": [(np.concatenate([[0.0], ends[:-1]]), ends)]}


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
        "programs": Programs(),
        "parts": Parts(),
        "profiles": Profiles(),
    },
)
