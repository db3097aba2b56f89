"""What golden numbers are kept of: models and targets, studies, searches of single tasks."""

from __future__ import annotations

from dataclasses import dataclass

from tests.synthetic_models import MODELS

TRAINED = (
    "dscnn_kws",
    "kwt1_kws",
    "mnist_cntk",
    "mobilenet_v1_025_224",
    "resnet20_cifar10",
    "resnet8_cifar10",
    "squeezenet_v1_1",
)
"""Models of the shared data; ``tests/conftest.py`` says where they lie."""

NPU_TARGETS = ("vta", "vta-x4", "vta-pynq")
OTHER_TARGETS = (
    "vta-rtl2020",
    "vta-ultra96",
    "vta-x2",
    "vta-x4-128",
    "vta-x4-256",
    "vta-zcu102",
)
CLOCKED_TARGET = "host"
"""Measured by the clock: only the structure of its packages is kept."""


@dataclass(frozen=True)
class Compiled:
    """The untuned default of a model on a target.

    Attributes:
        model: ``digits``, a name of ``tests/synthetic_models.py``, or one of ``TRAINED``.
        target: Name of a bundled target.
    """

    model: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.model} on {self.target}"


@dataclass(frozen=True)
class Searched:
    """A seeded study.

    Attributes:
        model, target: As in :class:`Compiled`.
        sampler: Of its configurations.
        spaces: Which it searches.
        trials: Budget.
    """

    model: str
    target: str
    sampler: str
    spaces: tuple[str, ...]
    trials: int

    @property
    def name(self) -> str:
        return f"{self.model} on {self.target} by {self.sampler} over {', '.join(self.spaces)}"


@dataclass(frozen=True)
class Tuned:
    """A seeded search of schedules of one task.

    Attributes:
        operator: The first task whose id begins like this is searched.
        target: Name of a bundled target.
        sampler: Of schedules.
        trials: Budget.
    """

    operator: str
    target: str
    sampler: str
    trials: int

    @property
    def name(self) -> str:
        return f"{self.operator} of digits on {self.target} by {self.sampler}"


Case = Compiled | Searched | Tuned

TWO = ("quantization", "partition")
THREE = (*TWO, "tiling")

FILES: dict[str, tuple[Case, ...]] = {
    "digits": tuple(
        Compiled("digits", target) for target in (*NPU_TARGETS, *OTHER_TARGETS, CLOCKED_TARGET)
    ),
    "synthetic": tuple(
        Compiled(model, target) for model in MODELS for target in (*NPU_TARGETS, CLOCKED_TARGET)
    ),
    "studies": (
        Searched("digits", "vta", "random", TWO, 9),
        Searched("digits", "vta", "xgb", THREE, 13),
        Searched("digits", "vta-x4", "xgb", THREE, 9),
        Searched("digits", "vta-pynq", "tpe", TWO, 13),
        Searched("digits", "vta", "nsga2", TWO, 13),
        Searched("residual", "vta", "xgb", THREE, 9),
        Searched("mixed", "vta-x4", "random", TWO, 9),
    ),
    "tuning": (
        Tuned("conv2d", "vta", "exhaustive", 48),
        *(
            Tuned(operator, target, sampler, trials)
            for operator, target, trials in (("conv2d", "vta", 48), ("depthwise", "vta-pynq", 32))
            for sampler in ("random", "xgb", "tpe", "nsga2")
        ),
    ),
    "trained": tuple(
        Compiled(model, target)
        for model in TRAINED
        for target in (NPU_TARGETS if model in ("mnist_cntk", "resnet8_cifar10") else ("vta",))
    ),
}
"""Cases by the file, ``numbers/NAME.json``, that holds their numbers."""

QUICK: frozenset[Case] = frozenset(
    {
        Compiled("digits", "vta"),
        Compiled("digits", "vta-x4"),
        Compiled("digits", "vta-pynq"),
        Compiled("digits", CLOCKED_TARGET),
        Compiled("residual", "vta"),
        Compiled("mixed", "vta"),
        Compiled("batch_of_two", "vta-x4"),
        Searched("digits", "vta", "random", TWO, 9),
        Tuned("conv2d", "vta", "random", 48),
    }
)
"""Measured on every run of the tests; the others are slow."""
