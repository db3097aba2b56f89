"""Data files with the states of a recurrent model written out, for whoever reads them by path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compiler_core.accuracy.states import States, output_for_labels, unrolled
from compiler_core.files.npz import read_npz, write_npz
from nest_tune.api.values import Progress, float_run, loaded_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UnrolledFile(NamedTuple):
    """A data file with states.

    Attributes:
        path: Where it was written.
        output: The output that its labels are about; ``None`` where it has none, or where the model
            has several that are no states.
    """

    path: Path
    output: str | None


def write_unrolled(
    model: Path,
    files: Sequence[Path],
    states: States,
    shapes: Mapping[str, tuple[int, ...]] | None,
    progress: Progress = lambda _: None,
) -> list[UnrolledFile]:
    """Writes ``<name>.unrolled.npz`` beside each data file: its arrays, and before every sample the
    states that the float model has there.

    Raises:
        InputError: The states do not fit the model, or a file cannot be read or written.
    """
    graph = loaded_model(model, shapes, files[0] if files else None).graph
    run, written = float_run(graph), []
    for path in files:
        result = path.with_name(f"{path.stem}.unrolled.npz")
        progress(f"unrolling the states of {path.name} into {result}")
        arrays = unrolled(graph, read_npz(path, text=True), states, run, str(path))
        write_npz(result, dict(arrays))
        is_labelled = "y" in arrays and "y" not in graph.inputs
        output = output_for_labels(graph, states) if is_labelled else None
        written.append(UnrolledFile(result, output))
    return written
