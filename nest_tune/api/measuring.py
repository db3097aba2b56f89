"""Measurement of packages by users' own measurers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler_core.package.reader import Package
from nest_tune.api.compiling import Compilation
from nest_tune.api.packages import load_package
from nest_tune.api.values import PathName
from nest_tune.board_measurers import BoardMeasurer, load_measurer


@dataclass(frozen=True)
class BoardMeasurement:
    """A package as a measurer saw it, beside the simulator's numbers.

    Attributes:
        measurer: Name.
        measured: ``latency_ms`` of one run, and ``energy_mj`` where it is known.
        simulated: The same quantities by the simulator.
    """

    measurer: str
    measured: Mapping[str, float]
    simulated: Mapping[str, float]


def measure(
    package: PathName | Package | Compilation, measurer: str | BoardMeasurer
) -> BoardMeasurement:
    """Measures a package with a measurer.

    Args:
        package: Folder or loaded package; it is verified before anything runs.
        measurer: Name of an entry point, or ``module:function``.

    Raises:
        InputError: The package is damaged, the measurer is unknown or fails, or what it returned is
            no measurement.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> nest_tune.measure(made, "my_board:measure")
        Traceback (most recent call last):
        ...
        compiler_core.errors.InputError: measurer 'my_board:measure': ...
    """
    chosen = measurer if isinstance(measurer, BoardMeasurer) else load_measurer(measurer)
    loaded = load_package(package)
    measured = chosen.measure(loaded.folder)
    metrics = loaded.manifest.metrics
    simulated = {name: float(getattr(metrics, name)) for name in measured}
    return BoardMeasurement(chosen.name, measured, simulated)
