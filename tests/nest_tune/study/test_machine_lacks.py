"""What a worker's machine lacks ends a study and is no result of a trial; the baseline's time."""

from __future__ import annotations

from typing import Any

import pytest

from compiler_core.errors import NestTuneError, ResourceError
from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.store.storage import StudyStorage


def test_a_full_disk_of_a_worker_is_no_trial_and_the_study_goes_on(studies: Any) -> None:
    settings = studies.settings(trials=4, sampler="random")
    measured: list[int] = []

    def fill(work: Work) -> Answer | None:
        if work.function.endswith(":measure"):
            measured.append(work.ticket)
            if len(measured) == 3:
                said = "y.npz: No space left on device"
                return Answer(work.ticket, Ending.ERROR, error="ResourceError", message=said)
        return None

    with pytest.raises(ResourceError, match=r"a worker: y\.npz: No space left") as caught:
        studies.run(settings, hurdle=fill)
    assert caught.value.exit_code == 5
    storage = StudyStorage(settings.storage)
    stored = storage.trials(storage.find("s"))
    storage.close()
    assert 0 < len(stored) < 4
    assert all(trial.metrics for trial in stored)
    result = studies.run(settings, if_exists="resume")
    assert len(result.trials) == 4
    assert all(trial.metrics for trial in result.trials)


def test_the_baseline_has_the_time_of_a_trial(studies: Any) -> None:
    allowed: dict[str, float] = {}

    def hang(work: Work) -> Answer | None:
        allowed[work.function.partition(":")[2]] = work.timeout_s
        if work.function.endswith(":float_accuracy"):
            return Answer(work.ticket, Ending.TIMEOUT, message="ran longer than 7777 s")
        return None

    with pytest.raises(NestTuneError, match="float model: ran longer than 7777 s") as caught:
        studies.run(studies.settings(trials=2, trial_timeout_s=7777.0), hurdle=hang)
    assert "--trial-timeout" in str(caught.value.hint)
    assert set(allowed.values()) == {7777.0}
