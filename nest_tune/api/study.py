"""Studies: started, resumed, stopped and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Literal

from nest_tune.api.study_view import StudyView
from nest_tune.api.values import PathName
from nest_tune.study.lifecycle import run_study
from nest_tune.study.observer import Observer
from nest_tune.study.request.flags import Flags, resolve
from nest_tune.study.request.settings import storage_url
from nest_tune.study.store.creation import create_study, take_up
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.selection import require_idle, require_running
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request


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
    def start(
        cls,
        file: PathName | None = None,
        *,
        model: PathName | None = None,
        target: PathName | None = None,
        calibration: PathName | None = None,
        evaluation: PathName | None = None,
        metric: str | None = None,
        judged_output: str | None = None,
        measurer: str | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        objectives: Sequence[str] = (),
        constraints: Sequence[str] = (),
        max_accuracy_drop: float | str | None = None,
        spaces: Sequence[str] | None = None,
        plan: PathName | None = None,
        sampler: str | None = None,
        trials: int | None = None,
        timeout: str | None = None,
        trial_timeout: str | None = None,
        jobs: int | None = None,
        runner: str | None = None,
        ray_address: str | None = None,
        storage: str | None = None,
        seed: int | None = None,
        pass_env: Sequence[str] = (),
        name: str | None = None,
        if_exists: Literal["fail", "resume", "replace"] = "fail",
        observer: Observer | None = None,
    ) -> Study:
        """Creates a study and runs it until its budget is spent.

        Args:
            file: Study file; what is given beside it goes before what it says.
            model: ONNX file.
            target: Name of a target, or path of a ``.toml`` file.
            calibration: ``.npz`` file of samples of the inputs.
            evaluation: ``.npz`` file of samples and labels ``y``.
            metric: Of accuracy: ``top1``, ``top5``, ``agreement``, ``sqnr_db``, ``cosine``, or
                ``module:function``, called with ``(outputs, labels)`` on every worker; by default
                ``top1`` with labels, else ``agreement``, or ``sqnr_db`` for real values.
            judged_output: The only output that accuracy is measured on; by default all count, and
                the worst decides.
            measurer: Measures latency and energy of every trial, see
                :mod:`nest_tune.board_measurers`; the simulator without.
            shapes: Of inputs with dynamic axes.
            objectives: ``latency_ms:min``, ``accuracy:max``, ….
            constraints: ``accuracy_drop<=0.01``, ….
            max_accuracy_drop: In absolute points of the metric: ``0.01`` or ``"1%"``; ``"1dB"``
                below the untuned default for ``sqnr_db``.
            spaces: Which are searched: ``quantization``, ``partition``, ``tiling``.
            plan: File of a plan that fixes the partition.
            sampler: ``xgb``, ``tpe``, ``nsga2``, ``random`` or ``exhaustive``.
            trials: Budget of trials.
            timeout: Budget of time, ``"10m"``.
            trial_timeout: Give a trial up after so long, ``"60s"``.
            jobs: Worker processes.
            runner: ``local``, ``ray`` or ``replay``.
            ray_address: Of a Ray cluster.
            storage: Database; ``NEST_TUNE_STORAGE`` or ``sqlite:///nest-tune.db`` without.
            seed: Of all random streams.
            pass_env: Names of environment variables that workers get beside the usual ones.
            name: Of the study; made of model and target without.
            if_exists: What to do where the name is taken.
            observer: Told of every trial; see :class:`nest_tune.study.observer.Observer`.

        Raises:
            InputError: Something is wrong, missing or contradictory, or the name is taken.
            NestTuneError: The first trials all failed in the same way, or storage failed.
        """
        flags = Flags(
            name=name,
            model=_text(model),
            target=_text(target),
            calibration=_text(calibration),
            evaluation=_text(evaluation),
            metric=metric,
            judged_output=judged_output,
            measurer=measurer,
            shapes=dict(shapes or {}),
            objectives=tuple(objectives),
            constraints=tuple(constraints),
            max_accuracy_drop=_text(max_accuracy_drop),
            spaces=None if spaces is None else tuple(spaces),
            plan=_text(plan),
            sampler=sampler,
            trials=trials,
            timeout=timeout,
            trial_timeout=trial_timeout,
            jobs=jobs,
            runner=runner,
            ray_address=ray_address,
            storage=storage,
            seed=seed,
            pass_env=tuple(pass_env),
        )
        settings = resolve(None if file is None else Path(file), flags, environ)
        with closing(StudyStorage(settings.storage)) as opened:
            known = opened.get(settings.name) if if_exists == "resume" else None
            ground = survey_ground(settings, known)
            stored = create_study(opened, ground, if_exists)
            run_study(ground, opened, stored, observer or Observer())
        return cls(settings.name, settings.storage)

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
            trial_timeout_s: Of one call of a trial.
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
            run_study(ground, opened, stored, observer or Observer())
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
