"""The compile of a model to a package of generated sources for a microcontroller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.judge import judges
from compiler_core.compile.sources import FloatModel
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.package.fresh import FreshFolder
from compiler_core.quantize.folds import folds
from compiler_core.quantize.good_enough import reason_against, worst
from compiler_core.quantize.ladder_record import TAKEN, Ladder, Quality, Rung
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.quality import OutputQuality, measured_runs, output_quality
from compiler_core.quantize.unseen import margin_of, reason_by, warning_of
from compiler_core.units.facets.bundles import (
    BundleReport,
    BundleRequest,
    BundleRung,
    Bundles,
    OpenBundle,
)
from nest_tune.api.values import (
    Arrays,
    Data,
    Model,
    PathName,
    Progress,
    check_calibration,
    float_run,
    loaded_model,
    model_file,
    stateful_samples_of,
)
from nest_tune.bundling import (
    bundles_for,
    configures_bundle,
    model_for_sources,
    require_replaceable,
    self_test_samples,
)


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


def compile_bundle(
    model: Model,
    target: str | None,
    output: PathName,
    *,
    config: PathName | None = None,
    calibration: Data | None = None,
    precision: str | None = None,
    int4: Sequence[str] = (),
    int16: Sequence[str] = (),
    float_layers: Sequence[str] = (),
    float_ports: bool = False,
    model_layout: bool = False,
    name: str | None = None,
    samples: int = 2,
    tune: bool = False,
    patches: str = "",
    beside: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    states: Mapping[str, str] | None = None,
    progress: Progress = lambda _: None,
) -> BundleCompilation:
    """Compiles a model to a package of C sources for a microcontroller.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: ``c99``, ``cortex-m4`` …, or path of a target file of generated C; with ``config``
            the one that it names.
        output: Folder of the package; a package there is replaced unless ``beside``.
        config: ``config.toml`` of a package: the same sources follow, and what is below is not
            asked.
        calibration: Samples of the inputs; ``int8`` needs them.
        precision: ``int8``, or ``float32`` for all operators. Where neither this nor what is below
            up to ``float_ports`` is given, the first of the target's defaults that is good enough
            on the calibration data: int8 throughout, float32 up to the first weights, activations
            of 16 bits, float32 throughout.
        int4: Nodes whose weights have 4 bits.
        int16: Nodes with weights whose activations have 16 bits.
        float_layers: Nodes that stay float32.
        float_ports: Inputs and outputs are float32.
        model_layout: Images have their channel first, as in the model.
        name: Of the generated function.
        samples: Of the self test.
        tune: Choose every kernel by its instructions in an emulator.
        patches: First operators that run in stripes: ``node=stripes``, or ``least`` for the least
            memory.
        beside: Write into the folder beside what is there, and judge nothing.
        shapes: Of inputs with dynamic axes.
        states: Inputs by the outputs that are fed back to them from sample to sample: calibration
            follows them; whoever calls the function hands them on.
        progress: Told what is being done.

    Raises:
        InputError: A file or argument is wrong, or an operator cannot be written as C.
        InfeasibleError: It does not fit the target's memories.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile_bundle(
        ...     "examples/digits/model.onnx", "c99", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> made.report.ram_peak_bytes < 10_000
        True
    """
    folder = Path(output)
    layers = tuple(int4), tuple(int16), tuple(float_layers)
    climbs = precision is None and not (any(layers) or float_ports or beside or config)
    ports = float_ports, model_layout
    wanted = _Wanted(precision or "int8", *layers, *ports, name, samples, tune, patches)
    wanted.require_data(calibration is not None or config is not None)
    bundles = _bundles(target, config)
    if not beside:
        require_replaceable(folder)
    source, data = _loaded(model, calibration, shapes, states or {}, progress)
    bundles.require(source.graph, wanted.precision if config is None else None)
    profile = _profile(source, data, wanted, config, progress)
    request = _request(source, data, target or "", folder, wanted, config, profile)
    if beside:
        progress(f"writing {folder}")
        report = bundles.write(request)
        return BundleCompilation(folder, report, None, report.warnings)
    rungs = bundles.rungs(source.graph) if climbs else ()
    return _climbed(bundles, request, rungs, data, profile, progress)


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


def _climbed(
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


@dataclass(frozen=True)
class _Wanted:
    """How sources are made; see :class:`~compiler_core.units.facets.bundles.BundleRequest`."""

    precision: str
    int4: tuple[str, ...]
    int16: tuple[str, ...]
    float_layers: tuple[str, ...]
    float_ports: bool
    model_layout: bool
    name: str | None
    samples: int
    tune: bool
    patches: str

    def require_data(self, has_data: bool) -> None:
        """Refuses int8 where nothing says how large activations are."""
        if self.precision == "int8" and not has_data:
            raise InputError(
                "there are no calibration data, which int8 needs",
                hint="--calibration calib.npz, or nest-tune bundle --precision float32",
            )


def _loaded(
    model: Model,
    calibration: Data | None,
    shapes: Mapping[str, tuple[int, ...]] | None,
    states: Mapping[str, str],
    progress: Progress,
) -> tuple[FloatModel, Arrays | None]:
    path = model_file(model)
    progress(f"importing {path.name}")
    source = model_for_sources(loaded_model(path, shapes, calibration))
    if calibration is None:
        return source, None
    graph = source.graph
    samples = stateful_samples_of(calibration, graph, states, float_run(graph))
    check_calibration(samples, graph, calibration)
    return source, samples


def _profile(
    source: FloatModel,
    data: Arrays | None,
    wanted: _Wanted,
    config: PathName | None,
    progress: Progress,
) -> Profile | None:
    """Statistics of the calibration data, where they decide anything."""
    if wanted.precision != "int8" or data is None or config is not None:
        return None
    return profile_model(
        source.graph,
        data,
        progress=lambda done, total: progress(f"calibrating: {done} of {total} samples"),
    )


def _request(
    source: FloatModel,
    data: Arrays | None,
    target: str,
    folder: Path,
    wanted: _Wanted,
    config: PathName | None,
    profile: Profile | None,
) -> BundleRequest:
    return BundleRequest(
        source.graph,
        {} if profile is None else dict(profile.ranges()),
        self_test_samples(source.graph, data, wanted.samples),
        target,
        folder,
        source.name,
        wanted.name,
        wanted.precision,
        wanted.int4,
        wanted.int16,
        wanted.float_layers,
        wanted.float_ports,
        wanted.model_layout,
        wanted.tune,
        wanted.patches,
        source.digest,
        None if config is None else Path(config),
    )


def _bundles(target: str | None, config: PathName | None) -> Bundles:
    """Who writes what is asked for.

    Raises:
        InputError: Nobody does.
    """
    if config is not None:
        found = configures_bundle(Path(config))
        if found is None:
            raise InputError(f"{config}: it is not the configuration of generated sources")
        return found
    if target is None:
        raise InputError("compile: no target", hint="--target c99, cortex-m4 …")
    return bundles_for(target)


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
