"""The compile of one configuration, from file to package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.cpu_causes import (
    FASTEST,
    PLANNED,
    CpuCause,
    cpu_causes,
    macs_share_npu,
    node_reasons,
    unpriced,
)
from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import FloatModel
from compiler_core.configuration.configuration import Configuration, read_configuration
from compiler_core.configuration.launches import launches_named
from compiler_core.errors import InputError
from compiler_core.executable.report import LayerReport, Metrics
from compiler_core.package.text import Level, level_text
from compiler_core.package.writer import require_free, write_package
from compiler_core.partition.configured import with_plan
from compiler_core.partition.plan import Plan
from compiler_core.precision.report import (
    FORMATS_FILE,
    FormatsReport,
    formats_report,
    formats_text,
)
from compiler_core.quantize.ladder_record import Ladder, Quality
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.profile_file import read_profile
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from nest_tune.api.quantizing import compile_warnings, quantize, with_first_latency
from nest_tune.api.values import (
    Arrays,
    Data,
    Model,
    PathName,
    Progress,
    check_calibration,
    float_run,
    loaded_with_shapes,
    model_file,
    shapes_text,
    stateful_samples_of,
)
from nest_tune.figures import figure
from nest_tune.named import named_by_lock
from nest_tune.stores.default_scheme import with_default_scheme, with_kept_scheme
from nest_tune.stores.profile_store import stored_profile


@dataclass(frozen=True, eq=False, repr=False)
class Compilation:
    """What a compile wrote.

    Attributes:
        folder: Of the package.
        configuration: Complete: what compiles to the same bytes again.
        metrics: Totals of one run: latency in ms, energy in mJ, NPU cycles, bytes.
        layers: What each step costs, in execution order.
        tasks: Ids of the tuning tasks.
        segments: Names of the segments, in execution order.
        npu_segments: How many of them run on the NPU.
        cpu_reasons: Why each node on the CPU is there, by node.
        cpu_causes: The same by cause, with shares of multiplications and time.
        macs_share_npu: Share of the counted multiplications that run on the NPU.
        unpriced: Nodes whose results have a shape that is known only when the model runs, or that
            run graphs of their own: what they cost is in no number.
        warnings: What makes the result doubtful, one line each.
        formats: Number formats of the operators, where they were chosen by the clock.
        damage: What the plan does to weights, where it was looked for within a limit: squared
            error, as a share of what is done where every layer has its weights on a unit of fewest
            bits.
    """

    folder: Path
    configuration: Configuration
    metrics: Metrics
    layers: tuple[LayerReport, ...]
    tasks: tuple[str, ...]
    segments: tuple[str, ...]
    npu_segments: int
    cpu_reasons: Mapping[str, str]
    cpu_causes: tuple[CpuCause, ...] = ()
    macs_share_npu: float = 1.0
    unpriced: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    formats: FormatsReport | None = None
    damage: float | None = None

    def __repr__(self) -> str:
        costs = self.metrics.costs
        told = ", ".join(f"{name}={figure(value, name)}" for name, value in costs.items())
        return f"<package {self.folder}: {told}>"

    @property
    def quality(self) -> Quality | None:
        """The worst output on the calibration data; ``None`` where nothing was measured."""
        return self.configuration.scheme.quality

    @property
    def ladder(self) -> Ladder | None:
        """How the scheme was found, where it is the untuned default."""
        return self.configuration.scheme.ladder


def compile(  # noqa: A001 - the verb of the command line
    model: Model | None,
    target: str | Target | None,
    output: PathName,
    *,
    config: PathName | Configuration | None = None,
    plan: PathName | None = None,
    most_damage: float | None = None,
    calibration: Data | None = None,
    profile: PathName | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    states: Mapping[str, str] | None = None,
    emit: Sequence[str] = (),
    launches: str | None = None,
    formats: FormatsReport | None = None,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> Compilation:
    """Compiles one configuration of a model to a package of verified programs.

    Args:
        model: ONNX file or ``onnx.ModelProto``; ``None`` for the one that a lock file names.
        target: Name of a target, path of a ``.toml`` file, or a loaded target; ``None`` likewise.
        output: Folder of the package; an older package there is replaced.
        config: Configuration or lock file; the untuned default without: of quantization the first
            scheme of a ladder that is good enough on the calibration data.
        plan: Plan file; nodes that it leaves free are placed where they cost least.
        most_damage: In the place of a plan, on units of different precision: a limit as of
            :func:`~nest_tune.api.planning_within.best_plan_within`, whose plan is taken.
        calibration: Samples of the inputs, float32 in the model's layout, samples first: an
            ``.npz`` file or arrays by input (``x`` stands for the only input). Needed unless the
            configuration holds exponents, or is a lock file, which names them.
        profile: Statistics that ``quantize profile`` wrote, in place of ``calibration``.
        shapes: Of inputs with dynamic axes, by input; else as the calibration data have them.
        states: Inputs by the outputs that are fed back to them from sample to sample; the samples
            need no array for them.
        emit: Texts to add to the package: ``graph``, ``tensor``, ``commands``.
        launches: ``apart`` for one per operator, or ``merged``: layers that follow one another are
            one program; else as the configuration says.
        formats: How the number formats of the configuration were found, which the package then
            tells, where they are not found by the compile.
        threads: Of calibration.
        progress: Told what is being done.

    Returns:
        What was written, with its simulated numbers.

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.
        InfeasibleError: A schedule of the configuration does not fit the target.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> made.metrics.latency_ms < 1
        True
    """
    folder = Path(output)
    if calibration is not None and profile is not None:
        raise InputError("calibration and profile are both given", hint="one of them says it all")
    levels = [Level(name) for name in _known_levels(emit)]
    require_free(folder)
    configuration = config if isinstance(config, Configuration) else Configuration()
    if config is not None and not isinstance(config, Configuration):
        configuration = read_configuration(Path(config))
        if configuration.lock is not None:
            named = named_by_lock(Path(config), configuration)
            model, target = model or named.model.found(), target or named.target
            shapes = shapes or named.shapes
            if calibration is None and profile is None and _takes_data(configuration):
                calibration = None if named.calibration is None else named.calibration.found()
    if launches is not None:
        configuration = replace(configuration, launches=launches_named(launches, "launches"))
    if model is None or target is None:
        missing = "model" if model is None else "target"
        raise InputError(
            f"compile: no {missing}",
            hint="MODEL.onnx --target vta, or a lock file or study that names them",
        )
    path = model_file(model)
    chip = target if isinstance(target, Target) else load_target(target)
    progress(f"importing {path.name}")
    source, found = loaded_with_shapes(path, shapes, calibration)
    if found.keys() - (shapes or {}).keys():
        progress(f"shapes as the calibration data have them: {shapes_text(found)}")
    source, statistics = _fitted_with_profile(source, chip, profile)
    if calibration is not None:  # what does not fit is refused before anything takes long
        samples = stateful_samples_of(
            calibration, source.graph, states or {}, float_run(source.graph, threads)
        )
        check_calibration(samples, source.graph, calibration)
    is_planned = bool(configuration.plan)
    where, damage = _asked_plan(plan, most_damage, configuration, (path, chip, found), progress)
    configuration = with_plan(configuration, source, chip, where, progress)
    arithmetic = target_arithmetic(chip)
    if calibration is not None:
        statistics = _statistics(source, configuration, samples, threads, progress)
    warnings: tuple[str, ...] = ()
    unsearched = tuple[str, ...]()
    is_open = configuration.scheme.is_open and not is_planned
    if chip.by_clock and is_open and statistics is not None and statistics.inputs is not None:
        try:
            configuration, formats = _searched_formats(
                configuration, source, statistics, chip.board, progress
            )
        except InputError as error:
            unsearched = (f"number formats were not searched: {error.message}",)
    if statistics is None:
        configuration = with_kept_scheme(configuration, source, arithmetic)
    else:
        configuration = with_default_scheme(
            configuration,
            source,
            statistics,
            arithmetic=arithmetic,
            threads=threads,
            progress=progress,
            pinned=is_planned or where is not None,
        )
        warnings = compile_warnings(
            configuration, source, statistics, arithmetic, file=(path, found), threads=threads
        )
    progress(f"quantizing: {len(source.graph.nodes)} nodes")
    quantized = quantize(source, configuration, statistics, arithmetic, threads=threads)
    compiled = compile_model(quantized, chip, progress=progress)
    if statistics is not None:
        compiled = with_first_latency(compiled, source, statistics)
    texts = {f"{level.value}.txt": level_text(compiled, level) for level in levels}
    if formats is not None:
        texts |= {FORMATS_FILE: formats_text(formats)}
    progress(f"writing {folder}")
    write_package(compiled, folder, texts)
    planned = PLANNED if is_planned or where is not None else FASTEST
    made = compilation(compiled, folder, planned=planned)
    told = (*unsearched, *warnings, *_doubts(made))
    return replace(made, warnings=told, formats=formats, damage=damage)


def _fitted_with_profile(
    source: FloatModel, chip: Target, profile: PathName | None
) -> tuple[FloatModel, Profile | None]:
    """A model as the units of a target run the most of it, and a profile that is given; the model
    as it was imported, where the profile is of that."""
    statistics = None if profile is None else read_profile(Path(profile))
    is_whole = statistics is not None and statistics.is_of(source.graph)
    return source if is_whole else fitted(source, chip), statistics


def _asked_plan(
    plan: PathName | None,
    most_damage: float | None,
    configuration: Configuration,
    problem: tuple[Path, Target, Mapping[str, tuple[int, ...]]],
    progress: Progress,
) -> tuple[Path | Plan | None, float | None]:
    """The plan that is asked for beside a configuration, a file or one within a limit on damage,
    and what the latter does."""
    if most_damage is None:
        return None if plan is None else Path(plan), None
    if plan is not None or configuration.plan:
        raise InputError(
            "a limit on damage, and a plan or a configuration that says where layers run",
            hint="leave one of them out",
        )
    # Loaded here: search spaces are for what is searched.
    from nest_tune.api.plan_problem import PlanProblem
    from nest_tune.api.planning_within import plan_within

    model, target, shapes = problem
    limited = plan_within(
        PlanProblem(model, target, configuration=configuration, shapes=shapes, progress=progress),
        most_damage,
    )
    return limited.plan, limited.damage


def _doubts(made: Compilation) -> tuple[str, ...]:
    """What makes the numbers of a package doubtful."""
    clock, nodes = made.metrics.by_clock, made.unpriced
    doubts = () if clock is None else clock.warnings
    if not nodes:
        return tuple(doubts)
    known = "results whose shape is known only when the model runs, or graphs of"
    if len(nodes) == 1:
        said = f"operator {nodes[0]!r} has {known} its own: what it costs is in no number here"
    else:
        said = (
            f"{len(nodes)} operators have {known} their own: what they cost is in no number here "
            f"(first: {nodes[0]!r})"
        )
    return (said, *doubts)


def _takes_data(configuration: Configuration) -> bool:
    """Whether calibration data have a say in what a configuration compiles to."""
    scheme = configuration.scheme
    return not scheme.exponents or scheme.quantization().needs_statistics


def _known_levels(names: Sequence[str]) -> Sequence[str]:
    allowed = [level.value for level in Level]
    for name in names:
        if name not in allowed:
            raise InputError(f"emit {name!r}; allowed are {', '.join(allowed)}")
    return names


def compilation(compiled: CompiledModel, folder: Path, *, planned: str = PLANNED) -> Compilation:
    """What a compile wrote to ``folder``, without its programs; ``planned`` is the reason of what
    its plan alone places on the CPU."""
    return Compilation(
        folder,
        compiled.configuration,
        compiled.metrics,
        compiled.report.layers,
        tuple(sorted(compiled.tasks)),
        tuple(segment.name for segment in compiled.executable.segments),
        sum(1 for _ in compiled.executable.npu_segments),
        node_reasons(compiled, planned),
        cpu_causes(compiled, planned),
        macs_share_npu(compiled.report.layers),
        unpriced(compiled.source.model.graph),
    )


def _searched_formats(
    configuration: Configuration,
    source: FloatModel,
    statistics: Profile,
    board: str,
    progress: Progress,
) -> tuple[Configuration, FormatsReport]:
    """A configuration with the number formats that are fastest on this machine or on a board."""
    # Loaded here: records, and with them databases, are for what is timed.
    from nest_tune.stores.measured_formats import measured_formats, with_formats

    threads = configuration.runtime.threads
    choice = measured_formats(source, statistics, threads=threads, board=board, progress=progress)
    return with_formats(configuration, source, choice), formats_report(choice)


def _statistics(
    source: FloatModel,
    configuration: Configuration,
    samples: Arrays,
    threads: int,
    progress: Progress,
) -> Profile:
    """The profile of calibration data, found again where they were profiled before."""
    size = configuration.scheme.quantization().calibration
    return stored_profile(
        source.graph,
        samples,
        [size] if isinstance(size, int) else [],
        threads=threads,
        progress=lambda done, total: progress(f"calibrating: {done} of {total} samples"),
    )
