"""What several verbs are asked for beside a model and a target, each setting written once: options
of the command line and keyword arguments follow from the same keys.

Nothing heavy is imported: the command line reads it before it knows what it will do.
"""

from typing import TYPE_CHECKING, Annotated, TypedDict

from nest_tune.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nest_tune.api.values import Data, PathName

SHAPES = Setting(
    "Shape of an input, of dynamic axes or instead of what the file says; else as samples have it.",
    dict,
    metavar="NAME=1,3,…",
    option="--shape",
)


class PlanSettings(TypedDict, total=False):
    """Of verbs about plans."""

    cpu_table: Annotated[
        "PathName | None",
        Setting(
            "Measured CPU times, as profile-cpu writes them; else the target's rates.",
            metavar="cpu.csv",
        ),
    ]
    config: Annotated[
        "PathName | None",
        Setting("Configuration with schedules; else the untuned defaults.", metavar="best.toml"),
    ]
    shapes: Annotated["Mapping[str, tuple[int, ...]] | None", SHAPES]
    calibration: Annotated[
        "Data | None",
        Setting(
            "Samples: the model's numbers, as a compile finds them, say which passes programs "
            "have; on host, number formats of the operators are found.",
            metavar="calib.npz",
        ),
    ]


class RunSettings(TypedDict, total=False):
    """Of verbs that run the float model."""

    shapes: Annotated["Mapping[str, tuple[int, ...]] | None", SHAPES]
    threads: Annotated[
        int, Setting("Threads of onnxruntime.", int, default=1, least=1, option="--jobs")
    ]


class JudgedSettings(RunSettings, total=False):
    """Of those that judge its outputs, too."""

    judged_output: Annotated[
        str | None,
        Setting("Only output that counts; default: all, the worst.", metavar="NAME"),
    ]


class SpaceSettings(TypedDict, total=False):
    """Of verbs about search spaces."""

    calibration: Annotated[
        "Data | None",
        Setting("Samples of the inputs; without, seeded noise stands in.", metavar="calib.npz"),
    ]
    plan: Annotated[
        "PathName | None", Setting("Plan that fixes the partition.", metavar="plan.toml")
    ]
    shapes: Annotated["Mapping[str, tuple[int, ...]] | None", SHAPES]
