"""Where layers follow one another: whether a layer continues the program of the one before, and how
it begins then, as a part of the outer space.

Only borders are offered at which something can be gained; what is not decided, a compile finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import BORDERS, OWN
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.overlaps import compiled_plan
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target
from compiler_core.units.facets.borders import Borders
from compiler_core.units.registry import kind_of_machine
from search_spaces.joint import OuterPoint
from search_spaces.parameter import Parameter

FOUND, OWN_LAUNCH = "found", "own launch"

_MOST = 8
"""Borders that are offered, those with the most room."""
_LEAST_SHARE = 0.005
"""Of the latency that a border has to have room for."""


class BordersPart:
    """How layers begin that continue the program of the one before.

    Args:
        evaluator: The model on its target.
        target: The machine.
        placement: By which borders are looked for; beside other places a decision about a layer
            that continues none changes nothing.
    """

    name = BORDERS

    def __init__(self, evaluator: Evaluator, target: Target, placement: Placement) -> None:
        self._choices: list[Mapping[str, Mapping[str, int]]] = []
        found = []
        for layer, choices in _borders(evaluator, target, placement).items():
            found.append(Parameter(layer, (FOUND, OWN_LAUNCH, *choices), ordered=False))
            self._choices.append(choices)
        self.parameters: tuple[Parameter, ...] = tuple(found)
        self.default: OuterPoint = (0,) * len(found)

    def decode(self, point: OuterPoint) -> Mapping[str, Mapping[str, int]]:
        """What a configuration pins, by layer."""
        found = {}
        for index, parameter, choices in zip(point, self.parameters, self._choices, strict=True):
            value = parameter.values[index]
            if value != FOUND:
                found[parameter.name] = dict(OWN if value == OWN_LAUNCH else choices[value])
        return found

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        """None: the default is what the timing simulator found."""
        return ()


def _borders(
    evaluator: Evaluator, target: Target, placement: Placement
) -> dict[str, Mapping[str, Mapping[str, int]]]:
    """Layers whose beginning leaves room for something, in order, with the ways to begin."""
    compiled = compiled_plan(placement, evaluator.groups, target, Configuration())
    rooms: dict[str, float] = {}
    choices: dict[str, Mapping[str, Mapping[str, int]]] = {}
    for segment in compiled.executable.npu_segments:
        unit = compiled.executable.unit_of(segment)
        kind = kind_of_machine(unit.machine)
        if not kind.has("borders"):
            continue
        known: Borders = kind.facet("borders", Borders)
        for launch in segment.launches:
            cycles = known.room_cycles(launch, unit.machine)
            room_ms = 1e3 * cycles / unit.machine.clock_hz
            if room_ms >= _LEAST_SHARE * compiled.metrics.latency_ms:
                rooms[launch.layer], choices[launch.layer] = room_ms, known.choices
    most = sorted(rooms, key=lambda layer: -rooms[layer])[:_MOST]
    return {layer: choices[layer] for layer in rooms if layer in most}
