"""What a study is about, as its workers load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subjects:
    """What a study is about.

    Attributes:
        model, calibration, evaluation: Files; no calibration where nothing needs ranges.
        shapes: Of inputs with dynamic axes.
        target: Name or file.
        metric: Of accuracy.
        judged_output: The only output that counts; ``None`` for all.
        measurer: Of latency and energy, by name; empty for the simulator.
        subset: Samples of the first accuracy measurement; 0 for all at once.
        merges: Whether layers that follow one another are one program.
        holdout: Share of the evaluation data that only reports.
        holdout_file: Data of their own that only report; ``None`` for none.
        module: A file in whose folder modules of the user's metric or measurer lie; ``None`` where
            they are installed.
        machine: Digest of the only machine whose times count; empty where none is timed.
    """

    model: str
    target: str
    calibration: str | None = None
    evaluation: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metric: str = "top1"
    judged_output: str | None = None
    measurer: str = ""
    subset: int = 128
    merges: bool = False
    holdout: float = 0.0
    holdout_file: str | None = None
    module: str | None = None
    machine: str = ""
