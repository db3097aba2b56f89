"""Small models of random groups over a CPU and two units in two memories, and what a placement
takes, by a plain second implementation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from compiler_core.partition.costs import (
    CostTable,
    CpuCost,
    CpuPart,
    Form,
    GroupCost,
    LaunchOrder,
    TensorCost,
    UnitCost,
)
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import OUTSIDE, Alias, BaseTensor, Group, GroupGraph
from compiler_core.system.jobs import Job, JobKind, Machinery, ranks
from compiler_core.targets.places import ON_HOST, Place, Places
from compiler_core.units.launches import Launch
from compiler_core.units.ways import Way
from tests.compiler_core.system.plain_timeline import reference_ends

CPU, FIRST, SECOND = 0, 1, 2
PLACES = Places(
    (
        Place("cpu", ON_HOST, Way(), "float32"),
        Place("first", 0, Way(), "int8"),
        Place("second", 1, Way(), "int8"),
    )
)


@dataclass(frozen=True)
class SmallModel:
    """Groups in a row, each with the earlier ones that it reads; what nobody reads goes out.

    Attributes:
        reads: By group: earlier groups, or :data:`OUTSIDE`.
        run_ps: By group: time at each place, ``None`` where it cannot run.
        form_bytes: By tensor (that of the caller first): size in each form.
        launch_ps: Of each launch.
        forms: Form of each place; equal ones need no conversion.
        machinery: Units and memories.
    """

    reads: tuple[tuple[int, ...], ...]
    run_ps: tuple[tuple[int | None, ...], ...]
    form_bytes: tuple[tuple[int, ...], ...]
    launch_ps: int
    forms: tuple[int, int, int]
    machinery: Machinery

    @property
    def placements(self) -> list[tuple[int, ...]]:
        """All of them."""
        places = [[at for at, time in enumerate(times) if time] for times in self.run_ps]
        return list(product(*places))

    def is_output(self, group: int) -> bool:
        return not any(group in sources for sources in self.reads)

    def memory_of(self, form: int) -> int:
        """Memory in which a form lies."""
        place = self.forms.index(form)
        return self.machinery.host_memory if place == CPU else self.machinery.memory[place - 1]


@st.composite
def small_models(draw: st.DrawFn) -> SmallModel:
    count = draw(st.integers(1, 4))
    reads = []
    for group in range(count):
        sources = draw(st.sets(st.integers(OUTSIDE, group - 1), min_size=1, max_size=2))
        reads.append(tuple(sorted(sources)))
    time = st.integers(1, 9)
    run_ps = tuple(
        (draw(time), draw(st.none() | time), draw(st.none() | time)) for _ in range(count)
    )
    memory = draw(st.sampled_from([(0, 0), (0, 1), (1, 1), (1, 0)]))
    exclusive = draw(st.booleans()), draw(st.booleans())
    machinery = Machinery((1, 1), memory, exclusive, draw(st.integers(0, 1)))
    alike = memory[0] == memory[1] and draw(st.booleans())
    forms = (0, 1, 1) if alike else (0, 1, 2)
    sizes = st.tuples(*[st.integers(1, 6)] * (max(forms) + 1))
    form_bytes = tuple(draw(sizes) for _ in range(count + 1))
    return SmallModel(tuple(reads), run_ps, form_bytes, draw(st.integers(1, 3)), forms, machinery)


def plain_latency_ps(model: SmallModel, placement: tuple[int, ...]) -> int:
    """What a placement takes: jobs as the rules say them, one picosecond after another."""
    jobs: list[Job] = []
    done: dict[tuple[int, int], int | None] = {(OUTSIDE, 0): None}

    def there(source: int, form: int) -> int | None:
        if (source, form) not in done:
            own = 0 if source == OUTSIDE else model.forms[placement[source]]
            sizes = model.form_bytes[source + 1]
            before = done[source, own]
            kind = JobKind.QUANTIZE if own == 0 else JobKind.DEQUANTIZE
            kind = JobKind.CONVERT if own and form else kind
            used = {model.machinery.host_memory, model.memory_of(own), model.memory_of(form)}
            jobs.append(
                Job(
                    source + 1,
                    kind,
                    ON_HOST,
                    sizes[own] + sizes[form],
                    0,
                    () if before is None else (before,),
                    memories=sum(1 << memory for memory in used),
                )
            )
            done[source, form] = len(jobs) - 1
        return done[source, form]

    for group, place in enumerate(placement):
        form, run = model.forms[place], model.run_ps[group][place]
        assert run is not None
        waits = {there(source, form) for source in model.reads[group]} - {None}
        after = tuple(sorted(index for index in waits if index is not None))
        if place == CPU:
            memories = 1 << model.machinery.host_memory
            jobs.append(Job(group, JobKind.OPERATOR, ON_HOST, run, 0, after, memories=memories))
        else:
            memories = 1 << model.machinery.memory[place - 1]
            launch = model.launch_ps
            jobs.append(
                Job(group, JobKind.PROGRAM, place - 1, run, launch, after, memories=memories)
            )
        done[group, form] = len(jobs) - 1
    for group in range(len(placement)):
        if model.is_output(group):
            there(group, 0)
    return max(reference_ends(jobs, ranks(jobs), model.machinery))


def evaluator_of(model: SmallModel) -> Evaluator:
    """The same model as the planner knows it."""
    count = len(model.reads)
    tensors = tuple(
        BaseTensor(
            f"t{source + 1}",
            source,
            tuple(group for group in range(count) if source in model.reads[group]),
            source != OUTSIDE and model.is_output(source),
            1,
            (1, 1, 1, 1),
            (Alias((), (), is_output=False),),
        )
        for source in range(OUTSIDE, count)
    )
    groups = tuple(
        Group(
            group,
            f"g{group}",
            "Conv",
            (f"g{group}",),
            None,
            tuple(source + 1 for source in model.reads[group]),
            (group + 1,),
            (),
        )
        for group in range(count)
    )
    empty: Any = SimpleNamespace(nodes=())
    graph = GroupGraph(empty, empty, groups, tensors, {}, {}, {}, empty, {}, {})
    return Evaluator(graph, _table(model))


def _table(model: SmallModel) -> CostTable:
    costs = []
    for group, times in enumerate(model.run_ps):
        reads = tuple(source + 1 for source in model.reads[group])
        at = {}
        for place in (FIRST, SECOND):
            run = times[place]
            if run is not None:
                launches = (Launch(f"g{group}", "task", run, run, 1.0, 1, 1, 0, 0, 1, 1),)
                at[place] = UnitCost(launches, launches, (LaunchOrder(reads, (), 0),))
        assert times[CPU] is not None
        costs.append(GroupCost(CpuCost((CpuPart(times[CPU], reads, ()),), 1.0, 1, 1), at))
    forms = tuple(
        Form(f"form {form}", model.memory_of(form)) for form in range(max(model.forms) + 1)
    )
    return CostTable(
        tuple(costs),
        tuple(TensorCost(sizes, 1.0) for sizes in model.form_bytes),
        PLACES,
        model.machinery,
        forms,
        model.forms,
        model.launch_ps,
        1e12,
        positions=(0,) * len(model.form_bytes),
    )
