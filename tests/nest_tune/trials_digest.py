"""Whether two studies gave the same trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from compiler_core.files.plain import to_plain
from compiler_core.tensor.digest import digest
from nest_tune.study.trial import OuterTrial


def trials_digest(trials: Sequence[OuterTrial]) -> str:
    """Digest of everything in trials but the time that they took and what workers printed."""
    rows = [{**asdict(trial), "wall_s": 0.0} for trial in trials]
    for row in rows:
        del row["log"]
    return digest([to_plain(row) for row in rows])
