"""``nest-tune study``: start and resume a search."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler_core.errors import InfeasibleError, InputError, NestTuneError, StorageLostError
from nest_tune.cli.counts import plain_count, shown_count
from nest_tune.cli.file_kinds import FileKind, kind_of_file
from nest_tune.cli.options import AsJson, CmsisNn, FixedInputs, States, fixed_model, parse_states
from nest_tune.cli.output import console, print_json, progress, say
from nest_tune.cli.setting_options import takes
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import MovedFile, Name, Output, Pick, open_storage, place_of
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nest_tune.records.storage_url import StorageUrl as Url
    from nest_tune.study.request.settings import StudySettings
    from nest_tune.study.store.ground import Ground
    from nest_tune.study.store.result import StudyResult
    from nest_tune.study.store.storage import StudyStorage
    from nest_tune.study.store.stored_study import StoredStudy
    from nest_tune.study.trial import OuterTrial


Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show also how well the cost models predict."),
]


class IfExists(Enum):
    """What to do where the name is taken."""

    FAIL = "fail"
    RESUME = "resume"
    REPLACE = "replace"


@app.command(epilog="Example: nest-tune study start m.onnx --target vta --calibration c.npz")
@takes(StudyRequest)
def start(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY.toml|MODEL]",
            help="Study file, where flags go before what it says; or the model itself.",
        ),
    ] = None,
    state: States = None,
    fix_input: FixedInputs = None,
    *,
    asked: StudyRequest,
    if_exists: Annotated[IfExists, typer.Option(help="Where the name is taken.")] = IfExists.FAIL,
    pick: Pick = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show it, and run nothing.")
    ] = False,
    output: Output = None,
    verbose: Verbose = False,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Create a study and run it."""
    from nest_tune.study.request.resolve import resolve

    file, asked = _told_apart(file, asked)
    if fix_input:
        if asked.model is None:
            raise InputError("--fix-input is given without a model", hint="--model MODEL.onnx")
        asked = replace(asked, model=str(fixed_model(Path(asked.model), fix_input)))
    settings = _with_states(resolve(file, asked, os.environ), parse_states(state))
    _start(_with_end(settings, pick, output), if_exists, dry_run, as_json, verbose)


def _told_apart(file: Path | None, asked: StudyRequest) -> tuple[Path | None, StudyRequest]:
    """A study file and what is asked for beside it, of an argument that may be the model."""
    if file is None or kind_of_file(file) is not FileKind.MODEL:
        return file, asked
    if asked.model is not None:
        raise InputError(f"two models are given: {file} and --model {asked.model}")
    return None, replace(asked, model=str(file))


def _with_end(settings: StudySettings, pick: str | None, output: Path | None) -> StudySettings:
    """Settings that say what is done in the end, checked; what is not asked for stays."""
    folder = output or (Path(settings.output) if settings.output else None)
    if folder is not None:
        from nest_tune.bundling import require_replaceable

        require_replaceable(folder)
    rule = pick or settings.pick
    _check_pick(rule, settings)
    return replace(settings, pick=rule, output="" if folder is None else str(folder.absolute()))


def _with_states(settings: StudySettings, states: Mapping[str, str]) -> StudySettings:
    """Settings whose data hold the states that the float model has on them."""
    if not states:
        return settings
    from nest_tune.api.unrolled import write_unrolled

    names = {p: Path(p) for p in (settings.calibration, settings.evaluation) if p is not None}
    found = write_unrolled(
        Path(settings.model), list(names.values()), states, settings.shapes, progress
    )
    written = dict(zip(names, found, strict=True))
    if settings.calibration:
        settings = replace(settings, calibration=str(written[settings.calibration].path))
    if not settings.evaluation:
        return settings
    path, labelled = written[settings.evaluation]
    judged = settings.judged_output or labelled
    if judged != settings.judged_output:
        progress(f"the labels are about output {judged!r}; the others are states")
    return replace(settings, evaluation=str(path), judged_output=judged)


def _start(
    settings: StudySettings,
    if_exists: IfExists,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    from nest_tune.study.store.creation import create_study
    from nest_tune.study.store.dependencies import survey_ground
    from nest_tune.study.store.naming import named
    from nest_tune.study.store.storage import StudyStorage

    progress(f"importing {settings.model}")
    if dry_run:
        _rehearse(settings, if_exists, as_json)
        return
    storage = StudyStorage(settings.storage)
    numbered = not settings.name
    settings = named(storage, settings, if_exists.value)
    known = storage.get(settings.name) if if_exists is IfExists.RESUME else None
    ground = survey_ground(settings, known, storage=storage)
    _check_pick(settings.pick, ground.settings)
    _warn(ground)
    study = create_study(storage, ground, if_exists.value, numbered=numbered)
    _run(ground, storage, study, as_json, verbose)


def _rehearse(settings: StudySettings, if_exists: IfExists, as_json: bool) -> None:
    """Checks what the first trial would meet, and shows it."""
    from nest_tune.study.store.rehearsal import rehearse, rehearsed_name

    settings = rehearsed_name(settings, if_exists.value)
    found = rehearse(settings)
    _check_pick(settings.pick, found.ground.settings)
    _warn(found.ground)
    for note in found.notes:
        progress(f"note: {note}")
    _print_dry_run(found.ground, as_json)


@app.command(epilog="Example: nest-tune study resume resnet8-vta --trials +50")
@takes(
    StudyRequest,
    *("timeout", "trial_timeout", "jobs", "runner", "ray_address", "pass_env", "storage"),
)
def resume(
    name: Name,
    trials: Annotated[
        str | None, typer.Option(metavar="+N", help="N more trials, or N altogether.")
    ] = None,
    *,
    asked: StudyRequest,
    model: MovedFile = None,
    target: MovedFile = None,
    calibration: MovedFile = None,
    evaluation: MovedFile = None,
    pick: Pick = None,
    output: Output = None,
    verbose: Verbose = False,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Go on where a study stopped: same sampler, same space."""
    from nest_tune.study.request.durations import parse_timeout
    from nest_tune.study.store.creation import take_up
    from nest_tune.study.store.resume import stored_settings

    opened = open_storage(asked.storage)
    ended = _with_end(stored_settings(opened.find(name)), pick, output)
    study, ground = take_up(
        opened,
        name,
        progress=progress,
        trials=trials,
        timeout_s=parse_timeout(asked.timeout, "--timeout"),
        trial_timeout_s=parse_timeout(asked.trial_timeout, "--trial-timeout"),
        jobs=asked.jobs,
        runner=asked.runner,
        ray_address=asked.ray_address,
        model=model,
        target=target,
        calibration=calibration,
        evaluation=evaluation,
        pass_env=asked.pass_env or None,
        pick=ended.pick,
        output=ended.output,
    )
    _run(ground, opened, study, as_json, verbose)


def _check_pick(pick: str, settings: StudySettings) -> None:
    """Refuses a rule before anything runs; again where the metric is settled by then."""
    from nest_tune.study.choice.pick import parse_rule

    if pick:
        parse_rule(pick, settings.metric, evaluated=settings.evaluation is not None)


def _run(
    ground: Ground,
    storage: StudyStorage,
    study: StoredStudy,
    as_json: bool,
    verbose: bool,
) -> None:
    from nest_tune.study.running.lifecycle import run_study
    from nest_tune.study.views.documents import result_document
    from nest_tune.study.views.progress import Panel, make_progress

    observer = make_progress(ground.settings.objectives, ground.settings.metric, verbose=verbose)
    place = place_of(storage)
    told = storage.url if place else None
    with _saved(study.name, told):
        try:
            result = run_study(ground, storage, study, observer)
        finally:
            if isinstance(observer, Panel):
                observer.close()
        chosen = result.chosen()
        package = None if chosen is None else _compile(ground, result, chosen)
    if as_json:
        print_json("study", result_document(result, chosen, package))
    else:
        from nest_tune.cli.study_summary import print_result

        print_result(result, chosen, package, place)
        if chosen is not None:
            _print_next(study.name, place)
    if chosen is None:
        raise typer.Exit(InfeasibleError.exit_code)


def _print_next(name: str, where: Sequence[str]) -> None:
    """What to look at now."""
    say(f"look at it: {study_command('report', name, *where, '-o', 'report.html')}")
    say(f"why it is so: {study_command('explain', name, *where)}")


_FINAL_CODES = (NestTuneError.exit_code, InputError.exit_code, InfeasibleError.exit_code)
"""Of errors that going on would meet again."""


@contextmanager
def _saved(name: str, url: Url | None) -> Iterator[None]:
    """Says on the way out of a run that was broken off, whatever by, how to go on."""
    from nest_tune.records.storage_url import PASSWORD_HINT
    from nest_tune.study.running.lifecycle import NOTHING_KEPT, OLD_KEPT

    try:
        yield
    except BaseException as error:
        is_final = isinstance(error, NestTuneError) and error.exit_code in _FINAL_CODES
        is_final |= isinstance(error, StorageLostError)
        notes = getattr(error, "__notes__", ())
        if OLD_KEPT in notes:
            progress(OLD_KEPT)
        if not is_final and NOTHING_KEPT not in notes:
            where = [] if url is None else ["--storage", str(url)]
            progress(f"saved; go on with: {study_command('resume', name, *where)}")
            if url is not None and url.has_secrets:
                progress(f"before that, {PASSWORD_HINT}")
        raise


def _compile(ground: Ground, result: StudyResult, chosen: OuterTrial) -> str | None:
    output = result.settings.output
    if not output:
        return None
    from nest_tune.study.store.final import write_trial

    progress(f"compiling trial {chosen.number} to {output}")
    write_trial(ground, result, chosen, Path(output))
    return output


def _warn(ground: Ground) -> None:
    for warning in ground.warnings:
        progress(f"warning: {warning}")


def _print_dry_run(ground: Ground, as_json: bool) -> None:
    from nest_tune.study.request.settings import settings_document

    settings = settings_document(ground.settings)
    size = ground.space.product_size
    if as_json:
        body = {
            "settings": settings,
            "space_size": plain_count(size),
            "parameters": len(ground.space.parameters),
            "digests": dict(ground.digests),
        }
        print_json("study-dry-run", body)
        return
    out = console()
    for key, value in settings.items():
        if value not in (None, "", [], {}):
            out.print(f"{key:<16} {value}", soft_wrap=True)
    out.print(
        f"{'space':<16} {len(ground.space.parameters)} parameters, {shown_count(size)} points"
    )
