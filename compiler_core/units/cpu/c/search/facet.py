"""Searches of generated C: the CPU's facet of :mod:`compiler_core.units.facets.candidates`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

from compiler_core.clock.machine import this_machine
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph
from compiler_core.quantize.range_methods import clipped_magnitude
from compiler_core.quantize.scheme import SEARCHED_RANGES, RangeMethod
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import default_scratch
from compiler_core.units.cpu.c.bundles.classes import counts_classes
from compiler_core.units.cpu.c.bundles.package import Decisions, decisions_of, read_configuration
from compiler_core.units.cpu.c.bundles.rungs import rungs
from compiler_core.units.cpu.c.bundles.targets import Board, load_board
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import WEIGHT_RANGES, Options
from compiler_core.units.cpu.c.emit.text import identifier
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.plan.patch_choices import patch_choices
from compiler_core.units.cpu.c.plan.patches import read_patches
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, choices
from compiler_core.units.cpu.c.search.candidate import PACKED, WIDE, CCandidate
from compiler_core.units.cpu.c.tasks.machine import tools_of
from compiler_core.units.facets.bundles import BundleRung
from compiler_core.units.facets.candidates import (
    CandidateRequest,
    DecidedCandidate,
    LayerPrecisions,
)

_GENERATOR = 4
"""Raised with every change of kernels that alters what an operator costs."""

_MOST_PATCHES = 4
"""Ways to run the first operators in stripes that a search chooses from."""

_LEVELS = 127
"""Integers of either sign, of which ranges are clipped for."""

_BITS = {"int8": 8, "int4": 4, PACKED: 4, WIDE: 8}
"""Bits of weights by precision."""


class CCandidates:
    """Candidates in C99."""

    def metrics(self, target: str) -> tuple[str, ...]:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        board = load_board(target)
        core = cores.core_of(board.core)
        found: tuple[str, ...] = ("flash_bytes", "constant_bytes", "ram_peak_bytes")
        if core.tick:
            timed = ("latency_ms",) if board.clock_hz is not None else ()
            return ("instructions", "cycles", *timed, *found)
        return ("latency_ms", *found) if _is_here(board) else found

    def identity(self, target: str) -> str:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        board = load_board(target)
        core = cores.core_of(board.core)
        found = f"{_GENERATOR}; {tools_of(core, target)}"
        found += f"; {board.library}" if board.library else ""
        if not core.tick and _is_here(board):  # times by the clock are this machine's
            return f"{found}; {replace(this_machine(), runtime='').digest}"
        return f"{found}; classes of instructions" if counts_classes(core.name) else found

    def packages(self, target: str) -> str:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        return cores.core_of(load_board(target).core).package

    def origin_of_cycles(self, target: str, costs: Mapping[str, float]) -> str:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        if "cycles" not in costs or "instructions" not in costs:
            return ""
        assumed = cores.core_of(load_board(target).core).cycles_per_instruction
        if costs["cycles"] == round(costs["instructions"] * assumed):
            return f"an assumed {assumed:g} cycles per instruction"
        return (
            "the classes of these instructions, which a plugin of the emulator counts, with the "
            "cycles of each that the documentation of the core names"
        )

    def ranging(self) -> Mapping[str, tuple[str, ...]]:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        return {
            "activation_range": tuple(method.value for method in SEARCHED_RANGES),
            "weight_range": tuple(method.value for method in WEIGHT_RANGES),
        }

    def precisions(
        self, graph: Graph, ranges: Mapping[str, TensorRange]
    ) -> tuple[LayerPrecisions, ...]:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        network = to_network(graph, ranges)
        found: dict[str, LayerPrecisions] = {}
        several: set[str] = set()
        for operator in network.operators:
            if not isinstance(operator, Convolution | Dense):
                continue
            if operator.name in found:
                several.add(operator.name)
            size = network.values[operator.output].size
            macs = size * prod(operator.weights.shape[1:])
            names = tuple(_BITS)
            found[operator.name] = LayerPrecisions(
                operator.name, names, operator.weights.size, macs
            )
        return tuple(choice for name, choice in found.items() if name not in several)

    def forms(self, graph: Graph) -> tuple[str, ...]:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        found = rungs(graph)
        return (found[0].name, *(rung.name for rung in found if _is_form(rung)))

    def memory_plans(
        self, graph: Graph, ranges: Mapping[str, TensorRange], target: str
    ) -> tuple[str, ...]:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        scratch = default_scratch(load_board(target).core)
        found = patch_choices(to_network(graph, ranges), scratch, _MOST_PATCHES)
        return ("", *(str(choice.patches) for choice in found))

    def decided(
        self, configuration: Path, graph: Graph, digest: str, ranges: Mapping[str, TensorRange]
    ) -> DecidedCandidate:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        found = read_configuration(configuration, digest)
        form = _form(found, graph)
        ways = self.ranging()["activation_range"]
        fitting = (way for way in ways if _same(found, _clipped(ranges, RangeMethod(way))))
        way = next(fitting, None)
        if way is None:
            raise InputError(
                f"{configuration}: its ranges follow from these calibration data by none of "
                f"{', '.join(ways)}",
                hint="a lock file that was made with the same calibration data",
            )
        return DecidedCandidate(
            {"activation_range": way, "weight_range": found.weight_range.value},
            _precisions(found, to_network(graph, found.statistics(), found.options())),
            "" if found.patches is None else str(found.patches),
            form,
        )

    def make(self, request: CandidateRequest) -> CCandidate:
        """See :class:`compiler_core.units.facets.candidates.Candidates`."""
        ways = {"activation_range": "max", "weight_range": "max", **request.ranging}
        for name, value in request.precisions.items():
            if value not in _BITS:
                raise InputError(
                    f"precision of {name!r}: {value!r}; known are {', '.join(_BITS)}",
                    hint=did_you_mean(value, tuple(_BITS)),
                )
        form = _rung(request.graph, request.form)
        whole = request.precisions if form.precision == "int8" else {}
        own = {n: p for n, p in whole.items() if n not in form.float_layers}
        options = Options(
            form.precision,
            weight_bits={n: 4 for n, p in own.items() if _BITS[p] == 4},
            int16_layers=frozenset(n for n, p in own.items() if p == WIDE),
            float_layers=frozenset(form.float_layers),
            float_ports=form.float_ports,
            weight_range=RangeMethod(ways["weight_range"]),
            patches=read_patches(request.memory) if request.memory else None,
        )
        ranges = _clipped(request.ranges, RangeMethod(ways["activation_range"]))
        board = load_board(request.target)
        name = identifier(request.model[0])
        packed = [node for node, value in own.items() if value == PACKED]
        decisions = decisions_of(name, request.model, board, options, ranges)
        return CCandidate(request.graph, decisions, packed)


def _is_form(rung: BundleRung) -> bool:
    """Whether something is float32 in it; precisions of layers say the rest."""
    return bool(rung.float_layers) or rung.precision != "int8"


def _rung(graph: Graph, form: str) -> BundleRung:
    """The default of a form's name; the first for none.

    Raises:
        InputError: There is no such form.
    """
    known = {rung.name: rung for rung in rungs(graph)}
    if form not in ("", *known):
        raise InputError(f"form {form!r} is not known; known are {', '.join(known)}")
    return known[form] if form else next(iter(known.values()))


def _form(decisions: Decisions, graph: Graph) -> str:
    """The form that decisions have; empty for the usual one.

    Raises:
        InputError: Layers or ports are float32 that are in no form.
    """
    own = set(decisions.float_layers), decisions.precision, decisions.float_ports
    for place, rung in enumerate(rungs(graph)):
        theirs = set(rung.float_layers), rung.precision, rung.float_ports
        if own == theirs and (not place or _is_form(rung)):
            return rung.name if place else ""
    raise InputError(
        f"{decisions.name}: the configuration has layers or ports in float32 that no study decides"
    )


def _clipped(ranges: Mapping[str, TensorRange], method: RangeMethod) -> dict[str, TensorRange]:
    """Ranges in which what a method clips is left out, so that their ends say all."""
    if method is RangeMethod.MAX:
        return dict(ranges)
    found = {}
    for name, known in ranges.items():
        if not known.bounded or known.absmax == 0:
            found[name] = known
            continue
        low = -clipped_magnitude(known.negative, max(-known.low, 0.0), method, _LEVELS)
        high = clipped_magnitude(known.positive, max(known.high, 0.0), method, _LEVELS)
        found[name] = TensorRange(low, high)
    return found


def _same(decisions: Decisions, ranges: Mapping[str, TensorRange]) -> bool:
    """Whether decisions have these ranges."""
    bounded = {name: known for name, known in ranges.items() if known.bounded}
    return decisions.ranges == {n: (float(r.low), float(r.high)) for n, r in bounded.items()}


def _precisions(decisions: Decisions, network: Network) -> dict[str, str]:
    """Precision by node, where it is not the usual one: weights of 4 bits stay packed where no
    kernel of the node unpacks them, though one could."""
    unpacked, could = set(), set()
    for item in network.operators:
        if decisions.kernels.get(item.output, PORTABLE).unpacked:
            unpacked.add(item.name)
        if any(kernel.unpacked for kernel in choices(item, decisions.target.core)):
            could.add(item.name)
    stay = could - unpacked
    found = {node: PACKED if node in stay else "int4" for node in decisions.int4_layers}
    return {**found, **dict.fromkeys(decisions.int16_layers, WIDE)}


def _is_here(board: Board) -> bool:
    """Whether programs for a board run on this machine itself."""
    return not cores.core_of(board.core).emulator


CANDIDATES = CCandidates()
