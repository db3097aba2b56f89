"""A user's own metric: ``module:function``, called as ``function(outputs, labels) -> float``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from math import isfinite, nan
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.brief import brief
from compiler_core.files.exhausted import lack_of
from compiler_core.files.nearest import named_in_module

Arrays = Mapping[str, npt.NDArray[Any]]
Labels = npt.NDArray[Any] | None
OwnMetric = Callable[[Arrays, Labels], float]

_HINT = "function(outputs, labels) takes arrays by output name and returns one finite number"


def load_own_metric(name: str) -> OwnMetric:
    """A user's function, guarded: it gets copies, and whatever it does wrong is named.

    Args:
        name: ``module:function``.

    Raises:
        InputError: It cannot be imported or is no function; calls raise it for what they raise or
            return.
    """
    module, _, function = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever a user's module does as it is imported
        if (lack := lack_of(error)) is not None:
            raise lack from error
        raise InputError(
            f"metric {name!r} cannot be imported: {_text(error)}",
            hint=named_in_module(name)
            or "module:function, the module in the working folder or installed",
        ) from error
    if not callable(found):
        raise InputError(f"metric {name!r} is {type(found).__name__}, no function", hint=_HINT)

    def measure(outputs: Arrays, labels: Labels) -> float:
        copies = {output: np.array(array) for output, array in outputs.items()}
        try:
            value = found(copies, None if labels is None else np.array(labels))
        except (Exception, SystemExit) as error:
            raise InputError(f"metric {name!r} raised {_text(error)}", hint=_HINT) from error
        return _checked(name, value)

    return measure


def _checked(name: str, value: Any) -> float:
    if isinstance(value, np.ndarray):
        shown = f"an array {value.dtype}{list(value.shape)}"
    elif isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        shown = brief(value)
    else:
        number = _float(value)
        if isfinite(number):
            return number
        shown = brief(value) if isinstance(value, Integral) else str(number)
    raise InputError(f"metric {name!r} returned {shown}; a finite number is needed", hint=_HINT)


def _float(value: Real) -> float:
    """NaN where a type of somebody's own, or a number beyond those of 64 bits, has none."""
    try:
        return float(value)
    except Exception:
        return nan


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
