"""Defaults of generated sources, one after another, until one is good enough on the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.judge import judges
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.package.fresh import FreshFolder
from compiler_core.quantize.folds import folds
from compiler_core.quantize.good_enough import reason_against, worst
from compiler_core.quantize.ladder_record import TAKEN, Ladder, Quality, Rung
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import OutputQuality, measured_runs, output_quality
from compiler_core.quantize.unseen import margin_of, reason_by, warning_of
from compiler_core.units.facets.bundles import (
    BundleReport,
    BundleRequest,
    BundleRung,
    Bundles,
    OpenBundle,
)
from nest_tune.api.values import Arrays, Progress


@dataclass(frozen=True, eq=False)
class BundleCompilation:
    """A package of sources that was written.

    Attributes:
        folder: Of the package.
        report: Sizes, operators, warnings.
        quality: Of its worst output on the calibration data; ``None`` without data.
        warnings: What makes the result doubtful, one line each.
        ladder: How the default was found; ``None`` where it was not asked for.
        first_flash_bytes: Of the first rung, where it was left.
    """

    folder: Path
    report: BundleReport
    quality: Quality | None
    warnings: tuple[str, ...]
    ladder: Ladder | None = None
    first_flash_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class _Tried:
    """A default that was written.

    Attributes:
        request: That it follows from.
        report: Of the sources.
        found: Quality of each output.
        reason: Why it is not good enough; empty where it is.
    """

    request: BundleRequest
    report: BundleReport
    found: Sequence[OutputQuality]
    reason: str


def climbed(
    bundles: Bundles,
    request: BundleRequest,
    rungs: Sequence[BundleRung],
    data: Arrays | None,
    profile: Profile | None,
    progress: Progress,
) -> BundleCompilation:
    """The package of the first rung that is good enough, else of the best; of the request as it is
    where there are no rungs.

    A rung that cannot be written, or does not fit, is passed over, but for the first.
    """
    progress(f"writing {request.folder}")
    tried: dict[str, _Tried] = {}
    seen: dict[str, Rung] = {}
    for rung in rungs:
        own = replace(
            request,
            precision=rung.precision,
            int16_layers=rung.int16_layers,
            float_layers=rung.float_layers,
            float_ports=rung.float_ports,
        )
        try:
            found = _written(bundles, own, data, only_good=True)
        except (InputError, InfeasibleError) as error:
            if not tried:
                raise
            seen[rung.name] = Rung(error.message)
            continue
        tried[rung.name] = found
        seen[rung.name] = Rung(found.reason or TAKEN, worst(found.found))
        if not found.reason:
            break
        progress(f"{rung.name} is not good enough: {found.reason}")
    taken = max(tried, key=lambda n: (not tried[n].reason, _sqnr_db(tried[n])), default="")
    made = tried.get(taken)
    if made is None:
        made = _written(bundles, request, data, only_good=False)
    elif made.reason or made.request.tune:
        # What was found holds: kernels are chosen by what they cost and give the same bits.
        again = _written(bundles, made.request, None, only_good=False)
        made = replace(made, report=again.report)
    with_data = profile if made.request.precision == "int8" else None
    opened = bundles.open(request.folder)
    warnings = _warnings(opened, made, with_data)
    result = BundleCompilation(request.folder, made.report, worst(made.found), warnings)
    if not tried:
        return result
    if made.reason:
        seen[taken] = replace(seen[taken], outcome=f"{TAKEN}: no rung is good enough")
    first = tried[rungs[0].name]
    left = None if taken == rungs[0].name else first.report.flash_bytes
    return replace(result, ladder=Ladder(taken, not made.reason, seen), first_flash_bytes=left)


def _written(
    bundles: Bundles,
    request: BundleRequest,
    data: Arrays | None,
    *,
    only_good: bool,
) -> _Tried:
    """Writes a package and measures it.

    Args:
        bundles: Write it.
        request: What is wanted.
        data: Samples to measure with.
        only_good: Leave the folder as it was where the package is not good enough, or where its
            kernels are still to be tuned.
    """
    with FreshFolder(request.folder) as fresh:
        own = replace(request, folder=fresh.path, tune=request.tune and not only_good)
        report = bundles.write(own)
        opened = bundles.open(fresh.path)
        found = () if data is None else _quality(opened.graph, [(opened, data)])
        reason = reason_against(found)
        if not only_good or not (reason or request.tune):
            fresh.keep()
    return _Tried(request, report, found, reason)


def _sqnr_db(tried: _Tried) -> float:
    found = worst(tried.found)
    return 0.0 if found is None else found.sqnr_db


def _warnings(opened: OpenBundle, made: _Tried, profile: Profile | None) -> tuple[str, ...]:
    """What the reader should know, with why the result is not good enough."""
    known = made.report.warnings
    if made.reason:
        said = "nest-tune bundle --float-layer NODE keeps a layer in float32"
        return (*known, f"{made.reason}: the model may be of no use; {said}")
    if profile is not None and (reason := _unseen(opened, profile)):
        return (*known, warning_of(reason, profile.samples))
    return known


def _quality(
    graph: Graph, parts: Sequence[tuple[OpenBundle, Mapping[str, npt.NDArray[Any]]]]
) -> list[OutputQuality]:
    """Of every output that can be compared, on parts of the calibration data, each by a bundle."""
    known = judges(graph)
    found: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = {name: [] for name in known}
    total = 0
    for opened, data in parts:
        chosen = measured_runs(graph, check_samples(graph, data))
        part, count = choose(graph, data, chosen), len(chosen) * model_batch(graph)
        rows, theirs = opened.reference(part), float_outputs(graph, part, list(known))
        for name in known:
            ours = stacked(graph, {name: opened.real(name, rows[name])}, [name], count)
            found[name].append((ours[name], theirs[name]))
        total += count
    qualities = []
    for name, judge in known.items():
        ours_, theirs_ = (np.concatenate(arrays) for arrays in zip(*found[name], strict=True))
        quality = output_quality(judge, ours_, theirs_, total)
        if quality is not None:
            qualities.append(quality)
    return qualities


def _unseen(opened: OpenBundle, profile: Profile) -> str:
    """Why ranges of other parts of the samples are not good enough for a part."""
    samples, graph = profile.first(), opened.graph
    parts = folds(graph, profile)
    if samples is None or not parts:
        return ""
    own = [(opened.with_ranges(part.ranges), choose(graph, samples, part.runs)) for part in parts]
    return reason_by(_quality(graph, own), margin_of(parts))
