"""``nest-tune ci``: hold what was tuned."""

from __future__ import annotations

import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import CheckError, InputError
from compiler_core.files.exhausted import cannot_be_written
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import AsJson, CmsisNn
from nest_tune.cli.output import print_json, progress, say

if TYPE_CHECKING:
    from nest_tune.ci.difference import Difference
    from nest_tune.ci.result import CheckResult
    from nest_tune.ci.workflows import Service

app = typer.Typer(
    name="ci",
    help="Hold what was tuned: compile a lock file again and compare every number.",
    epilog="Example: nest-tune ci check best.toml --data eval.npz --junit check.xml",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)

_MOST_LINES = 20


class CheckFormat(Enum):
    """How the result is printed."""

    TEXT = "text"
    MD = "md"


Locks = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[LOCK]…", help="Lock files; default: those in the working folder."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="eval.npz", help="Evaluation data of the locks, for their accuracy; repeatable."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Workflow to write; default: where it is looked for."
    ),
]
Install = Annotated[
    str | None,
    typer.Option(metavar="REQUIREMENT", help="What pip installs; default: this version."),
]
Comment = Annotated[
    bool,
    typer.Option(
        "--comment",
        help="Also a job that comments on pull requests: the checks' results, and what changed "
        "in lock files; it needs the permission to write there.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


@app.command(epilog="Example: nest-tune ci check best.toml --data eval.npz --junit check.xml")
def check(
    lock: Annotated[Path, typer.Argument(metavar="LOCK", help="Lock file of study export.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="eval.npz", help="Evaluation data; else those that LOCK names."),
    ] = None,
    without_data: Annotated[
        bool, typer.Option("--without-data", help="Compare everything but the accuracy.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ONNX file; else the one that LOCK names.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="calib.npz", help="Calibration data; else those that LOCK names."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="F", help="Write the result as JUnit XML.")
    ] = None,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="F", help="Write the result as Markdown."),
    ] = None,
    output_format: Annotated[
        CheckFormat, typer.Option("--format", help="What is printed: text or Markdown.")
    ] = CheckFormat.TEXT,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=2%",
            help="How much it may differ; default: not at all, by the clock 5%. Repeatable.",
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Accept what was measured: write the lock anew.")
    ] = False,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Compile a lock file again and compare: simulated numbers and accuracy exactly, latency by
    the clock by a test of distributions.

    Exit code 4 where a number differs. In a GitHub job the result is added to the step's summary.
    """
    require_writable(junit, "--junit")
    require_writable(markdown_file, "--markdown")
    if update:
        require_writable(lock, "LOCK")
    from nest_tune.ci import check as checking
    from nest_tune.ci.reports import headline, markdown
    from nest_tune.ci.reports import junit as junit_text

    if without_data and data is not None:
        raise InputError("--data and --without-data are both given", hint="one of them says it all")
    result = checking.check(
        lock,
        data,
        model=model,
        calibration=calibration,
        with_accuracy=not without_data,
        accept_data=update,
        tolerances=tolerance or (),
        progress=progress,
    )
    if junit is not None:
        content = junit_text(result)
        write_atomically(junit, lambda stream: stream.write(content))
    if markdown_file is not None:
        text = f"{markdown(result)}\n".encode()
        write_atomically(markdown_file, lambda stream: stream.write(text))
    _add_summary(markdown(result))
    accepted = update and bool(result.new_text)
    if accepted:
        _rewrite(lock, result)
    if as_json:
        differences = [_plain(item) for item in result.differences]
        body = {"lock": str(lock), "ok": result.ok, "differences": differences}
        more = {"first_layer": result.first_layer, "compared": result.count, "updated": accepted}
        more["within_tolerance"] = len(result.let_pass)
        print_json("ci-check", {**body, **more, "notes": list(result.notes)})
    elif output_format is CheckFormat.MD:
        print(markdown(result))
    else:
        print(headline(result))
        for difference in result.differences[:_MOST_LINES]:
            say(f"  {difference}")
        if (left := len(result.differences) - _MOST_LINES) > 0:
            print(f"  and {left} more")
        for note in result.notes:
            say(f"  note: {note}")
    if accepted:
        say(f"{lock}: written anew", aside=True)
    elif not result.ok:
        say(f"error: {headline(result)}", aside=True)
        say(f"hint: nest-tune ci check {lock} --update accepts it", aside=True)
        raise typer.Exit(CheckError.exit_code)


@app.command(epilog="Example: nest-tune ci diff main/best.toml best.toml --format md")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Lock file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Lock file that takes its place.")],
    output_format: Annotated[
        CheckFormat, typer.Option("--format", help="What is printed: text or Markdown.")
    ] = CheckFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Compare what two lock files measured, by layer and in per cent; nothing is compiled."""
    from nest_tune.ci import lock_diff

    found = lock_diff.lock_diff(old, new)
    if as_json:
        body = {"old": str(old), "new": str(new)}
        print_json("ci-diff", {**body, "differences": [_plain(d) for d in found.differences]})
    elif output_format is CheckFormat.MD:
        print(lock_diff.markdown(found))
    else:
        print(lock_diff.headline(found))
        for difference in found.differences[:_MOST_LINES]:
            say(f"  {difference}")
        if (left := len(found.differences) - _MOST_LINES) > 0:
            print(f"  and {left} more; --json and --format md show more")


def _plain(item: Difference) -> dict[str, Any]:
    return {
        "metric": item.metric,
        "expected": item.expected,
        "measured": item.measured,
        "where": item.where,
        "percent": item.percent,
    }


def _rewrite(lock: Path, result: CheckResult) -> None:
    text = result.new_text.encode()
    write_atomically(lock, lambda stream: stream.write(text))


def _add_summary(text: str) -> None:
    """Appends to the file that GitHub shows as the step's summary, where there is one."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
    except OSError as error:
        raise cannot_be_written(f"GITHUB_STEP_SUMMARY {summary}", error) from error


init_app = typer.Typer(
    name="init",
    help="Write a workflow that runs `ci check` on lock files.",
    epilog="Example: nest-tune ci init github best.toml --data eval.npz",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(init_app)


@init_app.command(epilog="Example: nest-tune ci init github best.toml --data eval.npz")
def github(
    locks: Locks = None,
    data: Data = None,
    output: Output = None,
    install: Install = None,
    comment: Comment = False,
    force: Force = False,
) -> None:
    """Write a GitHub workflow: one job for each lock file, JUnit XML as its artifact."""
    from nest_tune.ci.workflows import Service

    _init(Service.GITHUB, locks or [], data or [], output, install, force=force, comment=comment)


@init_app.command(epilog="Example: nest-tune ci init gitlab best.toml --data eval.npz")
def gitlab(
    locks: Locks = None,
    data: Data = None,
    output: Output = None,
    install: Install = None,
    force: Force = False,
) -> None:
    """Write a GitLab pipeline: one job for each lock file, JUnit XML as its report."""
    from nest_tune.ci.workflows import Service

    _init(Service.GITLAB, locks or [], data or [], output, install, force=force)


def _init(
    service: Service,
    locks: list[Path],
    data: list[Path],
    output: Path | None,
    install: str | None,
    *,
    force: bool,
    comment: bool = False,
) -> None:
    from nest_tune.ci.requirement import own_requirement, require_in_repository
    from nest_tune.ci.workflow_jobs import find_locks, plan_jobs, too_large
    from nest_tune.ci.workflows import Service, workflow

    path = service.path if output is None else output
    if path.exists() and not force:
        raise InputError(
            f"{path}: is there already",
            hint="--force replaces it; --output FILE writes another one to include from it",
        )
    root = Path()
    found = locks or find_locks(root)
    if not found:
        raise InputError(
            "no lock file in the working folder",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    plan = plan_jobs(found, data, root)
    own = own_requirement()
    requirement = require_in_repository(install, root) if install else own.line
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = workflow(service, plan.jobs, requirement, python, comment=comment)
    if output is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    require_writable(path, "--output")
    write_atomically(path, lambda stream: stream.write(text.encode()))
    large = too_large(plan.files, root) if service is Service.GITHUB else ()
    for note in (*plan.notes, *large, *([own.note] if own.note and not install else [])):
        progress(f"note: {note}")
    print(f"{path}: checks {', '.join(job.lock for job in plan.jobs)}")
    files = [str(path), *plan.files, *([requirement] if requirement.startswith("./") else [])]
    print(f"commit with it: git add {' '.join(map(shlex.quote, files))}")
