"""The part of a report about generated sources: sizes, instructions by operator, the arena."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from compiler_core.errors import CheckError
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.units.facets.bundles import OperatorCount
from nest_tune.bundling import bundles_for
from nest_tune.report.arena import draw_arena
from nest_tune.report.source_rows import SizeRow, SourcePart, SourceRow
from nest_tune.study.execution.source_bench import COST, KERNEL, UNTUNED, SourceBench
from nest_tune.study.proposals.source_parts import PrecisionPart
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.source_package import write_sources
from nest_tune.study.trial import OuterTrial


def source_part(ground: Ground, result: StudyResult, chosen: OuterTrial) -> SourcePart:
    """What there is to say of a trial.

    Raises:
        InputError: A file has changed.
        InfeasibleError: It does not fit the target.
    """
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        package = Path(scratch) / "package"
        report = write_sources(ground, result, chosen, package)
        bundles = bundles_for(ground.settings.target)
        if bundles.counts(report.core):
            with suppress(CheckError):  # the emulated board does not hold it
                report = bundles.count(report, package)
    sizes = [SizeRow("RAM", report.ram_peak_bytes, report.ram_limit_bytes)]
    if report.flash_bytes is not None:
        sizes.insert(0, SizeRow("flash", report.flash_bytes, report.flash_limit_bytes))
    unit = "instructions" if "instructions" in chosen.metrics else "ns"
    origin = candidates_for(ground.settings.target).origin_of_cycles(
        ground.settings.target, chosen.metrics
    )
    rows = _rows(ground, result, chosen, report.operators)
    return SourcePart(rows, unit, tuple(sizes), draw_arena(report), origin)


def _rows(
    ground: Ground, result: StudyResult, chosen: OuterTrial, counted: Sequence[OperatorCount]
) -> tuple[SourceRow, ...]:
    whole: dict[str, list[float | None]] = {}
    for item in counted:
        whole.setdefault(item.name, []).append(item.instructions)
    bench = SourceBench(ground.subjects)
    decisions = ground.space.decode(chosen.point)
    part = next((p for p in ground.space.parts if isinstance(p, PrecisionPart)), None)
    usual = {} if part is None else {c.node: c.precisions[0] for c in part.choices}
    precisions = {**usual, **decisions.get(PrecisionPart.name, {})}
    default: dict[str, list[str]] = {}  # a node may be several operators, in their order
    for task in bench.candidate({}).tasks:
        default.setdefault(task.node, []).append(task.name)
    found = []
    for task in bench.candidate(decisions).tasks:
        own = result.tasks.get(task.name if chosen.tuned else UNTUNED + task.name)
        usual_name = next(iter(default.get(task.node, ())), "")
        default[task.node] = default.get(task.node, [])[1:]
        before = result.tasks.get(UNTUNED + usual_name)
        cost = next(iter(whole.get(task.node, ())), None)
        whole[task.node] = whole.get(task.node, [])[1:]
        if cost is None and own is not None:
            cost = own.schedule[COST]
        found.append(
            SourceRow(
                task.node,
                task.shape,
                precisions.get(task.node, ""),
                _kernel(task.kernels[0] if own is None else own.schedule[KERNEL]),
                cost,
                None if before is None else before.schedule[COST],
            )
        )
    return tuple(found)


def _kernel(plain: Mapping[str, object]) -> str:
    """A kernel in a few words."""
    numbers = [f"{name} {value}" for name, value in plain.items() if value not in (1, False)]
    return ", ".join(numbers).removeprefix("unit ").replace("unpacked True", "unpacked")
