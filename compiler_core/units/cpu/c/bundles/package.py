"""Packages of generated C: a bundle beside the model and the decisions that it was made from.

===============  ================================================================
file             what
===============  ================================================================
``config.toml``  the decisions: precision, ranges, kernels; the same bytes follow
``source.onnx``  the float model, simplified
``bundle.json``  sizes, and the digest of every other file
===============  ================================================================
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.json_file import parse_json
from compiler_core.files.plain import ONLY_WHERE_OTHER, from_plain, to_plain
from compiler_core.files.small_file import read_small_file
from compiler_core.files.toml_file import parse_toml, toml_text
from compiler_core.graph.exporter import write_model
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.sampling import check_samples, runs
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import SCHEMA as BUNDLE_SCHEMA
from compiler_core.units.cpu.c.bundles.package_names import (
    CONFIGURATION,
    CONFIGURATION_SCHEMA,
    DOCUMENT,
    SOURCE,
)
from compiler_core.units.cpu.c.bundles.targets import Board
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.emit import extras
from compiler_core.units.cpu.c.library.place import require_library
from compiler_core.units.cpu.c.network import Array, Network
from compiler_core.units.cpu.c.plan.patches import Patches
from compiler_core.units.cpu.c.schedules.legality import illegal
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, KernelSchedule
from compiler_core.units.facets.bundles import BundleReport

_MOST_BYTES = 1 << 26

LOCKED = ("lock", "measured")
"""Tables of a configuration that decide nothing: what it was locked with."""


@dataclass(frozen=True)
class Decisions:
    """What a bundle follows from, beside the model.

    Attributes:
        schema: :data:`CONFIGURATION_SCHEMA`.
        name: C name of the model.
        model: Its name.
        digest: Of the model as imported.
        target: Complete.
        precision: ``int8`` or ``float32``.
        int4_layers, int16_layers, float_layers: Names of nodes.
        float_ports, channels_last, weight_range, patches: See
            :class:`~compiler_core.units.cpu.c.convert.options.Options`.
        ranges: Lowest and highest value by tensor.
        kernels: By the value that an operator writes; the others are portable.
    """

    schema: str
    name: str
    model: str
    digest: str
    target: Board
    precision: str = "int8"
    int4_layers: tuple[str, ...] = ()
    int16_layers: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    float_ports: bool = False
    channels_last: bool = True
    weight_range: RangeMethod = field(default=RangeMethod.MAX, metadata={ONLY_WHERE_OTHER: True})
    patches: Patches | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    kernels: Mapping[str, KernelSchedule] = field(default_factory=dict)

    def options(self) -> Options:
        """As the converter takes them."""
        return Options(
            precision=self.precision,
            weight_bits=dict.fromkeys(self.int4_layers, 4),
            int16_layers=frozenset(self.int16_layers),
            float_layers=frozenset(self.float_layers),
            float_ports=self.float_ports,
            channels_last=self.channels_last,
            weight_range=self.weight_range,
            patches=self.patches,
        )

    def statistics(self) -> dict[str, TensorRange]:
        """Ranges as the converter takes them."""
        return {name: TensorRange(low, high) for name, (low, high) in self.ranges.items()}

    def kernels_of(self, network: Network) -> dict[str, KernelSchedule]:
        """Kernel of every operator.

        Raises:
            InputError: One is not legal, or there is no such operator.
            MissingDependencyError: One is of a CMSIS-NN that is not here.
        """
        if any(kernel.unit.is_library for kernel in self.kernels.values()):
            require_library(self.target.library, f"configuration of {self.name}")
        operators = {item.output: item for item in network.operators}
        for value, kernel in self.kernels.items():
            if value not in operators:
                raise InputError(f"kernels: {value!r}: there is no such operator")
            library = bool(self.target.library)
            why = illegal(network, operators[value], kernel, self.target.core, library=library)
            if why is not None:
                raise InputError(f"kernels: {value!r}: {kernel} is not legal there: {why}")
        return {value: self.kernels.get(value, PORTABLE) for value in operators}

    def with_kernels(self, kernels: Mapping[str, KernelSchedule]) -> Decisions:
        """The same with kernels; portable ones are not written, nor a library that none is of."""
        chosen = {value: kernel for value, kernel in kernels.items() if kernel != PORTABLE}
        called = any(kernel.unit.is_library for kernel in chosen.values())
        target = replace(self.target, library=self.target.library if called else "")
        return replace(self, target=target, kernels=chosen)

    def text(self) -> str:
        """As TOML."""
        plain = {key: value for key, value in to_plain(self).items() if value not in ([], {}, None)}
        plain["target"] = {k: v for k, v in plain["target"].items() if v is not None}
        return toml_text(plain)


def decisions_of(
    name: str,
    model: tuple[str, str],
    board: Board,
    options: Options,
    ranges: Mapping[str, TensorRange],
) -> Decisions:
    """Decisions without kernels.

    Args:
        name: C name.
        model: Name and digest.
        board: Its target.
        options: Of the converter.
        ranges: Of all tensors; those without bounds are left out.
    """
    return Decisions(
        CONFIGURATION_SCHEMA,
        name,
        *model,
        board,
        options.precision,
        tuple(node for node, bits in options.weight_bits.items() if bits == 4),
        tuple(sorted(options.int16_layers)),
        tuple(sorted(options.float_layers)),
        options.float_ports,
        options.channels_last,
        options.weight_range,
        options.patches,
        bounds_of(ranges),
    )


def bounds_of(ranges: Mapping[str, TensorRange]) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of tensors that have both."""
    return {n: (float(r.low), float(r.high)) for n, r in sorted(ranges.items()) if r.bounded}


def read_configuration(path: Path, digest: str) -> Decisions:
    """Decisions from a file, for a model.

    Raises:
        InputError: It is of another kind or for another model, or a value is wrong.
    """
    found = read_decisions(read_small_file(path, _MOST_BYTES), str(path))
    if digest and found.digest != digest:
        raise InputError(
            f"{path}: it is for model {found.model!r} with digest {found.digest[:16]}…; this one "
            f"has {digest[:16]}…",
            hint="compile the model that it was made for",
        )
    return found


def read_decisions(content: bytes, where: str) -> Decisions:
    """Decisions from a file.

    Raises:
        InputError: It is of another kind, or a value is wrong.
    """
    plain = parse_toml(content, where)
    if plain.get("schema") != CONFIGURATION_SCHEMA:
        raise InputError(
            f"{where}: schema {plain.get('schema')!r}; {CONFIGURATION_SCHEMA!r} is needed"
        )
    decided = {name: value for name, value in plain.items() if name not in LOCKED}
    found = from_plain(Decisions, decided, where)
    for tensor, (low, high) in found.ranges.items():
        if low > high:
            raise InputError(f"{where}: ranges: {tensor!r}: {low} is more than {high}")
    return found


def package_files(graph: Graph, decisions: Decisions) -> dict[str, bytes]:
    """Files that make a bundle a package, without its document."""
    return {
        CONFIGURATION: decisions.text().encode(),
        SOURCE: write_model(graph).SerializeToString(deterministic=True),
    }


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


class OpenPackage:
    """A package that was read back; see :class:`compiler_core.units.facets.bundles.OpenBundle`.

    Args:
        folder: Of the package.

    Raises:
        InputError: It is none, or a file is missing or changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        document = _document(folder)
        for name, digest in document["files"].items():
            content = read_small_file(folder / name, _MOST_BYTES)
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(
                    f"package {folder}: {name} was changed after it was written",
                    hint="compile it again",
                )
        where = str(folder / CONFIGURATION)
        content = read_small_file(folder / CONFIGURATION, _MOST_BYTES)
        self.decisions = read_decisions(content, where)
        self.report: BundleReport = from_plain(
            BundleReport, document["report"], f"package {folder}: {DOCUMENT}: report"
        )

    @cached_property
    def graph(self) -> Graph:
        """The float model."""
        return simplify(import_onnx(self.folder / SOURCE))

    @property
    def model(self) -> tuple[str, str]:
        """Its name and its digest as imported."""
        return self.decisions.model, self.decisions.digest

    @cached_property
    def network(self) -> Network:
        """The definition of the bits."""
        return to_network(self.graph, self.decisions.statistics(), self.decisions.options())

    def run(self, samples: Mapping[str, Array], *, emulated: bool = False) -> dict[str, Array]:
        """See :class:`compiler_core.units.facets.bundles.OpenBundle`."""
        require_library(self.decisions.target.library, f"package {self.folder}")
        network = self.network
        count = check_samples(self.graph, samples)
        fed = [self._fed(sample) for sample in runs(self.graph, samples)]
        content = b"".join(item.tobytes() for sample in fed for item in sample)
        core = cores.core_of(self.report.core if emulated else "c99")
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch)
            main = place / "batch.c"
            main.write_text(extras.batch(network, self.decisions.name))
            program = place / "program"
            cores.build(core, self.folder.resolve(), program, main=str(main), extra=core.samples)
            written = cores.feed(core, program, content)
        return self._split(written, len(fed), count)

    def reference(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`compiler_core.units.facets.bundles.OpenBundle`."""
        network = self.network
        rows: dict[str, list[Array]] = {name: [] for name in self.graph.outputs}
        for sample in runs(self.graph, samples):
            found = network.run(dict(zip(network.inputs, self._fed(sample), strict=True)))
            for tensor, value in zip(self.graph.outputs, network.outputs, strict=True):
                rows[tensor].append(found[value].reshape(-1))
        return {name: np.stack(parts) for name, parts in rows.items()}

    def real(self, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See :class:`compiler_core.units.facets.bundles.OpenBundle`."""
        value = self.network.outputs[list(self.graph.outputs).index(name)]
        return np.concatenate([self.network.real(value, row) for row in rows])

    def with_ranges(self, ranges: Mapping[str, TensorRange]) -> OpenPackage:
        """See :class:`compiler_core.units.facets.bundles.OpenBundle`."""
        other = copy(self)
        other.__dict__.pop("network", None)
        other.decisions = replace(self.decisions, ranges=bounds_of(ranges))
        return other

    def _fed(self, sample: Mapping[str, Array]) -> list[Array]:
        """Inputs of one run as the function takes them."""
        network = self.network
        pairs = zip(network.inputs, network.tensors, strict=False)
        return [network.quantized(value, sample[tensor]) for value, tensor in pairs]

    def _split(self, written: bytes, count: int, samples: int) -> dict[str, Array]:
        """Rows per output of what a program wrote."""
        network = self.network
        values = [network.values[name] for name in network.outputs]
        row = sum(value.size_bytes for value in values)
        if len(written) != row * count:
            raise InputError(
                f"package {self.folder}: {samples} samples should give {row * count} bytes; the "
                f"program wrote {len(written)}"
            )
        table = np.frombuffer(written, np.uint8).reshape(count, row)
        found, first = {}, 0
        for tensor, value in zip(self.graph.outputs, values, strict=True):
            part = table[:, first : first + value.size_bytes]
            found[tensor] = np.ascontiguousarray(part).view(value.type.dtype)
            first += value.size_bytes
        return found


def _document(folder: Path) -> dict[str, Any]:
    where = f"package {folder}: {DOCUMENT}"
    plain = parse_json(read_small_file(folder / DOCUMENT, _MOST_BYTES), BUNDLE_SCHEMA, where)
    named = isinstance(plain.get("files"), dict)
    if not named or not _plain_names(plain["files"]) or CONFIGURATION not in plain["files"]:
        raise InputError(f"{where}: it names no files", hint="nest-tune compile writes packages")
    return {"files": plain["files"], "report": plain.get("report")}


def _plain_names(files: Mapping[str, Any]) -> bool:
    """Whether names stay in the folder and digests are texts."""
    names: Sequence[str] = list(files)
    return all(Path(n).name == n and isinstance(files[n], str) for n in names)
