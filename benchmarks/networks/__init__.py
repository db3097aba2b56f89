"""Convolutions of published networks at 224 × 224, as tuning tasks.

ResNet-18 without its stem, as TVM's figures count it; ResNet-50 with it (strides in the 3 × 3
convolutions), and GoogLeNet with it. Each is requantized with a shift and both clips.
"""

from __future__ import annotations

import json
from pathlib import Path

from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window

_FEW_CHANNELS = 16


def network_tasks(name: str) -> dict[Task, int]:
    """Tasks of a network and how often each occurs."""
    layers = json.loads((Path(__file__).parent / "layers.json").read_text())[name]
    return {_task(*layer[:5]): layer[5] for layer in layers}


def _task(channels: int, size: int, out_channels: int, kernel: int, stride: int) -> Task:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    epilogue = Epilogue(17, True, True, True)
    entry = channels < _FEW_CHANNELS
    return Task(
        "vta",
        ConvWorkload(1, channels, size, size, out_channels, window, 1, epilogue, entry=entry),
    )
