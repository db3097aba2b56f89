"""The runners that come along."""

from __future__ import annotations

from nest_tune.runners.runner import RunnerKind

LOCAL = RunnerKind("local", "processes of this machine", "nest_tune.runners.local:make")
RAY = RunnerKind("ray", "a Ray cluster", "nest_tune.runners.ray:make", spreads=True)
REPLAY = RunnerKind(
    "replay", "nothing runs: what storage holds", "nest_tune.runners.replay:make", computes=False
)
