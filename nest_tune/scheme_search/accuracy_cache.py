"""Accuracies found again by the digest of what they depend on: one small file each."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.accuracy.intervals import Estimate
from compiler_core.accuracy.metric import Metric
from compiler_core.errors import NestTuneError
from compiler_core.files.exhausted import cannot_be_written
from compiler_core.files.whole_file import write_atomically
from compiler_core.quantize.accuracy import Accuracy

_SCHEMA = "nest-tune/accuracy/2"


class AccuracyCache:
    """Accuracies by key.

    Args:
        folder: Where they are kept between runs; ``None`` keeps them for this one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._found: dict[str, Accuracy] = {}
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_be_written(folder, error) from error

    def get(self, key: str) -> Accuracy | None:
        """What is known under ``key``; a file that is damaged counts as unknown."""
        if key not in self._found and self._folder is not None:
            read = _read(self._folder / f"{key}.json")
            if read is not None:
                self._found[key] = read
        return self._found.get(key)

    def put(self, key: str, accuracy: Accuracy) -> None:
        """Keep ``accuracy`` under ``key``."""
        self._found[key] = accuracy
        if self._folder is not None:
            path = self._folder / f"{key}.json"
            text = json.dumps(_document(accuracy)).encode()
            with suppress(NestTuneError):  # it is kept in memory, too
                write_atomically(path, lambda stream: stream.write(text))


def _document(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "samples": accuracy.samples,
        "metrics": {
            metric.value: [found.value, found.low, found.high]
            for metric, found in accuracy.metrics.items()
        },
        "correct": [float(share) for share in accuracy.correct],
    }


def _read(path: Path) -> Accuracy | None:
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            return None
        samples = int(document["samples"])
        metrics = {
            Metric(name): Estimate(*(float(value) for value in values))
            for name, values in document["metrics"].items()
        }
        correct = np.array([float(share) for share in document["correct"]])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        return None
    return Accuracy(samples, metrics, correct) if len(correct) == samples else None
