"""A study looked at before it is started: what its first trial would meet, on a few samples.

Everything that a first trial reads is read, checked and used: keys, labels, shapes, ranges, metric
and measurer, and the untuned model is quantized, compiled and compared. What takes long is cut
short: few samples are calibrated with and measured, and the first rung of the default's ladder
stands for the default.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from compiler_core.accuracy.samples import EvaluationData, read_samples
from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.scheme import scheme_document
from nest_tune.runners.runner import RUNNERS
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.proposals.making import require_sampler
from nest_tune.study.proposals.outer_space import FIRST_SCHEME
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.dependencies import profile_at_hand, runs_at_hand, survey_ground
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.naming import base_name, named
from nest_tune.study.store.storage import StudyStorage

_IN_FILES = ("sqlite", "journal")
_CALIBRATED = 4
"""Runs of the model that ranges are taken from where those of all are not at hand."""
_MEASURED = 16
"""Runs that the untuned model is measured on, and the float model at least."""


@dataclass(frozen=True)
class Rehearsal:
    """What a look before the start found.

    Attributes:
        ground: What the study would stand on; the default of its quantization may be another one.
        notes: What is to be known, one line each.
    """

    ground: Ground
    notes: tuple[str, ...]


def rehearse(settings: StudySettings) -> Rehearsal:
    """Looks at what the first trial of a study would meet.

    Args:
        settings: As asked for.

    Raises:
        InputError: A file is wrong, does not fit the model or the metric, or nothing that the
            runner needs is there.
    """
    ground = survey_ground(settings, rehearsed=True)
    require_sampler(ground.problem)
    if not RUNNERS.get(settings.runner).computes:
        return Rehearsal(ground, ())
    return Rehearsal(ground, _met(ground))


def rehearsed_name(settings: StudySettings, if_exists: str) -> StudySettings:
    """Settings with the name that the study would get; nothing is written.

    Raises:
        InputError: The name is taken, or the storage cannot be read.
    """
    scheme, _, place = settings.storage.partition("://")
    file = Path(place.partition("?")[0].removeprefix("/"))
    if scheme.startswith(_IN_FILES) and not file.is_file():
        found = base_name(settings.model, settings.target)
        return settings if settings.name else replace(settings, name=f"{found}-1")
    with closing(StudyStorage(settings.storage, create=False)) as storage:
        settings = named(storage, settings, if_exists)
        if if_exists == "fail" and storage.get(settings.name) is not None:
            raise InputError(
                f"study {settings.name!r}: the name is taken in {storage.shown}",
                hint=f"nest-tune study resume {settings.name}, --if-exists replace, or another "
                "--name",
            )
    return settings


def _met(ground: Ground) -> tuple[str, ...]:
    if ground.are_sources:
        return _met_by_sources(ground)
    bench = _ShortBench(ground.subjects)
    decisions = {"quantization": scheme_document(FIRST_SCHEME)}
    bench.quantized(decisions)
    notes = []
    if not bench.target.by_clock:
        try:
            _require_measured(bench, bench.compiled(decisions, {}))
        except InfeasibleError as error:
            notes.append(f"the untuned default does not fit the target: {error.message}")
    if ground.settings.evaluation is not None:
        bench.accuracy(decisions, _MEASURED)
        bench.float_accuracy(0)
        if bench.is_whole:
            notes += bench.notes()
    return tuple(notes)


def _require_measured(bench: Bench, compiled: CompiledModel) -> None:
    """Has the measurer measure the untuned model, once.

    Raises:
        InputError: It fails, or what it returns is no measurement.
    """
    if bench.subjects.measurer:
        bench.costs(compiled)


def _met_by_sources(ground: Ground) -> tuple[str, ...]:
    bench = SourceBench(ground.subjects)
    notes = []
    try:
        bench.candidate({}).costs({}, {})
    except InfeasibleError as error:
        notes.append(f"the untuned default does not fit the target: {error.message}")
    if ground.settings.evaluation is not None:
        bench.accuracy({}, _MEASURED)
        bench.float_accuracy(0)
        notes += bench.notes()
    return tuple(notes)


class _ShortBench(Bench):
    """A worker's state on few samples.

    Attributes:
        is_whole: Whether :attr:`data` are all there are.
    """

    is_whole = False

    @cached_property
    def _profile(self) -> Profile:
        if self.subjects.calibration is None:
            return super()._profile  # says what is missing
        graph = self.model.graph
        samples = read_samples(Path(self.subjects.calibration), graph)
        known = profile_at_hand(graph, samples)
        if known is not None:
            return known
        count = check_samples(graph, samples) // model_batch(graph)
        return profile_model(graph, choose(graph, samples, range(min(count, _CALIBRATED))))

    @cached_property
    def data(self) -> EvaluationData:
        """What is at hand of it; labels are checked as a whole."""
        found, batch = super().data, model_batch(self.model.graph)
        runs = max(_MEASURED, runs_at_hand(self.model.graph, found.samples // batch))
        self.is_whole = runs * batch >= found.samples
        return found.first(runs * batch)
