"""What every kind of processing unit has to hold, facet by facet.

The author of a kind calls :func:`check_unit_kind` in a test of the plug-in, with a machine and a
few workloads; a facet that a kind does not have is not checked.

Example:
    >>> from nest_tune.testing.unit_kinds import UnitCase, check_unit_kind
    >>> def test_kind() -> None:
    ...     check_unit_kind("my-kind", UnitCase(machine, [small, odd, large]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import prod
from typing import Any

import numpy as np

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.plain import to_plain
from compiler_core.tensor.task import Task, task_key
from compiler_core.units.launches import Launches, cycles_ps
from compiler_core.units.registry import kind_of_id, kind_of_machine, read_machine, unit_kind
from compiler_core.units.simulation import simulation
from compiler_core.units.unit import Machine, TaskWorkload, UnitKind
from compiler_core.units.ways import ALL_CORES, Way, Ways
from cost_models.task_features import BoundDepth, feature_names, task_features
from search_spaces.task_space import TaskSpace, task_space

_SAMPLED = 24
"""Points of a space that are looked at."""
_SHAPES = ((1, 1, 1, 1), (1, 3, 5, 7), (2, 16, 4, 4), (1, 100, 1, 1))
"""Of tensors whose form is asked for."""
_DEPTHS = (BoundDepth.CLOSED, BoundDepth.ANY, BoundDepth.POINT)


@dataclass(frozen=True)
class UnitCase:
    """What a kind is checked with.

    Attributes:
        machine: One of its machines.
        workloads: Different ones, at least two.
    """

    machine: Machine
    workloads: Sequence[TaskWorkload]


def check_unit_kind(name: str, case: UnitCase) -> None:
    """Checks all facets of a kind that is registered.

    Raises:
        AssertionError: Something does not hold; says what.
    """
    kind = unit_kind(name)
    assert kind.name == name == case.machine.kind, "the machine names its kind"
    assert kind_of_machine(case.machine) is kind
    checks = {
        "documents": check_documents,
        "tasks": check_tasks,
        "spaces": check_spaces,
        "features": check_features,
        "simulation": check_simulation,
        "ways": check_ways,
        "launches": check_launches,
    }
    for facet, check in checks.items():
        if kind.has(facet):
            check(kind, case)


def check_documents(kind: UnitKind, case: UnitCase) -> None:
    """Values survive being plain, digests tell them apart, and what is wrong is refused."""
    read, machine = kind.documents, case.machine
    assert read_machine(to_plain(machine), "machine") == machine, "a machine survives being plain"
    assert read.machine_digest(machine) == read.machine_digest(
        read.machine(to_plain(machine), "machine")
    ), "equal machines have equal digests"
    assert len({work.digest for work in case.workloads}) == len(case.workloads)
    for work in case.workloads:
        assert is_dataclass(work), f"{work} is a frozen dataclass"
        for bounded in (False, True):
            again = read.workload(to_plain(work), "here", bounded=bounded)
            assert again == work, f"{work} survives being plain"
        task = Task(kind.name, work)
        assert task.id.isascii(), f"{task.id} is ASCII"
        assert kind_of_id(task.id) is kind is kind_of_id(task.key), "ids and keys say the kind"
        assert task_key(task.id) == task.key, "the key follows from the id"
        _refuses(read.workload, {**to_plain(work), "unknown_key": 1})
    wrongs: tuple[Any, ...] = (None, [], {"unknown_key": 1})
    for wrong in wrongs:
        for reader in (read.workload, read.schedule, read.machine):
            _refuses(reader, wrong)


def check_tasks(kind: UnitKind, case: UnitCase) -> None:
    """Defaults are legal, costs repeat themselves and are not below the bound."""
    tasks, machine = kind.tasks, case.machine
    for work in case.workloads:
        schedule = tasks.default(work, machine)
        assert tasks.default(work, machine) == schedule, "the default repeats itself"
        assert tasks.violations(work, schedule, machine) == (), "the default is legal"
        assert kind.documents.schedule(to_plain(schedule), "here") == schedule
        cost, bound = tasks.measure(work, schedule, machine), tasks.bound(work, machine)
        assert tasks.measure(work, schedule, machine) == cost, "a cost repeats itself"
        assert 0 < bound.cycles <= cost.cycles, f"{work}: {bound.cycles} is no bound"
        assert bound.limited_by, "the bound says what limits it"
        assert min(cost.moved_bytes.values(), default=0) >= 0
        assert cost.dram_bytes == sum(cost.moved_bytes.values())


def check_ways(kind: UnitKind, case: UnitCase) -> None:
    """Places have names of their own, whole operators come first, and tensors keep their layout."""
    ways, machine = kind.facet("ways", Ways), case.machine
    formats = ways.formats(machine)
    assert len(set(formats)) == len(formats) > 0, "number formats are different"
    for cores in (1, 2, 4):
        found = ways.ways(machine, cores)
        assert found[0] == Way(), "the first way is a whole operator on any core"
        assert len({way.suffix for way in found}) == len(found), "ways have different names"
        assert all(ALL_CORES <= way.core < cores for way in found), "cores that there are"
    for number in formats:
        forms = [ways.form(shape, number, machine) for shape in _SHAPES]
        assert len({form.layout for form in forms}) == 1, "the layout depends on no shape"
        for form, shape in zip(forms, _SHAPES, strict=True):
            assert 0 < form.bytes <= 64 * 8 * prod(shape), f"{form.bytes} bytes for {shape}"
            assert form.extra_s >= 0


def check_launches(kind: UnitKind, case: UnitCase) -> None:
    """Launches repeat themselves and take what their tasks take, and more where data cross."""
    launches, machine = kind.facet("launches", Launches), case.machine
    for work in case.workloads:
        schedule = kind.tasks.default(work, machine)
        found = launches.alone(work, {}, machine, "name")
        assert launches.alone(work, {}, machine, "name") == found, "a launch repeats itself"
        given = {Task(kind.name, work).id: schedule}
        assert launches.alone(work, given, machine, "name") == found, "the default is given"
        assert found.task == Task(kind.name, work).id
        assert found.cycles == kind.tasks.measure(work, schedule, machine).cycles
        assert found.run_ps >= cycles_ps(found.cycles, machine.clock_hz)
        assert 0 <= found.read_ppm <= 1_000_000 >= found.write_ppm >= 0
        for is_alone in (False, True):
            entering = launches.entering(work, is_alone=is_alone)
            assert launches.entering(entering, is_alone=is_alone) == entering
        for launch in launches.across(work, found, machine, 2).values():
            assert launch.parts >= 1
            assert launch.cycles > 0


def check_spaces(kind: UnitKind, case: UnitCase) -> None:
    """Points and schedules are one another's inverse, and what the space offers can be lowered."""
    for work in case.workloads:
        space = task_space(work, case.machine)
        _check_tables(space)
        schedule = kind.tasks.default(work, case.machine)
        start = space.encode(schedule)
        assert space.is_legal(start), "the default is a legal point"
        points = space.sample(np.random.default_rng(0), _SAMPLED)
        again = space.sample(np.random.default_rng(0), _SAMPLED)
        assert np.array_equal(points, again), "a seed gives the same points"
        assert space.legal(points).all()
        assert np.array_equal(space.canonical(points), points), "points are canonical"
        for point in points.tolist():
            found = space.decode(point)
            assert space.encode(found) == tuple(point), "a point survives being a schedule"
            broken = kind.tasks.violations(work, found, case.machine)
            assert broken == (), f"{found} is offered, yet {broken[0]}"
        near = space.neighbours(start)
        assert space.legal(near).all(), "neighbours are legal"
        assert start not in [tuple(point) for point in near.tolist()]
        _check_rules(kind, case, space)


def _check_tables(space: TaskSpace) -> None:
    tables = space.tables
    names = [parameter.name for parameter in tables.parameters]
    assert len(set(names)) == len(names) > 0, "parameters have different names"
    assert set(tables.free) <= set(names), "free parameters exist"
    assert 1 <= tables.leading <= len(names), "some parameters lead"
    schedule = space.decode((0,) * len(names))
    assert is_dataclass(schedule), f"{schedule} is a frozen dataclass"
    assert set(names) <= {field.name for field in fields(schedule)}, "parameters are its fields"
    every = np.arange(max(len(parameter) for parameter in tables.parameters))
    for axis, parameter in enumerate(tables.parameters):
        points = np.zeros((len(parameter), len(names)), np.int64)
        points[:, axis] = every[: len(parameter)]
        column = space.rows(points)[:, axis]
        assert (np.diff(column) > 0).all(), f"the table of {parameter.name} ascends"


def _check_rules(kind: UnitKind, case: UnitCase, space: TaskSpace) -> None:
    """Points that break rules are those that the lowering refuses."""
    generator = np.random.default_rng(1)
    lengths = [len(parameter) for parameter in space.parameters]
    columns = [generator.integers(0, n, _SAMPLED) for n in lengths]
    points = np.stack(columns, axis=1)
    for point, legal in zip(points.tolist(), space.legal(points).tolist(), strict=True):
        found = space.decode(point)
        broken = kind.tasks.violations(space.workload, found, case.machine)
        assert legal == (not broken), f"{found}: legal in the space is {legal}, rules say {broken}"
        if broken:
            try:
                kind.tasks.measure(space.workload, found, case.machine)
            except InfeasibleError:
                continue
            raise AssertionError(f"{found} breaks {broken[0]} and is measured all the same")


def check_features(kind: UnitKind, case: UnitCase) -> None:
    """Features are numbers, and bounds are below what is measured."""
    known = task_features(case.machine)
    names = feature_names(known.columns)
    assert len(set(names)) == len(names) > 0, "features have different names"
    for work in case.workloads:
        space = task_space(work, case.machine)
        points = space.sample(np.random.default_rng(2), _SAMPLED)
        rows = space.rows(points)
        batch = known.features(work, rows, case.machine)
        assert batch.values.shape == (len(rows), len(names)), "a column per feature"
        assert not np.isinf(batch.values).any(), "features are finite, or missing"
        assert (batch.walk_cycles > 0).all(), "the coarse model predicts cycles"
        assert (known.estimate(work, rows, case.machine) > 0).all()
        measured = [
            kind.tasks.measure(work, space.decode(point), case.machine).cycles
            for point in points.tolist()
        ]
        below = np.zeros(len(rows), np.int64)
        for depth in _DEPTHS:
            bounds = known.bounds(work, rows, case.machine, depth)
            assert (bounds <= np.array(measured)).all(), f"{depth}: a bound is above its cycles"
            assert (bounds >= below).all(), f"{depth}: deeper bounds are not lower"
            below = bounds
            _check_unread(work, case, depth, space)


def _check_unread(work: TaskWorkload, case: UnitCase, depth: BoundDepth, space: TaskSpace) -> None:
    """A bound stays where it is when a parameter changes that it does not read."""
    known = task_features(case.machine)
    points = space.sample(np.random.default_rng(3), _SAMPLED)
    for axis, parameter in enumerate(space.parameters):
        if parameter.name not in known.unread(depth):
            continue
        changed = points.copy()
        changed[:, axis] = (changed[:, axis] + 1) % len(parameter)
        both = space.legal(changed)
        one = known.bounds(work, space.rows(points[both]), case.machine, depth)
        other = known.bounds(work, space.rows(changed[both]), case.machine, depth)
        assert np.array_equal(one, other), f"{depth} depends on {parameter.name}"


def check_simulation(kind: UnitKind, case: UnitCase) -> None:
    """The built-in program runs and says so."""
    del kind
    assert simulation(case.machine).check(case.machine), "the built-in program says what it was"


def _refuses(read: Any, value: Any) -> None:
    try:
        read(value, "here")
    except InputError as error:
        complaint = error.message
    else:
        raise AssertionError(f"{value} is read without a complaint")
    assert "here" in complaint, f"{complaint!r} says where"
