"""What a study would search, for samplers outside of studies."""

from __future__ import annotations

from os import environ
from pathlib import Path
from typing import Any

from nest_tune.api.settings import takes_settings
from nest_tune.api.values import PathName
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.store.dependencies import survey_ground


@takes_settings(StudyRequest)
def search_problem(file: PathName | None = None, **settings: Any) -> SearchProblem:
    """The space, objectives and limits of a study that is not made.

    Args:
        file: Study file; what is given beside it goes before what it says.
        settings: What the study is asked for:

    Returns:
        What :class:`nest_tune.XgbSampler` takes, and any objective of one's own: its ``space``
        decodes points, :func:`nest_tune.suggest` gives that of a trial.

    Raises:
        InputError: Something is wrong, missing or contradictory.
    """
    asked = StudyRequest.of(**settings)
    return survey_ground(resolve(None if file is None else Path(file), asked, environ)).problem
