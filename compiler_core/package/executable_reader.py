"""The executable of a package whose author is not trusted: types, names and the flow of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment, Executable, Segment, units_of
from compiler_core.files.json_file import parse_json
from compiler_core.files.plain import from_plain
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.memory.plan import ADDRESS_LIMIT
from compiler_core.package.manifest import Manifest, ManifestSegment
from compiler_core.quantize.ir import IntegerOperator, QuantizedTensor
from compiler_core.tensor.operator_checks import check_operators
from compiler_core.tensor.operator_file import OPERATORS_SCHEMA, Operators, read_operators
from compiler_core.units.facets.parts import SegmentEntry, parts_of
from compiler_core.units.facets.programs import UnitSegment
from compiler_core.units.names import CPU
from compiler_core.units.ways import INT8, ways_of

_SEGMENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_EXTENT_MAX = 1 << 24


def read_executable(manifest: Manifest, files: Mapping[str, bytes], where: str) -> Executable:
    """What a package runs.

    Args:
        manifest: Of the package.
        files: Their bytes by path.
        where: The package, as errors name it.

    Raises:
        InputError: A document does not fit the others.
        KeyError: A file is missing.
    """
    memories = _memories(manifest, where)
    for name, integers in manifest.integers.items():
        if not all(1 <= size <= _EXTENT_MAX for size in integers.shape):
            raise InputError(
                f"{where}: tensor {name!r} has shape {integers.shape}; allowed are extents of 1 to "
                f"{_EXTENT_MAX}"
            )
        if not -126 <= integers.exponent <= 126:
            raise InputError(
                f"{where}: tensor {name!r} has exponent {integers.exponent}; allowed are -126 to "
                "126"
            )
    _check_views(manifest, where)
    units = [unit.name for unit in manifest.target.units]
    segments: list[Segment] = []
    placed: dict[str, str] = {}
    for entry in manifest.segments:
        if not _SEGMENT_NAME.fullmatch(entry.name):
            raise InputError(
                f"{where}: segment name {entry.name!r}; allowed are 1 to 100 letters, digits, '_' "
                "and '-'"
            )
        if entry.unit == CPU:
            model = files[f"segments/{entry.name}.onnx"]
            segments.append(CpuSegment(entry.name, entry.inputs, entry.outputs, model))
        elif entry.unit in memories:
            segments.append(_unit_segment(manifest, entry, memories[entry.unit], files, where))
            placed[entry.name] = entry.unit
        else:
            raise InputError(
                f"{where}: segment {entry.name!r} is for unit {entry.unit!r}; allowed are "
                f"{', '.join((CPU, *units))}"
            )
    _check_flow(manifest, where)
    return Executable(
        manifest.target,
        _signature(manifest),
        {
            name: QuantizedTensor(name, item.shape, item.exponent)
            for name, item in manifest.integers.items()
        },
        manifest.views,
        tuple(segments),
        memories,
        placed,
    )


def _memories(manifest: Manifest, where: str) -> dict[str, int]:
    """Size of the memory of each unit that may run a part."""
    target, found = manifest.target, dict(manifest.memories)
    if len(target.units) == 1 and not found:
        found = {target.units[0].name: manifest.dram_bytes}
    for name, size in found.items():
        target.unit(name)  # refuses what is none
        if not 0 <= size <= ADDRESS_LIMIT:
            raise InputError(f"{where}: memory of {name!r}: {size} bytes; at most {ADDRESS_LIMIT}")
    if sum(found.values()) != manifest.dram_bytes:
        raise InputError(
            f"{where}: dram_bytes {manifest.dram_bytes}; memories add up to {sum(found.values())}"
        )
    return found


def _unit_segment(
    manifest: Manifest,
    entry: ManifestSegment,
    memory_bytes: int,
    files: Mapping[str, bytes],
    where: str,
) -> UnitSegment:
    """A segment of a unit that is not the CPU."""
    folder = f"segments/{entry.name}"
    where = f"{where}: {folder}"
    own = {
        path.removeprefix(f"{folder}/"): content
        for path, content in files.items()
        if path.startswith(f"{folder}/")
    }
    if not entry.inputs or not entry.outputs:
        raise InputError(f"{where}: has no inputs or no outputs")
    shapes = {name: item.shape for name, item in manifest.integers.items()}
    operators: tuple[IntegerOperator, ...] = ()
    if _is_integer(manifest, entry):
        operators = _operators(own, folder, where)
        check_operators(operators, entry.inputs, entry.outputs, shapes, where)
    unit = manifest.target.unit(entry.unit)
    told = SegmentEntry(
        entry.name,
        entry.inputs,
        entry.outputs,
        operators,
        shapes,
        memory_bytes,
        units_of(manifest.target, unit),
    )
    try:
        return parts_of(unit.kind).read(told, own, where)
    except KeyError as error:
        raise KeyError(f"{folder}/{error.args[0]}") from error


def _is_integer(manifest: Manifest, entry: ManifestSegment) -> bool:
    """Whether a segment of a unit computes in integers, and not in numbers of the unit's own."""
    machine = manifest.target.unit(entry.unit).machine
    return ways_of(machine).formats(machine)[0] == INT8


def _operators(own: Mapping[str, bytes], folder: str, where: str) -> tuple[IntegerOperator, ...]:
    """The integer operators of a segment."""
    for name in ("operators.json", "operators.bin"):
        if name not in own:
            raise KeyError(f"{folder}/{name}")
    document = from_plain(
        Operators,
        parse_json(own["operators.json"], OPERATORS_SCHEMA, where),
        f"{where}/operators.json",
    )
    return read_operators(document, own["operators.bin"], where)


def _signature(manifest: Manifest) -> Graph:
    ports = manifest.ports
    for name, port in ports.items():
        if not 0 <= port.sample_axis < max(1, len(port.shape or ())):
            raise InputError(
                f"port {name!r}: sample_axis is {port.sample_axis}; it has shape {port.shape}"
            )
        if any(size is not None and size < 0 for size in port.shape or ()):
            raise InputError(f"port {name!r}: shape {port.shape} has a size below 0")
        # A model may fix a size of 0; where the batch is free, 0 is not what it was compiled for.
        if port.dynamic_batch and name in manifest.inputs and (port.shape or (1,))[0] == 0:
            raise InputError(f"port {name!r}: shape {port.shape} has no samples")
    return Graph(
        manifest.model.name,
        manifest.inputs,
        manifest.outputs,
        (),
        {},
        {name: TensorType(port.dtype, port.shape) for name, port in ports.items()},
        {},
        dynamic_batch=frozenset(name for name, port in ports.items() if port.dynamic_batch),
        sample_axes={name: port.sample_axis for name, port in ports.items() if port.sample_axis},
    )


def _check_views(manifest: Manifest, where: str) -> None:
    for name, view in manifest.views.items():
        place = f"{where}: view of {name!r}"
        integers, port = manifest.integers.get(name), manifest.ports.get(name)
        if integers is None or port is None or port.shape is None or None in port.shape:
            raise InputError(f"{place}: has no int8 tensor and port of static shape")
        rank = len(view.split)
        fits = rank > 0 and sorted(view.permutation) == list(range(rank))
        fits = fits and view.permutation[0] == 0 and min(view.split) >= 1
        fits = fits and prod(view.split) == prod(size for size in port.shape if size is not None)
        fits = fits and view.split[0] == integers.shape[0]
        held = view.padded or view.split
        if view.padded and fits:
            pairs = list(zip(view.padded, view.permuted, strict=False))
            fits = len(view.padded) == rank and view.padded[0] == view.split[0]
            fits = fits and all(size <= most for most, size in pairs)
        if not fits or prod(held) != prod(integers.shape):
            padded = f" padded to {view.padded}" if view.padded else ""
            raise InputError(
                f"{place}: split {view.split} and permutation {view.permutation}{padded} do not "
                f"lead from {port.shape} to {integers.shape}"
            )


def _check_flow(manifest: Manifest, where: str) -> None:
    """Every tensor that is read was computed or given before."""
    for name in (*manifest.inputs,):
        if name not in manifest.ports:
            raise InputError(f"{where}: input {name!r} has no type")
    floats, integers = set(manifest.inputs), set[str]()
    for entry in manifest.segments:
        in_float = entry.unit == CPU or not _is_integer(manifest, entry)
        for name in entry.inputs:
            as_float = name in floats or (name in integers and name in manifest.views)
            as_integer = name in integers or (name in floats and name in manifest.views)
            if not (as_float if in_float else as_integer):
                raise InputError(
                    f"{where}: segment {entry.name!r} reads {name!r}, which nobody computes"
                )
        (floats if in_float else integers).update(entry.outputs)
    for name in manifest.outputs:
        if name not in floats and not (name in integers and name in manifest.views):
            raise InputError(f"{where}: nobody computes output {name!r}")
