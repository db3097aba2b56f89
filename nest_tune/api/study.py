"""Studies: started, resumed, looked at and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, Literal

from compiler_core.configuration import Configuration
from compiler_core.whole_file import require_writable, write_atomically
from nest_tune.api.compiling import Compilation, compilation
from nest_tune.api.values import PathName, Progress
from nest_tune.report.explain import Explanation
from nest_tune.study.creation import create_study
from nest_tune.study.flags import Flags, resolve
from nest_tune.study.ground import survey_ground
from nest_tune.study.lifecycle import run_study
from nest_tune.study.observer import Observer
from nest_tune.study.result import StudyResult, load_result
from nest_tune.study.resume import check_file, resumed_settings
from nest_tune.study.selection import (
    decisions_of,
    ground_of,
    require_idle,
    require_running,
    selected,
)
from nest_tune.study.settings import storage_url
from nest_tune.study.storage import Request, StudyStorage
from nest_tune.study.trial import OuterTrial


@dataclass(frozen=True)
class Study:
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

    name: str
    storage: str

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
                ``module:function``, called with ``(outputs, labels)`` on every worker.
            measurer: Measures latency and energy of every trial, see
                :mod:`nest_tune.measurers`; the simulator without.
            shapes: Of inputs with dynamic axes.
            objectives: ``latency_ms:min``, ``accuracy:max``, ….
            constraints: ``accuracy_drop<=0.01``, ….
            max_accuracy_drop: In absolute points of the metric: ``0.01`` or ``"1%"``.
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
        )
        settings = resolve(None if file is None else Path(file), flags, environ)
        opened = StudyStorage(settings.storage)
        try:
            known = opened.get(settings.name) if if_exists == "resume" else None
            ground = survey_ground(settings, known)
            stored = create_study(opened, ground, if_exists)
            run_study(ground, opened, stored, observer or Observer())
        finally:
            opened.close()
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
        observer: Observer | None = None,
    ) -> Study:
        """Goes on where it stopped: same sampler, same space.

        Args:
            trials: So many altogether, or ``"+50"`` for so many more.
            timeout_s: Budget of time.
            trial_timeout_s: Of one call of a trial.
            jobs, runner, ray_address: Where trials run from now on.
            observer: Told of every trial.

        Returns:
            The study itself.

        Raises:
            InputError: The study file, a file or an argument has changed what a trial is.
            NestTuneError: Storage failed.
        """
        opened = StudyStorage(self.storage, create=False)
        try:
            stored = opened.find(self.name)
            check_file(stored)
            settings = resumed_settings(
                stored,
                trials=None if trials is None else str(trials),
                timeout_s=timeout_s,
                trial_timeout_s=trial_timeout_s,
                jobs=jobs,
                runner=runner,
                ray_address=ray_address,
            )
            ground = survey_ground(settings, stored)
            stored = create_study(opened, ground, "resume")
            run_study(ground, opened, stored, observer or Observer())
        finally:
            opened.close()
        return self

    @property
    def result(self) -> StudyResult:
        """Everything that the study holds now: settings, trials, tuned tasks, front.

        Raises:
            InputError: There is no such database or study.
        """
        opened = StudyStorage(self.storage, create=False)
        try:
            return load_result(opened, opened.find(self.name))
        finally:
            opened.close()

    @property
    def trials(self) -> tuple[OuterTrial, ...]:
        """All finished trials, by number."""
        return self.result.trials

    @property
    def front(self) -> tuple[OuterTrial, ...]:
        """Feasible trials that none dominates, by the first objective."""
        return self.result.front

    @property
    def default(self) -> OuterTrial:
        """Trial 0: the untuned default.

        Raises:
            InputError: No trial has run yet.
        """
        return selected(self.result, 0)

    def best(self, pick: str = "knee") -> OuterTrial:
        """One trial of the front.

        Args:
            pick: ``knee``, ``min:METRIC``, ``max:METRIC`` or ``lex:METRIC,METRIC``.

        Raises:
            InputError: The rule cannot be used.
            InfeasibleError: No trial is feasible.
        """
        return selected(self.result, None, pick)

    def decisions(self, trial: int | None = None, *, pick: str = "knee") -> Mapping[str, Any]:
        """What a trial sets otherwise than the default: value by parameter.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such trial.
            InfeasibleError: No trial is feasible.
        """
        result = self.result
        return decisions_of(result, selected(result, trial, pick))

    def configuration(self, trial: int | None = None, *, pick: str = "knee") -> Configuration:
        """The configuration of a trial: what :func:`nest_tune.compile` takes.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such measured trial, or a file has changed since.
            InfeasibleError: No trial is feasible.
        """
        from nest_tune.study.result import compile_trial

        result = self.result
        chosen = selected(result, trial, pick)
        return compile_trial(ground_of(result), result, chosen).configuration

    def explain(
        self,
        trial: int | None = None,
        *,
        pick: str = "knee",
        each_task: bool = False,
        progress: Progress = lambda _: None,
    ) -> Explanation:
        """Measures what each decision of a trial is worth: changed back alone, measured again.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.
            each_task: Also change the schedule of each task back.
            progress: Told what is being measured.

        Raises:
            InputError: There is no such measured trial, or a file has changed since.
            InfeasibleError: No trial is feasible.
        """
        from nest_tune.report.explain import explain

        result = self.result
        chosen = selected(result, trial, pick)
        return explain(ground_of(result), result, chosen, each_task=each_task, progress=progress)

    def compile(
        self, output: PathName, trial: int | None = None, *, pick: str = "knee"
    ) -> Compilation:
        """Compiles a trial to a package.

        Args:
            output: Folder; an older package there is replaced.
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such measured trial, or the folder cannot be written.
            InfeasibleError: No trial is feasible.
        """
        from compiler_core.package.writer import require_free, write_package
        from nest_tune.study.result import compile_trial

        folder = Path(output)
        require_free(folder)
        result = self.result
        chosen = selected(result, trial, pick)
        compiled = compile_trial(survey_ground(result.settings, result.study), result, chosen)
        write_package(compiled, folder, {})
        return compilation(compiled, folder)

    def export(
        self, output: PathName, trial: int | None = None, *, pick: str = "knee"
    ) -> OuterTrial:
        """Writes the configuration of a trial as a lock file.

        Args:
            output: TOML file.
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Returns:
            The trial.

        Raises:
            InputError: There is no such measured trial, a file has changed since, or the lock file
                cannot be written.
            InfeasibleError: No trial is feasible.
        """
        from nest_tune.ci.export import export_text

        path = Path(output)
        require_writable(path, "output")
        result = self.result
        chosen = selected(result, trial, pick)
        text = export_text(result, chosen, path.absolute().parent)
        write_atomically(path, lambda stream: stream.write(text.encode()))
        return chosen

    def report(
        self, output: PathName, *, pick: str = "knee", progress: Progress = lambda _: None
    ) -> Path:
        """Writes one self-contained HTML page.

        Args:
            output: File.
            pick: Which trial it is about, as for :meth:`best`.
            progress: Told what is being done.

        Returns:
            The file.

        Raises:
            InputError: The rule cannot be used, or the file cannot be written.
        """
        from nest_tune.report.collect import collect
        from nest_tune.report.page import page

        path = Path(output)
        require_writable(path, "output")
        content = page(collect(self.result, pick, progress=progress)).encode()
        write_atomically(path, lambda stream: stream.write(content))
        return path

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
        opened = StudyStorage(self.storage, create=False)
        try:
            opened.ask(require_running(opened.find(self.name)), request)
        finally:
            opened.close()

    def delete(self) -> None:
        """Deletes the study with its trials; measurements of tasks stay.

        Raises:
            InputError: It is running.
        """
        opened = StudyStorage(self.storage, create=False)
        try:
            opened.delete(require_idle(opened.find(self.name)))
        finally:
            opened.close()


def _text(given: PathName | float | None) -> str | None:
    return None if given is None else str(given)
