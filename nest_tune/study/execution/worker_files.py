"""What workers on other machines need for a study: which files, and how large a machine."""

from __future__ import annotations

import tomllib
from pathlib import Path

from nest_tune.runners.runner import Needs
from nest_tune.study.execution.subjects import Subjects
from nest_tune.user_modules import module_files

_BASE_BYTES = 1 << 30
"""A worker with its libraries and a compiled candidate."""
_COPIES = 4
"""Of the evaluation data: read, float outputs, a batch's activations, integer outputs."""


def files_of(subjects: Subjects) -> dict[str, tuple[str, ...]]:
    """Files of a study by the entry of :class:`Subjects` that names them; each list begins with the
    named file, others lie in its folder or below. The files have been read before."""
    found = {"model": _model_files(Path(subjects.model))}
    if subjects.target.endswith(".toml"):
        found["target"] = _target_files(Path(subjects.target))
    for entry, path in (
        ("calibration", subjects.calibration),
        ("evaluation", subjects.evaluation),
        ("holdout_file", subjects.holdout_file),
    ):
        if path is not None:
            found[entry] = (path,)
    if subjects.module is not None:
        found["module"] = module_files((subjects.metric, subjects.measurer))
    return found


def needs_of(subjects: Subjects) -> dict[str, Needs]:
    """What the calls of a study need, by function, where it is more than a core: accuracy holds the
    evaluation data, several times."""
    if subjects.evaluation is None:
        return {}
    memory_bytes = _BASE_BYTES + _COPIES * Path(subjects.evaluation).stat().st_size
    names = ("full_accuracy", "float_accuracy", "reported_accuracy", "noise")
    return {f"nest_tune.study.execution.worker:{name}": Needs(1, memory_bytes) for name in names}


def _model_files(path: Path) -> tuple[str, ...]:
    """A model and the files of its external data."""
    import onnx

    from compiler_core.graph.reader import tensors_of

    model = onnx.load(path, load_external_data=False)
    locations = {
        entry.value
        for tensor in tensors_of(model.graph)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return (str(path), *(str(path.parent / location) for location in sorted(locations)))


def _target_files(path: Path) -> tuple[str, ...]:
    """A target description, those in its folder that it inherits from, and tables they name."""
    found: list[str] = []
    tables: list[str] = []
    following: Path | None = path
    while following is not None and str(following) not in found:
        found.append(str(following))
        description = tomllib.loads(following.read_text("utf-8-sig"))
        table = description.get("cpu", {}).get("cost_table")
        if table is not None:
            tables.append(str(path.parent / str(table)))
        parent = str(description.get("inherit", ""))
        following = path.parent / parent if parent.endswith(".toml") else None
    return (*found, *tables)
