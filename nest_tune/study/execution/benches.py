"""Which bench a study's workers have: of programs, or of generated sources."""

from __future__ import annotations

from nest_tune.bundling import is_bundle_target
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.execution.subjects import Subjects

AnyBench = Bench | SourceBench


def bench_of(subjects: Subjects) -> AnyBench:
    """The bench for a study's target.

    Raises:
        InputError: A file is wrong.
    """
    if is_bundle_target(subjects.target):
        return SourceBench(subjects)
    return Bench(subjects)
