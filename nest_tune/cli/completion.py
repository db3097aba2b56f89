"""What a shell offers for names of targets, studies and the like.

Nothing may be printed and no error may escape: a shell shows what it gets. Names that the shell
itself knows, of files, are left to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import typer

from compiler_core.errors import NestTuneError

_METRICS = (
    "latency_ms:min",
    "accuracy:max",
    "energy_mj:min",
    "npu_cycles:min",
    "size_bytes:min",
    "dram_peak_bytes:min",
    "accuracy_drop:min",
)
_PICKS = ("fastest", "knee", "min:latency_ms", "max:accuracy", "lex:accuracy,latency_ms")


def target_names(incomplete: str) -> list[str]:
    """Bundled targets, and description files in the working folder."""
    from compiler_core.targets.load import bundled_targets
    from compiler_core.units.facets.bundles import bundle_targets

    files = [path.name for path in Path().glob("*.toml")] if incomplete else []
    known = (*bundled_targets(), *bundle_targets(), *files)
    return sorted(name for name in known if name.startswith(incomplete))


def samplers(incomplete: str) -> list[str]:
    """Samplers, plug-ins' included."""
    from nest_tune.samplers.registry import SAMPLERS

    return [name for name in SAMPLERS.names() if name.startswith(incomplete)]


def schedule_samplers(incomplete: str) -> list[str]:
    """Samplers of schedules; a plug-in that cannot be loaded hides none."""
    from nest_tune.samplers.registry import schedule_sampler_names

    try:
        return [name for name in schedule_sampler_names() if name.startswith(incomplete)]
    except NestTuneError:
        return samplers(incomplete)


def runners(incomplete: str) -> list[str]:
    """Runners, plug-ins' included."""
    from nest_tune.runners.runner import RUNNERS

    return [name for name in RUNNERS.names() if name.startswith(incomplete)]


def runtimes(incomplete: str) -> list[str]:
    """Runtimes, plug-ins' included."""
    from compiler_core.executable.runtimes import RUNTIMES

    return [name for name in RUNTIMES.names() if name.startswith(incomplete)]


def metrics(incomplete: str) -> list[str]:
    """Metrics of accuracy, plug-ins' included."""
    from compiler_core.accuracy.metric import METRICS

    return [name for name in METRICS.names() if name.startswith(incomplete)]


def measurers(incomplete: str) -> list[str]:
    """Measurers that distributions offer."""
    from nest_tune.board_measurers import MEASURERS

    return [name for name in MEASURERS.names() if name.startswith(incomplete)]


def study_names(context: typer.Context, incomplete: str) -> list[str]:
    """Studies of the storage that the line names so far, else of the usual one."""
    return sorted(name for name in _studies(context) if name.startswith(incomplete))


def trial_names(context: typer.Context, incomplete: str) -> list[str]:
    """Studies; after a colon the trials of one."""
    name, colon, number = incomplete.partition(":")
    if not colon:
        return study_names(context, incomplete)
    trials = _studies(context).get(name, 0)
    return [f"{name}:{n}" for n in range(trials) if str(n).startswith(number)]


def objectives(incomplete: str) -> list[str]:
    """Metrics with their usual direction."""
    return [text for text in _METRICS if text.startswith(incomplete)]


def picks(incomplete: str) -> list[str]:
    """Rules that choose a trial."""
    return [text for text in _PICKS if text.startswith(incomplete)]


def _studies(context: typer.Context) -> dict[str, int]:
    """Number of trials by study; empty where the storage cannot be read."""
    try:
        return dict(_read(context.params.get("storage")))
    except (NestTuneError, ImportError):
        return {}


def _read(url: str | None) -> Iterator[tuple[str, int]]:
    from nest_tune.study.request.settings import storage_url
    from nest_tune.study.store.storage import StudyStorage

    with closing(StudyStorage(storage_url(url, os.environ), create=False)) as storage:
        for study in storage.studies():
            yield study.name, len(storage.trials(study))
