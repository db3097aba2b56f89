"""How the accuracy in a lock file is measured again, checked before anything is compiled."""

from __future__ import annotations

from pathlib import Path

from compiler_core.accuracy.exam import Exam, make_exam
from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.accuracy.samples import EvaluationData, read_evaluation
from compiler_core.compile.sources import FloatModel
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from compiler_core.quantize.finite_inputs import require_finite
from nest_tune.user_modules import allow_folder, working_folder


def examination(
    data: Path, metric: str, judged_output: str, model: FloatModel
) -> tuple[Exam, EvaluationData]:
    """The exam and the samples of a lock file.

    Args:
        data: Evaluation data.
        metric: Its name; empty for what follows from the data.
        judged_output: The output that is judged alone; empty for all.
        model: The float model.

    Raises:
        InputError: The data do not fit the model or the metric, or a user's own metric is wrong.
    """
    found = read_evaluation(data, model.graph)
    exam = make_exam(
        model.graph,
        metric or None,
        labelled=found.labels is not None,
        output=judged_output or None,
    )
    found.check(exam)
    require_finite(found, model.graph, judged=tuple(exam.judges))
    if exam.kind.is_function:
        allow_folder(working_folder())
        load_own_metric(exam.kind.function)
    return exam, found


def require_same_data(data: Path, locked: str, path: Path) -> None:
    """Refuses evaluation data that are not those of a lock.

    Args:
        data: Their file.
        locked: Digest that the lock has; empty for none.
        path: Of the lock file.

    Raises:
        InputError: They are others.
    """
    found = file_digest(data)
    if found != locked:
        was = f"with digest {locked[:16]}…" if locked else "nowhere"
        raise InputError(
            f"{data}: digest {found[:16]}…; the accuracy in {path} was measured on data {was}",
            hint=f"nest-tune ci check {path} --data {data} --update takes these data from now on",
        )
