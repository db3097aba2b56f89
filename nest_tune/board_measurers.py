"""Measurers: users' own ways to measure a compiled package, on a board for instance.

A measurer is a function ``measure(package: Path) -> Mapping[str, float]``: it runs the package in
that folder, on whatever it likes, and returns ``latency_ms`` of one run and, if it can,
``energy_mj``. A distribution offers it as an entry point of the group :data:`GROUP`;
``module:function`` names one without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError, NestTuneError, OwnCodeError
from compiler_core.files.brief import brief
from compiler_core.files.exhausted import lack_of
from compiler_core.files.nearest import named_in_module
from compiler_core.plugins.registry import Registry
from nest_tune.user_modules import load_named

GROUP = "nest_tune.measurers"
"""Group of entry points."""

REQUIRED = ("latency_ms",)
ALLOWED = (*REQUIRED, "energy_mj")
"""What a measurer returns."""

Measure = Callable[[Path], Mapping[str, float]]


@dataclass(frozen=True)
class BoardMeasurer:
    """A measurer by name.

    Attributes:
        name: Of its entry point, or ``module:function``.
        version: Of the distribution that offers it; empty for ``module:function``.
        function: What measures.
    """

    name: str
    version: str
    function: Measure

    @property
    def identity(self) -> str:
        """What results depend on, as far as it can be named."""
        return f"{self.name}/{self.version}"

    def measure(self, package: Path) -> dict[str, float]:
        """Measures a package.

        Args:
            package: Its folder.

        Returns:
            ``latency_ms`` of one run, and ``energy_mj`` where the measurer knows it.

        Raises:
            InputError: The measurer returned something else.
            OwnCodeError: It raised something.
        """
        where = f"measurer {self.name!r}"
        with _failures_named(where):
            found: Any = self.function(package)
        if not isinstance(found, Mapping):
            raise InputError(f"{where} returned {type(found).__name__}; a mapping is needed")
        for key in found:
            if key not in ALLOWED:
                raise InputError(f"{where} returned {key!r}; allowed are {', '.join(ALLOWED)}")
        for key in REQUIRED:
            if key not in found:
                raise InputError(f"{where} returned no {key}")
        return {key: _positive(found[key], f"{where}: {key}") for key in ALLOWED if key in found}


@contextmanager
def _failures_named(where: str) -> Iterator[None]:
    """Errors of a user's function are those of the measurer, by its name."""
    try:
        yield
    except NestTuneError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's function does, it is named
        if (lack := lack_of(error)) is not None:
            raise lack from error
        text = " ".join(str(error).split())[:300]
        raise OwnCodeError(
            f"{where}: {type(error).__name__}: {text}".rstrip(": "),
            hint="it is called with the folder of a package; nest-tune measure PACKAGE "
            "--measurer tries it alone",
        ) from error


def _positive(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where} is {brief(value)}; a number is needed") from error
    if not (isfinite(number) and number > 0):
        raise InputError(f"{where} is {number}; a finite number above 0 is needed")
    return number


MEASURERS: Registry[Measure] = Registry(
    GROUP, "measurer", lambda _name, found: "" if callable(found) else type(found).__name__
)


def load_measurer(name: str) -> BoardMeasurer:
    """A measurer by name.

    Args:
        name: Of an entry point, or ``module:function``.

    Raises:
        InputError: There is none of that name, two distributions offer it, or it cannot be loaded.
    """
    if ":" in name:
        return BoardMeasurer(name, "", _own(name))
    return BoardMeasurer(name, MEASURERS.offer(name).version, MEASURERS.get(name))


def _own(name: str) -> Measure:
    try:
        found = load_named(name)
    except (Exception, SystemExit) as error:  # whatever a user's module does as it is imported
        if (lack := lack_of(error)) is not None:
            raise lack from error
        raise InputError(
            f"measurer {name!r}: cannot be loaded: {type(error).__name__}: {error}",
            hint=named_in_module(name)
            or "a function that takes the folder of a package, in a module of the working folder "
            "or an installed one",
        ) from error
    if not callable(found):
        raise InputError(f"measurer {name!r}: {type(found).__name__} cannot be called")
    measure: Measure = found
    return measure
