"""Decisions about a network that the graph leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler_core.errors import InputError
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.units.cpu.c.plan.patches import Patches

PRECISIONS = ("int8", "float32")
"""What a network computes in; what has no integer kernel is float32 in both."""

WEIGHT_BITS = (8, 4)
WEIGHT_RANGES = (RangeMethod.MAX, RangeMethod.MSE)


@dataclass(frozen=True)
class Options:
    """How a graph becomes a network.

    Attributes:
        precision: One of :data:`PRECISIONS`.
        activation_range: How the integers of activations follow from their statistics.
        weight_bits: Bits per weight by name of the node, one of :data:`WEIGHT_BITS`; 8 elsewhere.
        weight_range: How the integers of weights follow from a channel's: :data:`WEIGHT_RANGES`.
        int16_layers: Names of nodes with weights that read and write activations of 16 bits.
        float_layers: Names of nodes that stay float32.
        float_ports: Inputs and outputs are float32, whatever is inside.
        patches: Which of the first operators run in stripes.
        channels_last: Inputs and outputs that are images have their channel last, as the kernels
            want them; else they are as in the model, for a copy.

    Raises:
        InputError: A value is none of these.
    """

    precision: str = "int8"
    activation_range: RangeMethod = RangeMethod.MAX
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    weight_range: RangeMethod = RangeMethod.MAX
    int16_layers: frozenset[str] = frozenset()
    float_layers: frozenset[str] = frozenset()
    float_ports: bool = False
    channels_last: bool = True
    patches: Patches | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision {self.precision!r} is not known; known are {', '.join(PRECISIONS)}"
            )
        if self.weight_range not in WEIGHT_RANGES:
            raise InputError(
                f"weight_range {self.weight_range.value!r} is not known; known are "
                f"{', '.join(method.value for method in WEIGHT_RANGES)}"
            )
        for node, bits in self.weight_bits.items():
            if bits not in WEIGHT_BITS:
                raise InputError(f"node {node!r}: weights of {bits} bits; 8 and 4 are known")
            if bits == 4 and node in self.int16_layers:
                raise InputError(
                    f"node {node!r}: weights of 4 bits do not go with activations of 16 bits",
                    hint="leave one of the two",
                )
