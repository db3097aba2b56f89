"""What every kind of unit has to hold that runs parts of models: from a graph to a package, its
bits and its times.

The author of a kind calls :func:`check_unit_models` in a test of the plug-in, with a target whose
unit is of the kind; a facet that the kind does not have is not checked.

Example:
    >>> from compiler_core.targets.load import load_target
    >>> from nest_tune.testing.unit_models import check_unit_models
    >>> def test_models() -> None:
    ...     check_unit_models(load_target("my-chip.toml"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, noise_samples, quantize_model
from compiler_core.compile.unit_layers import model_layers
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.configuration.slicing import read_slicings, slicing_tables
from compiler_core.errors import NestTuneError
from compiler_core.executable.backends import Reference, Simulator
from compiler_core.executable.executable import units_of
from compiler_core.executable.runner import PackageRunner
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.text import graph_digest
from compiler_core.partition.configured import with_plan
from compiler_core.quantize.arithmetic import OperatorWindow, RequantizationForm, arithmetic_of
from compiler_core.quantize.scheme import QuantizationScheme, Scales
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target
from compiler_core.units.facets.parts import SegmentEntry, parts_of
from compiler_core.units.facets.profiles import profiles_of
from compiler_core.units.facets.programs import LaunchState, UnitSegment, programs_of
from compiler_core.units.names import CPU
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import ways_of

_RUNS = 3


def check_unit_models(target: Target, models: Sequence[FloatModel] = ()) -> None:
    """Checks the facets of a kind that runs parts of models.

    Args:
        target: Its unit is of the kind.
        models: Compiled beside a small network that comes with this suite.

    Raises:
        AssertionError: Something does not hold; says what.
    """
    for model in (small_model(), *models):
        check_arithmetic(target, model)
        if not kind_of_machine(target.npu).has("programs"):
            continue
        compiled = _compiled(target, model)
        segments = list(compiled.executable.npu_segments)
        assert segments, f"nothing of {model.name} runs on the unit"
        check_programs(target, compiled)
        check_parts(target, compiled)
        check_profiles(target, compiled)
        check_cuts(compiled)
    check_places(target)


def check_arithmetic(target: Target, model: FloatModel) -> None:
    """Limits of one machine only take away, and reasons are sentences."""
    own, graph = arithmetic_of(target.npu), model.graph
    assert own.kind == target.npu.kind, "the arithmetic names its kind"
    assert own == arithmetic_of(target.npu), "equal machines have equal arithmetics"
    assert own.general == own.general.general, "what is general has no limits to lose"
    assert own.traits.channel_block >= 1, "a block holds a channel"
    assert own.traits.requantization is RequantizationForm.SHIFT, "quantization knows shifts alone"
    plain = QuantizationScheme(scales=Scales.POWER_OF_TWO)
    for node in graph.nodes:
        reason = own.unsupported(graph, node)
        assert reason == own.general.unsupported(graph, node), "a node alone meets no limits"
        assert reason is None or reason.strip(), f"{node.name}: a reason says something"
        if reason is None:
            assert own.unsupported_scheme(graph, node, plain) is None, f"{node.name}: int8 runs"
    for window in _windows():
        if own.general.misfit(window) is not None:
            assert own.misfit(window) is not None, f"{window} fits a machine, not the kind"


def check_programs(target: Target, compiled: CompiledModel) -> None:
    """Programs give the bits of the operators, and cost what their tasks cost."""
    executable, machine = compiled.executable, target.npu
    programs = programs_of(machine.kind)
    inputs = noise_samples(compiled.source.model.graph, _RUNS)
    seen: list[LaunchState] = []
    expected = PackageRunner(executable, Reference(executable)).run(inputs)
    for threads, observer in ((1, None), (2, seen.append)):
        simulator = Simulator(executable, threads=threads, observer=observer)
        for name, values in PackageRunner(executable, simulator).run(inputs).items():
            assert np.array_equal(values, expected[name]), f"{name}: other bits than the operators"
    launches = [launch for part in executable.npu_segments for launch in part.launches]
    assert len(seen) == sum(len(launch.cores) for launch in launches), "each program is told of"
    for launch in launches:
        cost = programs.time(launch, machine)
        assert programs.time(launch, machine) == cost, "a cost repeats itself"
        assert len(cost.cores) == len(launch.cores) > 0, "a cost for each unit that takes part"
        last = max(core.cycles for core in cost.cores)
        assert 0 < cost.cycles == last, "a launch ends with its last program"
        taken = max(cost.read_cycles, cost.write_cycles)
        assert 0 <= taken <= cost.cycles, "a channel is taken while the launch runs"
        counted = sum(core.instructions for core in cost.cores)
        assert counted == launch.instruction_count, "instructions are counted once"
        if launch.layer in compiled.cuts:
            continue
        schedule = compiled.configuration.schedules[launch.task]
        work = compiled.tasks[launch.task].workload
        alone = kind_of_machine(machine).tasks.measure(work, schedule, machine)
        assert cost.cycles == alone.cycles, f"{launch.task}: a model's program has its task's cost"
        told = sum(sum(core.moved_bytes.values()) for core in cost.cores)
        assert told == alone.dram_bytes, f"{launch.task}: a model's program moves its task's bytes"
        if alone.energy_pj is not None:
            assert cost.energy_pj == alone.energy_pj, f"{launch.task}: and takes its energy"
        if not kind_of_machine(machine).has("launches"):
            demand = alone.read_cycles, alone.write_cycles
            assert (cost.read_cycles, cost.write_cycles) == demand, f"{launch.task}: its demand"
    again = _compiled(target, compiled.source.model)
    codes = [launch.code for part in again.executable.npu_segments for launch in part.launches]
    assert codes == [launch.code for launch in launches], "compiles repeat themselves"
    _check_layers(compiled)


def _check_layers(compiled: CompiledModel) -> None:
    made = model_layers(compiled.source.quantized, compiled.executable.target)
    for part, segment in zip(made, compiled.executable.npu_segments, strict=True):
        names = [layer.operator.name for layer in part.layers]
        assert [launch.layer for launch in segment.launches] == names, "a launch for each layer"
        for name in (*segment.inputs, *segment.outputs):
            values = int(np.prod(compiled.executable.tensors[name].shape))
            assert segment.tensor_bytes(name) >= values, f"{name}: fewer bytes than values"


def check_parts(target: Target, compiled: CompiledModel) -> None:
    """Segments survive being files, and damaged files are refused or harmless."""
    executable = compiled.executable
    parts = parts_of(target.npu.kind)
    inputs = noise_samples(compiled.source.model.graph, _RUNS)
    read = []
    for segment in executable.npu_segments:
        files, entry = parts.files(segment), _entry(segment, compiled)
        assert files == parts.files(segment), "files repeat themselves"
        again = parts.read(entry, files, "here")
        assert parts.files(again) == files, "a segment survives being files"
        assert again.kind == segment.kind == target.npu.kind, "a segment names its kind"
        codes = [launch.code for launch in again.launches]
        assert codes == [launch.code for launch in segment.launches], "programs survive"
        lines = list(parts.tensors(again))
        assert lines == list(parts.tensors(segment)), "places of tensors survive"
        for launch in segment.launches:
            assert list(parts.commands(segment, launch)), "a launch has a text"
        read.append(again)
        for damaged in _damaged(files):
            try:
                parts.read(entry, damaged, "here")
            except (NestTuneError, KeyError):
                continue
    session = programs_of(target.npu.kind).prepare(
        read, executable.tensors, executable.dram_bytes, target.npu
    )
    runner = PackageRunner(executable, _Read(session, read))
    expected = PackageRunner(executable, Reference(executable)).run(inputs)
    for name, values in runner.run(inputs).items():
        assert np.array_equal(values, expected[name]), f"{name}: other bits after reading"


class _Read:
    """Runs segments that were read in place of those that were compiled."""

    def __init__(self, session: Any, segments: Sequence[UnitSegment]) -> None:
        self._session = session
        self._segments = {segment.name: segment for segment in segments}

    def run(
        self, segment: UnitSegment, inputs: Mapping[str, npt.NDArray[np.int8]]
    ) -> dict[str, npt.NDArray[np.int8]]:
        runs = [
            self._session.run(
                self._segments[segment.name], {n: a[at : at + 1] for n, a in inputs.items()}
            )
            for at in range(len(next(iter(inputs.values()))))
        ]
        return {name: np.concatenate([run[name] for run in runs]) for name in segment.outputs}

    def run_numbers(
        self, segment: UnitSegment, feeds: Sequence[Mapping[str, npt.NDArray[Any]]]
    ) -> list[Mapping[str, npt.NDArray[Any]]]:
        return [self._session.run(self._segments[segment.name], feed) for feed in feeds]


def check_profiles(target: Target, compiled: CompiledModel) -> None:
    """Timelines lie within their launches, and roofs are above what is reached."""
    machine = target.npu
    known, programs = profiles_of(machine), programs_of(machine.kind)
    if known is None:
        return
    roof, tracks = known.roof(machine), known.tracks(machine)
    assert min(roof.macs_per_cycle, roof.bytes_per_cycle) > 0, "a roof is above 0"
    assert len(set(tracks)) == len(tracks) > 0, "tracks have different names"
    for launch in (x for part in compiled.executable.npu_segments for x in part.launches):
        cost = programs.time(launch, machine)
        end_ns = cost.cycles / machine.clock_hz * 1e9
        slices = list(known.slices(launch, machine))
        assert slices, "a launch has a timeline"
        for found in slices:
            assert found.core in launch.cores, "a span is of a unit that takes part"
            assert 0 <= found.slice.track < len(tracks), "a span lies on a track"
            start, end = found.slice.start_ns, found.slice.end_ns
            assert 0 <= start <= end <= end_ns + 1, "a span lies within its launch"
        for spans in known.busy(launch, machine).values():
            for begun, last in spans:
                assert begun.shape == last.shape, "spans have two ends"
                assert (begun <= last).all(), "a span ends after it begins"
                assert (last <= cost.cycles).all(), "a module works after the end"
        macs = compiled.tasks[launch.task].workload.macs
        assert macs <= cost.cycles * roof.macs_per_cycle * len(launch.cores), "above its roof"


def check_cuts(compiled: CompiledModel) -> None:
    """Ways of cutting survive a configuration, and lead to the same programs again."""
    slicing = compiled.configuration.slicing
    tables = slicing_tables(slicing)
    assert read_slicings(tables, "here") == slicing, "a way of cutting survives being a table"
    assert set(compiled.cuts.values()) <= set(slicing), "a layer that is cut says how"


def check_places(target: Target) -> None:
    """Places have names of their own, and forms are large enough for their values."""
    machine, cores = target.npu, target.npu_cores
    known = ways_of(machine)
    ways, formats = known.ways(machine, cores), known.formats(machine)
    assert len(set(formats)) == len(formats) > 0, "number formats have different names"
    assert ways[0].suffix == "", "a whole operator on any core comes first"
    assert len({way.suffix for way in ways}) == len(ways), "ways have different names"
    assert all(way.core < cores for way in ways), "a way names a core that there is"
    for number in formats:
        for shape in ((1, 1, 1, 1), (2, 17, 5, 3)):
            form = known.form(shape, number, machine)
            assert form.bytes >= int(np.prod(shape)) // 2, f"{number}: fewer bits than 4 a value"
            assert form.layout, f"{number}: a form has a name"
            assert form.extra_s >= 0, f"{number}: a border takes no less than no time"


def small_model() -> FloatModel:
    """A network of the operators that most kinds have something to say of: a convolution, a pool, a
    convolution by channels, a residual, a dense layer."""
    random, nodes, weights = np.random.default_rng(0), [], []

    def constant(name: str, *shape: int) -> str:
        scale = np.sqrt(max(1, int(np.prod(shape[1:]))))
        value = (random.standard_normal(shape) / scale).astype(np.float32)
        weights.append(numpy_helper.from_array(value, name))
        return name

    def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    names = [constant("w0", 24, 5, 3, 3), constant("b0", 24)]
    node("Relu", [node("Conv", ["x", *names], "conv", pads=[1, 1, 1, 1])], "relu")
    node("MaxPool", ["relu"], "pool", kernel_shape=[2, 2], strides=[2, 2])
    names = [constant("w1", 24, 1, 3, 3), constant("b1", 24)]
    node("Conv", ["pool", *names], "depthwise", pads=[1, 1, 1, 1], group=24)
    names = [constant("w2", 24, 24, 1, 1), constant("b2", 24)]
    node("Add", [node("Conv", ["depthwise", *names], "point"), "pool"], "sum")
    node("Flatten", ["sum"], "flat")
    node("Gemm", ["flat", constant("w3", 384, 10), constant("b3", 10)], "y")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=10)
    imported = import_model(model, where="small")
    return FloatModel("small", graph_digest(imported), simplify(imported))


def _compiled(target: Target, model: FloatModel) -> CompiledModel:
    # Each program of one layer, whose cost is that of its task.
    apart = Configuration(launches=LaunchSettings(merge=False))
    configuration = with_plan(apart, model, target)
    samples = noise_samples(model.graph)
    arithmetic = target_arithmetic(target)
    quantized = quantize_model(model, configuration, samples, arithmetic=arithmetic)
    placed = quantized.configuration.plan.values()
    assert any(unit != CPU for unit in placed), f"{model.name} is placed on the CPU"
    return compile_model(quantized, target)


def _entry(segment: UnitSegment, compiled: CompiledModel) -> SegmentEntry:
    executable = compiled.executable
    return SegmentEntry(
        segment.name,
        segment.inputs,
        segment.outputs,
        segment.operators,
        {name: tensor.shape for name, tensor in executable.tensors.items()},
        executable.dram_bytes,
        units_of(executable.target, executable.unit_of(segment)),
    )


def _damaged(files: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Files of which one is missing, cut short, empty or changed."""
    random = np.random.default_rng(0)
    for name, content in files.items():
        others = {other: known for other, known in files.items() if other != name}
        changed = bytearray(content or b"\0")
        changed[int(random.integers(len(changed)))] ^= 0xFF
        yield others
        yield {**others, name: b""}
        yield {**others, name: content[: len(content) // 2]}
        yield {**others, name: b"{}"}
        yield {**others, name: bytes(changed)}


def _windows() -> Iterator[OperatorWindow]:
    for size in (1, 3, 16, 64, 1024):
        for compares in (False, True):
            for outputs in (1, 16, 1 << 20):
                yield OperatorWindow(
                    (size, size),
                    (1, 1),
                    (size, size),
                    distinct_weights=not compares,
                    compares=compares,
                    outputs=outputs,
                )
