"""A study from Python, of a model and arrays that are in memory: no study file, no data files.

Run from the repository's root: ``python examples/arrays.py``.
"""

from pathlib import Path

import numpy as np
import onnx

import nest_tune

DIGITS = Path(__file__).parent / "digits"


def main() -> None:
    model = onnx.load(DIGITS / "model.onnx")
    calibration = np.load(DIGITS / "calib.npz")["x"]
    with np.load(DIGITS / "eval.npz") as data:
        evaluation = {"x": data["x"], "y": data["y"]}

    study = nest_tune.Study.start(
        model,
        target="vta",
        calibration=calibration,
        evaluation=evaluation,
        objectives={"latency_ms": "minimize"},
        constraints={"accuracy_drop": "<= 0.01"},
        trials=4,
        name="from-arrays",
        if_exists="replace",
        storage="sqlite:///out/nest-tune.db",
    )
    best = study.best()
    print(best.number, best.metrics["latency_ms"], best.metrics["accuracy"])


if __name__ == "__main__":
    main()
