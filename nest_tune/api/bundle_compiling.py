"""The compile of a model to a package of generated sources for a microcontroller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler_core.compile.sources import FloatModel
from compiler_core.errors import InputError
from compiler_core.graph.passes.double_precision import has_doubles
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.units.facets.bundles import (
    BundleRequest,
    Bundles,
)
from nest_tune.api.bundle_ladder import BundleCompilation, climbed
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
    return climbed(bundles, request, rungs, data, profile, progress)


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
    loaded = loaded_model(path, shapes, calibration)
    source = model_for_sources(loaded)
    if has_doubles(loaded.graph):
        progress("float64 is computed, calibrated and compared in float32")
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
