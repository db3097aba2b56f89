"""Parts of the outer space of generated sources: how ranges follow, and precision by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.errors import InputError
from compiler_core.units.facets.candidates import LayerPrecisions
from search_spaces.joint import OuterPoint
from search_spaces.parameter import Parameter

_SHARES = (0.8, 0.7, 0.6)
"""Of the bytes of all weights in the usual precision: what guesses leave."""


class RangingPart:
    """How the integers of weights and activations follow from their statistics.

    Args:
        ways: By decision, the usual one first.
    """

    name = "quantization"

    def __init__(self, ways: Mapping[str, Sequence[str]]) -> None:
        self.parameters: tuple[Parameter, ...] = tuple(
            Parameter(name, tuple(values), ordered=False) for name, values in ways.items()
        )
        self.default: OuterPoint = (0,) * len(self.parameters)

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """Value by decision."""
        pairs = zip(self.parameters, point, strict=True)
        return {parameter.name: parameter.values[index] for parameter, index in pairs}

    def point(self, ways: Mapping[str, str]) -> OuterPoint:
        """The point that means these ways; those that are left out are the usual ones.

        Raises:
            InputError: The space does not hold one.
        """
        return tuple(p.index(ways.get(p.name, p.values[0])) for p in self.parameters)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


class FormPart:
    """What is float32, where integers alone make nothing of use.

    Args:
        forms: By name, the usual one first, then as defaults are tried.
    """

    name = "form"

    def __init__(self, forms: Sequence[str]) -> None:
        self.parameters: tuple[Parameter, ...] = (
            Parameter(self.name, tuple(forms), ordered=False),
        )
        self.default: OuterPoint = (0,)

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """The form, where it is not the usual one."""
        return {self.name: self.parameters[0].values[point[0]]} if point[0] else {}

    def point(self, form: str) -> OuterPoint:
        """The point that means a form.

        Raises:
            InputError: The space does not hold it.
        """
        return (self.parameters[0].index(form or self.parameters[0].values[0]),)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        """Every form."""
        return [(index,) for index in range(1, len(self.parameters[0].values))]


class PrecisionPart:
    """The precision of every layer with weights.

    Args:
        choices: Of the layers.
        last_first: Whether all layers in the last precision are the first guess.
    """

    name = "precision"

    def __init__(self, choices: Sequence[LayerPrecisions], *, last_first: bool = False) -> None:
        self.choices = tuple(choices)
        self._last_first = last_first
        self.parameters: tuple[Parameter, ...] = tuple(
            Parameter(choice.node, choice.precisions, ordered=False) for choice in choices
        )
        self.default: OuterPoint = (0,) * len(self.parameters)

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """Precision by layer, where it is not the usual one."""
        return {
            choice.node: choice.precisions[index]
            for choice, index in zip(self.choices, point, strict=True)
            if index
        }

    def point(self, precisions: Mapping[str, str]) -> OuterPoint:
        """The point that means these precisions; layers that are left out have the usual one.

        Raises:
            InputError: The space does not hold one.
        """
        known = {parameter.name for parameter in self.parameters}
        for name, value in precisions.items():
            if name not in known:
                raise InputError(f"{name}: {value}; the space has no choice of this layer")
        return tuple(p.index(precisions.get(p.name, p.values[0])) for p in self.parameters)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    @property
    def all_fewer(self) -> OuterPoint:
        """Every layer in the precision behind the usual one."""
        return self.all_in(1)

    @property
    def columns(self) -> int:
        """Precisions that a layer has at most."""
        return max((len(choice.precisions) for choice in self.choices), default=1)

    def all_in(self, column: int) -> OuterPoint:
        """Every layer in its precision of that number, or in its last."""
        return tuple(min(column, len(choice.precisions) - 1) for choice in self.choices)

    def guesses(self) -> Sequence[OuterPoint]:
        """All layers in fewer bits, which is the least of everything that counts bits; then as few
        multiplications with fewer bits as leave certain shares of the bytes; all layers in the
        last precision, last or first."""
        fewer, last = self.all_fewer, self.all_in(self.columns)
        first = [last, fewer] if self._last_first else [fewer]
        found: dict[OuterPoint, None] = dict.fromkeys(first)
        total = sum(choice.weights for choice in self.choices)
        order = sorted(
            range(len(self.choices)),
            key=lambda at: (self.choices[at].macs / max(1, self.choices[at].weights), at),
        )
        for share in _SHARES:
            point, left = [0] * len(order), float(total)
            for at in order:
                if left <= share * total:
                    break
                point[at] = fewer[at]
                left -= self.choices[at].weights / 2
            found[tuple(point)] = None
        found[self.all_in(self.columns)] = None
        found.pop(self.default, None)
        return list(found)


class MemoryPart:
    """How little memory is needed: which of the first operators run in stripes.

    Args:
        plans: Ways, the usual one, which is empty, first.
    """

    name = "memory"
    decision = "patches"

    def __init__(self, plans: Sequence[str]) -> None:
        self._plans = tuple(plans)
        shown = tuple(plan or "none" for plan in plans)
        self.parameters: tuple[Parameter, ...] = (Parameter(self.decision, shown, ordered=False),)
        self.default: OuterPoint = (0,)

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """The way, where it is not the usual one."""
        return {self.decision: self._plans[point[0]]} if point[0] else {}

    def point(self, plan: str) -> OuterPoint:
        """The point that means a way.

        Raises:
            InputError: The space does not hold it.
        """
        return (self.parameters[0].index(plan or self.parameters[0].values[0]),)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        """What needs the least memory."""
        return [(1,)]
