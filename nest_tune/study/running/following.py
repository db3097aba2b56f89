"""What proposals of a study see, and which asynchronous study a replay follows.

A replay of an asynchronous study, under another name, sees for each trial what the other one saw,
and tunes each task for the trial that it was tuned for there: so it is the same study again.
"""

from __future__ import annotations

from nest_tune.runners.runner import RUNNERS
from nest_tune.study.request.settings import StudySettings, differences
from nest_tune.study.running.sight import Asynchronous, Repeated, Sight, Windowed
from nest_tune.study.store.resume import stored_settings
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import OuterTrial, Proposal
from nest_tune.study.tuning.seam import tuned_from_plain

Known = dict[int, OuterTrial | Proposal]


def sight_of(
    settings: StudySettings,
    storage: StudyStorage,
    study: StoredStudy,
    followed: StoredStudy | None = None,
) -> Sight:
    """What proposals of a study see.

    Args:
        settings: Of the study.
        storage: Where it is.
        study: Which.
        followed: The asynchronous study that it repeats.
    """
    if not settings.asynchronous:
        return Windowed(settings.window)
    known = _known(storage, study)
    if followed is None:
        return Asynchronous(settings.window, known)
    return Repeated(settings.window, known, _known(storage, followed))


def followed_study(
    settings: StudySettings, storage: StudyStorage, study: StoredStudy
) -> StoredStudy | None:
    """The asynchronous study that a replay repeats: one of the same search, of several the one with
    the most trials; ``None`` where this is no replay, or there is none."""
    if not settings.asynchronous or RUNNERS.get(settings.runner).computes:
        return None
    digests = study.document.get("digests")
    alike = [
        other
        for other in storage.scan()[0]
        if other.key != study.key
        and other.document.get("digests") == digests
        and not differences(stored_settings(other), settings)
    ]
    return max(alike, key=lambda other: len(storage.trials(other)), default=None)


def owners_of(storage: StudyStorage, followed: StoredStudy | None) -> dict[str, int] | None:
    """The trial that each task of a followed study was tuned for."""
    if followed is None:
        return None
    tasks = storage.tasks(followed)
    return {name: tuned_from_plain(value).trial for name, value in tasks.items()}


def _known(storage: StudyStorage, study: StoredStudy) -> Known:
    known: Known = {proposal.number: proposal for proposal in storage.proposals(study)}
    return known | {trial.number: trial for trial in storage.trials(study)}
