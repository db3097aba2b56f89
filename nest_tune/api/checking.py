"""The check of lock files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nest_tune.api.values import PathName, Progress
from nest_tune.ci.check import check as check_lock
from nest_tune.ci.result import CheckResult


def check(
    lock: PathName,
    data: PathName | None = None,
    *,
    tolerances: Sequence[str] = (),
    progress: Progress = lambda _: None,
) -> CheckResult:
    """Compiles a lock file again and compares: simulated numbers and accuracy exactly.

    Args:
        lock: File that :meth:`nest_tune.Study.export` or ``study export`` wrote.
        data: Evaluation data; without them no accuracy is compared.
        tolerances: ``METRIC=2%``: how much a metric may differ; by default not at all.
        progress: Told what is being done.

    Returns:
        What was compared and what differs; ``ok`` where nothing does.

    Raises:
        InputError: The lock file or what it names is wrong, or the data are not those of the lock.

    Example:
        >>> import nest_tune
        >>> study = nest_tune.Study.start(
        ...     "examples/digits/study.toml", spaces=["quantization"], trials=2, name="locked"
        ... )
        >>> trial = study.export("best.toml", 0)
        >>> nest_tune.check("best.toml").ok
        True
    """
    evaluation = None if data is None else Path(data)
    return check_lock(Path(lock), evaluation, tolerances=tolerances, progress=progress)
