"""Quantization schemes: every decision about how a model becomes integers, as frozen values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from compiler_core.errors import InputError
from compiler_core.quantize.exponents import Granularity


class Scales(Enum):
    """How real values map to integers."""

    POWER_OF_TWO = "power-of-two"
    """int8, ``real = integer * 2**-exponent``: what shifts can compute."""
    SYMMETRIC = "symmetric"
    """int8, any scale, zero point 0."""
    SYMMETRIC_UINT8 = "symmetric-uint8"
    """As symmetric, but uint8 for tensors that are never negative."""
    ASYMMETRIC = "asymmetric"
    """uint8, any scale and zero point; weights stay symmetric int8."""


class RangeMethod(Enum):
    """How a scale follows from statistics."""

    MAX = "max"
    """Nothing is clipped."""
    PERCENTILE = "percentile"
    """0.01 % of the values are clipped."""
    KL = "kl"
    """Least divergence between the histogram and its quantized self."""
    MSE = "mse"
    """Least squared error."""
    ROOMY = "mse-roomy"
    """Least squared error of values a quarter larger than those that were seen: room for what few
    samples have not shown."""


SEARCHED_RANGES = (RangeMethod.MAX, RangeMethod.PERCENTILE, RangeMethod.KL, RangeMethod.MSE)
"""Methods among which searches choose: with as many samples as they take, room is wasted."""


class CalibrationSize(Enum):
    """Samples that the statistics are of."""

    ONE = "one"
    HALF = "half"
    ALL = "all"

    def samples(self, available: int, batch: int = 1) -> int:
        """Number of samples out of ``available``, in whole runs of the model's ``batch``."""
        if self is CalibrationSize.ALL:
            return available
        wanted = 1 if self is CalibrationSize.ONE else -(-available // 2)
        return min(available, -(-wanted // batch) * batch)


class CpuPrecision(Enum):
    """How operators on the CPU compute, weighted ones and others."""

    FLOAT = "float"
    INT8 = "int8"
    INT8_ACTIVATIONS_16 = "int8-a16"
    """int8 weights, 16-bit activations."""
    INT8_ALL = "int8-all"
    """As int8, and what operators without weights write becomes int8, too: what runtimes with
    integer kernels for all operators compute."""


class WeightRounding(Enum):
    """How weights of the NPU become integers."""

    NEAREST = "nearest"
    GPTQ = "gptq"
    """Each takes back the rounding errors of others, over calibration samples."""


@dataclass(frozen=True)
class QuantizationScheme:
    """The decisions for a model.

    Attributes:
        scales: Kind of integers.
        granularity: Weights that share a scale.
        activation_range: Method for activations.
        weight_range: Method for weights: :attr:`RangeMethod.MAX` or :attr:`RangeMethod.MSE`.
        calibration: Samples that the statistics are of, or their number.
        bias_correction: Whether biases take back what rounded weights do to the mean of outputs.
        equalization: Whether scales move between channels of consecutive operators, and uneven
            channels that enter from the CPU are evened out.
        rescaling: Whether tensors of the NPU take up real factors and offsets so that they fill
            int8 in spite of power-of-two scales and the zero point 0.
        split_inputs: Whether tensors of few channels that enter from the CPU do so in two int8
            parts, so that their rounding costs next to nothing.
        weight_rounding: How weights of the NPU are rounded; :attr:`WeightRounding.GPTQ` takes the
            calibration samples themselves and finds biases, too.
        cpu_precision: For operators on the CPU that are not kept in float.
        first_last_float: Whether the first and the last weighted operator stay float.
        float_layers: Names of nodes that stay float.
    """

    scales: Scales = Scales.POWER_OF_TWO
    granularity: Granularity = Granularity.TENSOR
    activation_range: RangeMethod = RangeMethod.MSE
    weight_range: RangeMethod = RangeMethod.MSE
    calibration: CalibrationSize | int = CalibrationSize.ALL
    bias_correction: bool = False
    equalization: bool = False
    rescaling: bool = False
    split_inputs: bool = False
    weight_rounding: WeightRounding = WeightRounding.NEAREST
    cpu_precision: CpuPrecision = CpuPrecision.FLOAT
    first_last_float: bool = False
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            InputError: A method that weights do not have, a calibration size below 1.
        """
        if self.weight_range not in (RangeMethod.MAX, RangeMethod.MSE):
            raise InputError(
                f"weight_range {self.weight_range.value!r}; allowed are 'max' and 'mse'"
            )
        if isinstance(self.calibration, int) and self.calibration < 1:
            raise InputError(f"calibration of {self.calibration} samples; at least 1 is needed")
        object.__setattr__(self, "float_layers", tuple(sorted(set(self.float_layers))))

    @property
    def needs_statistics(self) -> bool:
        """Whether exponents alone do not say everything: weights or biases follow from data."""
        return (
            self.bias_correction
            or self.equalization
            or self.rescaling
            or self.split_inputs
            or self.needs_samples
            or self.cpu_precision is not CpuPrecision.FLOAT
        )

    @property
    def needs_samples(self) -> bool:
        """Whether statistics do not say everything either."""
        return self.weight_rounding is WeightRounding.GPTQ

    @property
    def digest(self) -> str:
        """SHA-256 of the decisions, in hexadecimal."""
        text = json.dumps(scheme_document(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def scheme_document(scheme: QuantizationScheme) -> dict[str, Any]:
    """A scheme as plain values."""
    plain = asdict(scheme)
    return {
        key: value.value if isinstance(value, Enum) else value
        for key, value in plain.items()
        if key != "float_layers"
    } | {"float_layers": list(scheme.float_layers)}


def read_scheme(document: Mapping[str, Any], where: str) -> QuantizationScheme:
    """The inverse of :func:`scheme_document`; keys that are left out keep their default.

    Raises:
        InputError: A key or value is unknown.
    """
    enums: dict[str, type[Enum]] = {
        "scales": Scales,
        "granularity": Granularity,
        "activation_range": RangeMethod,
        "weight_range": RangeMethod,
        "calibration": CalibrationSize,
        "weight_rounding": WeightRounding,
        "cpu_precision": CpuPrecision,
    }
    if not isinstance(document, Mapping):
        raise InputError(f"{where}: decisions by name are needed")
    known = {item.name for item in fields(QuantizationScheme)}
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            raise InputError(
                f"{where}: unknown key {key!r}; allowed are {', '.join(sorted(known))}"
            )
        if key == "calibration" and type(value) is int:
            values[key] = value
        elif key in enums:
            try:
                values[key] = enums[key](value)
            except ValueError:
                allowed = ", ".join(repr(item.value) for item in enums[key])
                raise InputError(f"{where}: {key} is {value!r}; allowed are {allowed}") from None
        elif key == "float_layers":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise InputError(f"{where}: float_layers is {value!r}; a list of names is needed")
            values[key] = tuple(value)
        elif isinstance(value, bool):
            values[key] = value
        else:
            raise InputError(f"{where}: {key} is {value!r}; true or false is needed")
    return QuantizationScheme(**values)
