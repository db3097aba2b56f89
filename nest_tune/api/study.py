"""Studies: started, resumed, stopped and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike, environ
from pathlib import Path
from typing import Any, Literal

from compiler_core.errors import InputError
from nest_tune.api.given_files import as_file, told_as_given
from nest_tune.api.settings import takes_settings
from nest_tune.api.study_view import StudyView
from nest_tune.api.values import PathName
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import StudySettings, storage_url
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.running.lifecycle import run_study
from nest_tune.study.running.observer import Observer
from nest_tune.study.store.creation import create_study, take_up
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.naming import named
from nest_tune.study.store.selection import require_idle, require_running
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request
from nest_tune.study.views.notebook_progress import notebook_observer

_KEPT_AS_FILES = frozenset(["model", "calibration", "evaluation"])


def _bar(settings: StudySettings) -> Observer:
    return notebook_observer(settings.objectives, settings.metric)


def _is_model(given: Any) -> bool:
    """Whether what stands in the place of a study file is a model."""
    return not isinstance(given, str | PathLike) or Path(given).suffix.lower() == ".onnx"


@dataclass(frozen=True)
class Study(StudyView):
    """A study in a storage; what it holds is read when it is asked for.

    Attributes:
        name: Of the study.
        storage: URL of its database.

    Example:
        >>> import nest_tune
        >>> study = nest_tune.Study.start(
        ...     model="examples/digits/model.onnx",
        ...     target="vta",
        ...     calibration="examples/digits/calib.npz",
        ...     evaluation="examples/digits/eval.npz",
        ...     spaces=["quantization", "partition"],
        ...     sampler="random",
        ...     trials=8,
        ...     name="example",
        ... )
        >>> len(study.trials)
        8
        >>> best = study.best("min:latency_ms")
        >>> best.metrics["latency_ms"] <= study.default.metrics["latency_ms"]
        True
    """

    @classmethod
    @takes_settings(StudyRequest)
    def start(
        cls,
        file: PathName | Any | None = None,
        *,
        if_exists: Literal["fail", "resume", "replace"] = "fail",
        observer: Observer | None = None,
        **settings: Any,
    ) -> Study:
        """Creates a study and runs it until its budget is spent.

        A model may be an ``onnx.ModelProto``, calibration and evaluation data arrays by name, with
        ``y`` for labels: they are written to ``nest-tune-data`` in the working folder, named by
        their content, so that the study can be resumed.

        Args:
            file: Study file; what is given beside it goes before what it says. Or the model, as a
                path that ends in ``.onnx`` or in memory.
            if_exists: What to do where the name is taken.
            observer: Told of every trial; see :class:`nest_tune.study.running.observer.Observer`.
                Without one a notebook shows a bar, and everything else is silent.
            settings: What the study is asked for:

        Raises:
            InputError: Something is wrong, missing or contradictory, or the name is taken.
            NestTuneError: The first trials all failed in the same way, or storage failed.
        """
        if file is not None and _is_model(file):
            if settings.get("model") is not None:
                raise InputError("a model is given twice: by its place and as model=")
            settings, file = {**settings, "model": file}, None
        given = {name: settings[name] for name in sorted(_KEPT_AS_FILES & settings.keys())}
        kept = {name: as_file(name, value) for name, value in given.items()}
        with told_as_given(given, kept):
            asked = StudyRequest.of(**{**settings, **kept})
            found = resolve(None if file is None else Path(file), asked, environ)
            with closing(StudyStorage(found.storage)) as opened:
                numbered = not found.name
                found = named(opened, found, if_exists)
                known = opened.get(found.name) if if_exists == "resume" else None
                ground = survey_ground(found, known, storage=opened)
                stored = create_study(opened, ground, if_exists, numbered=numbered)
                run_study(ground, opened, stored, observer or _bar(found))
        return cls(stored.name, found.storage)

    @classmethod
    def open(cls, name: str, storage: str | None = None) -> Study:
        """An existing study.

        Args:
            name: Of the study.
            storage: Database; ``NEST_TUNE_STORAGE`` or ``sqlite:///nest-tune.db`` without.

        Raises:
            InputError: There is no such database or study.
        """
        study = cls(name, storage_url(storage, environ))
        _ = study.result
        return study

    def resume(
        self,
        *,
        trials: int | str | None = None,
        timeout_s: float | None = None,
        trial_timeout_s: float | None = None,
        jobs: int | None = None,
        runner: str | None = None,
        ray_address: str | None = None,
        pass_env: Sequence[str] | None = None,
        model: PathName | None = None,
        target: PathName | None = None,
        calibration: PathName | None = None,
        evaluation: PathName | None = None,
        observer: Observer | None = None,
    ) -> Study:
        """Goes on where it stopped: same sampler, same space.

        Args:
            trials: So many altogether, or ``"+50"`` for so many more.
            timeout_s: Budget of time.
            trial_timeout_s: Of one call of a trial; ``None``: by what others have taken.
            jobs, runner, ray_address: Where trials run from now on.
            pass_env: Names of environment variables that workers get beside the usual ones.
            model, target, calibration, evaluation: Where a file lies that has moved; its content
                has to be the same.
            observer: Told of every trial.

        Returns:
            The study itself.

        Raises:
            InputError: The study file, a file or an argument has changed what a trial is.
            NestTuneError: Storage failed.
        """
        with closing(StudyStorage(self.storage, create=False)) as opened:
            stored, ground = take_up(
                opened,
                self.name,
                trials=None if trials is None else str(trials),
                timeout_s=timeout_s,
                trial_timeout_s=trial_timeout_s,
                jobs=jobs,
                runner=runner,
                ray_address=ray_address,
                model=_text(model),
                target=_text(target),
                calibration=_text(calibration),
                evaluation=_text(evaluation),
                pass_env=None if pass_env is None else tuple(pass_env),
            )
            run_study(ground, opened, stored, observer or _bar(ground.settings))
        return self

    def stop(self) -> None:
        """Asks the process that runs the study to let running trials finish, and to end.

        Returns at once; :attr:`result` tells when the study has ended.

        Raises:
            InputError: It is not running.
        """
        self._ask(Request.STOP)

    def cancel(self) -> None:
        """Asks the process that runs the study to end running trials, and itself, now.

        Raises:
            InputError: It is not running.
        """
        self._ask(Request.CANCEL)

    def _ask(self, request: Request) -> None:
        with closing(StudyStorage(self.storage, create=False)) as opened:
            opened.ask(require_running(opened.find(self.name)), request)

    def delete(self) -> None:
        """Deletes the study with its trials; measurements of tasks stay.

        Raises:
            InputError: It is running.
        """
        with closing(StudyStorage(self.storage, create=False)) as opened:
            opened.delete(require_idle(opened.find(self.name)))


def _text(given: PathName | float | None) -> str | None:
    return None if given is None else str(given)
