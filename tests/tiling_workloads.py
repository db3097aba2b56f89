"""One small workload of each kind that the VTA runs."""

from __future__ import annotations

from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Window,
    Workload,
)

EPILOGUE = Epilogue(17, True, True, True)
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
WORKLOADS: dict[str, Workload] = {
    "conv": ConvWorkload(1, 64, 14, 14, 64, SAME, 1, EPILOGUE),
    "strided": ConvWorkload(2, 32, 17, 20, 48, Window((1, 1), (2, 2)), 1, EPILOGUE),
    "residual": ConvWorkload(1, 32, 14, 14, 64, SAME, 1, Epilogue(17, True, True, True, 6)),
    "depthwise": ConvWorkload(1, 64, 14, 14, 64, SAME, 64, EPILOGUE),
    "grouped": ConvWorkload(1, 64, 14, 14, 128, SAME, 2, EPILOGUE),
    "dense": ConvWorkload(1, 512, 1, 1, 160, Window((1, 1)), 1, EPILOGUE),
    "uniform": ConvWorkload(1, 32, 8, 8, 32, Window((2, 2), (2, 2)), 32, EPILOGUE, uniform=True),
    "stem": ConvWorkload(
        1, 3, 32, 32, 32, Window((7, 7), (2, 2), (3, 3, 3, 3)), 1, EPILOGUE, entry=True
    ),
    "pool": MaxPoolWorkload(1, 32, 16, 16, Window((3, 3), (2, 2), (1, 1, 1, 1)), clip_low=True),
}
