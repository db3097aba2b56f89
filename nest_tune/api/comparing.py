"""Studies side by side."""

from __future__ import annotations

from nest_tune.api.study import Study
from nest_tune.study.views import compare as comparing
from nest_tune.study.views.compare import Comparison


def compare(*studies: Study, trials: int | None = None, pick: str | None = None) -> Comparison:
    """Compares studies after the same number of trials: best values, fronts, decisions.

    Args:
        studies: Two or more, also of different databases.
        trials: How many of each; as many as the shortest has without.
        pick: Which trial of each front is set beside the others, as for
            :meth:`nest_tune.Study.best`.

    Raises:
        InputError: Fewer than two studies, two of one name, one that is shorter than asked for, or
            studies without a common objective.

    Example:
        >>> import nest_tune
        >>> first, second = (
        ...     nest_tune.Study.start(
        ...         "examples/digits/study.toml",
        ...         spaces=["quantization"],
        ...         sampler="random",
        ...         trials=2,
        ...         seed=seed,
        ...         name=f"seed-{seed}",
        ...     )
        ...     for seed in (1, 2)
        ... )
        >>> found = nest_tune.compare(first, second)
        >>> found.trials, [contender.seed for contender in found.contenders]
        (2, [1, 2])
    """
    return comparing.compare([study.result for study in studies], trials=trials, rule=pick)
