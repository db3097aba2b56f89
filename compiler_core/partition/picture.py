"""A picture of the partitioned graph as SVG, laid out here: no program or library is needed.

Layers are longest ways from the inputs; within a layer groups are ordered by the middle of their
neighbours, swept down and up a few times. An edge over several layers, such as that around a
residual block, goes down beside their boxes.

Source: Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
structures", 1981.
"""

from __future__ import annotations

from compiler_core.files.xml_text import xml_text
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.group_graph import OUTSIDE
from compiler_core.system.jobs import PICOSECONDS, JobKind
from compiler_core.units.names import CPU

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 168, 40, 24, 34, 24
_SHOULDER = 50
_SWEEPS = 6
_NAME_LENGTH = 24
_STYLE = """
  text { font: 11px sans-serif; fill: #222 } .small { font-size: 9.5px; fill: #555 }
  .group { stroke: #444; stroke-width: 1 } .critical { stroke: #c0392b; stroke-width: 2.5 }
  .cpu { fill: #dfe6ee } .npu { fill: #d6ecd2 }
  .unit1 { fill: #f6e3c5 } .unit2 { fill: #e6d9ef } .unit3 { fill: #f5d5d5 }
  path { fill: none; stroke: #888; stroke-width: 1.2 }
  path.border { stroke: #d35400; stroke-width: 2; stroke-dasharray: 5 3 }
"""


_UNIT_CLASSES = ("npu", "unit1", "unit2", "unit3", CPU)
"""Colours by index of the unit; further ones have the last one's, the CPU's stands at -1."""


def draw(evaluator: Evaluator, evaluation: Evaluation, title: str) -> str:
    """The groups with their units and times; conversions at borders are dashed."""
    return _Picture(evaluator, evaluation).text(title)


class _Picture:
    def __init__(self, evaluator: Evaluator, evaluation: Evaluation) -> None:
        self._evaluator, self._evaluation = evaluator, evaluation
        self._edges = sorted(
            {
                (tensor.producer, reader)
                for tensor in evaluator.groups.tensors
                if tensor.producer != OUTSIDE
                for reader in tensor.consumers
            }
        )
        self._times: dict[int, int] = {}
        self._critical: set[int] = set()
        path = set(evaluation.timeline.critical_path())
        for index, job in enumerate(evaluation.jobs):
            if job.kind in (JobKind.OPERATOR, JobKind.PROGRAM):
                spent = job.run_ps + job.overhead_ps
                self._times[job.subject] = self._times.get(job.subject, 0) + spent
                if index in path:
                    self._critical.add(job.subject)
        self._layers = self._ordered(self._by_depth())
        self._place: dict[int, tuple[float, float]] = {}
        widest = max((len(layer) for layer in self._layers), default=1)
        self._span = widest * (_WIDTH + _GAP_X) - _GAP_X
        for depth, layer in enumerate(self._layers):
            used = len(layer) * (_WIDTH + _GAP_X) - _GAP_X
            left = _MARGIN + (self._span - used) / 2
            for position, group in enumerate(layer):
                x = left + position * (_WIDTH + _GAP_X)
                self._place[group] = x, 2 * _MARGIN + depth * (_HEIGHT + _GAP_Y)

    def _by_depth(self) -> list[list[int]]:
        depth = [0] * len(self._evaluator.choices)
        for before, after in self._edges:  # sorted, and groups are topologically sorted
            depth[after] = max(depth[after], depth[before] + 1)
        layers: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
        for group, level in enumerate(depth):
            layers[level].append(group)
        return layers

    def _ordered(self, layers: list[list[int]]) -> list[list[int]]:
        near: dict[int, list[int]] = {group: [] for layer in layers for group in layer}
        for before, after in self._edges:
            near[before].append(after)
            near[after].append(before)
        middle = dict.fromkeys(near, 0.0)
        for sweep in range(_SWEEPS):
            for layer in layers if sweep % 2 == 0 else reversed(layers):
                for group in layer:
                    if near[group]:
                        middle[group] = sum(middle[n] for n in near[group]) / len(near[group])
                layer.sort(key=lambda group: (middle[group], group))
                for position, group in enumerate(layer):
                    middle[group] = position - (len(layer) - 1) / 2
        return layers

    def text(self, title: str) -> str:
        height = 3 * _MARGIN + len(self._layers) * (_HEIGHT + _GAP_Y)
        width = self._span + 2 * _MARGIN
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}">',
            f"<title>{xml_text(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<text x="{_MARGIN}" y="{_MARGIN}">{xml_text(title)}</text>',
        ]
        lines += [self._edge(before, after) for before, after in self._edges]
        lines += [self._box(group) for group in range(len(self._evaluator.choices))]
        return "\n".join([*lines, "</svg>"]) + "\n"

    def _edge(self, before: int, after: int) -> str:
        placement = self._evaluation.placement
        form_of = self._evaluator.form_of
        border = form_of[placement[before]] != form_of[placement[after]]
        x0, y0 = self._place[before]
        x1, y1 = self._place[after]
        x0, y0, x1 = x0 + _WIDTH / 2, y0 + _HEIGHT, x1 + _WIDTH / 2
        bend = (y1 - y0) / 2
        kind = ' class="border"' if border else ""
        passed = [
            self._place[group]
            for layer in self._layers
            for group in layer
            if y0 < self._place[group][1] < y1
        ]
        if not passed:
            return (
                f'<path{kind} d="M{x0:g} {y0:g} C{x0:g} {y0 + bend:g} {x1:g} {y1 - bend:g} '
                f'{x1:g} {y1:g}"/>'
            )
        lane = _lane((x0 + x1) / 2, [x for x, _ in passed])
        top, bottom = y0 + _GAP_Y, y1 - _GAP_Y
        bend = _GAP_Y / 2
        # Beside the middle of the boxes, where the edges between neighbouring layers are.
        x0, x1 = (x + (_SHOULDER if lane > x else -_SHOULDER) * (lane != x) for x in (x0, x1))
        return (
            f'<path{kind} d="M{x0:g} {y0:g} C{x0:g} {y0 + bend:g} {lane:g} {top - bend:g} '
            f"{lane:g} {top:g} V{bottom:g} C{lane:g} {bottom + bend:g} {x1:g} {y1 - bend:g} "
            f'{x1:g} {y1:g}"/>'
        )

    def _box(self, group: int) -> str:
        item = self._evaluator.groups.groups[group]
        place = self._evaluator.costs.places[self._evaluation.placement[group]]
        x, y = self._place[group]
        kind = _UNIT_CLASSES[min(place.unit, len(_UNIT_CLASSES) - 2)]
        line = "critical" if group in self._critical else ""
        name = item.name if len(item.name) <= _NAME_LENGTH else f"…{item.name[1 - _NAME_LENGTH :]}"
        time = self._times.get(group, 0) / PICOSECONDS * 1e3
        return (
            f"<g><title>{xml_text(', '.join(item.nodes))}</title>"
            f'<rect class="group {kind} {line}" x="{x:g}" y="{y:g}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="5"/>'
            f'<text x="{x + 8:g}" y="{y + 16:g}">{xml_text(f"{item.operator} {name}")}</text>'
            f'<text class="small" x="{x + 8:g}" y="{y + 31:g}">{place.name} · {time:.3f} ms</text>'
            "</g>"
        )


def _lane(wanted: float, boxes: list[float]) -> float:
    """The place nearest to ``wanted`` that no box covers.

    Args:
        wanted: Horizontal.
        boxes: Left edges.
    """
    beside = [x for left in boxes for x in (left - _GAP_X / 2, left + _WIDTH + _GAP_X / 2)]
    free = [
        x
        for x in (wanted, *beside)
        if all(not left - _GAP_X / 4 < x < left + _WIDTH + _GAP_X / 4 for left in boxes)
    ]
    # To the right where both sides are as near.
    return min(free, key=lambda x: (abs(x - wanted), -x))
