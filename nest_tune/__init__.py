"""nest-tune: how a network runs best on a system on chip with a CPU and an NPU.

The names below are the Python interface. Each is loaded when it is first used, so that ``import
nest_tune`` costs nothing. The functions print nothing; what is wrong is raised as an error of
:mod:`compiler_core.errors`.

Example:
    >>> import nest_tune
    >>> package = nest_tune.compile(
    ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
    ... )
    >>> nest_tune.run(package, "examples/digits/eval.npz", check=True).bit_exact
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import compiler_core  # noqa: F401 - turns telemetry of libraries off, before they are imported

if TYPE_CHECKING:
    from compiler_core.errors import (
        CheckError,
        InfeasibleError,
        InputError,
        InternalError,
        MissingDependencyError,
        NestTuneError,
    )
    from compiler_core.targets.load import bundled_targets as targets
    from compiler_core.targets.load import load_target
    from nest_tune.api.bundle_compiling import compile_bundle
    from nest_tune.api.bundle_packages import evaluate_bundle, profile_bundle, run_bundle
    from nest_tune.api.checking import check
    from nest_tune.api.comparing import compare
    from nest_tune.api.compiling import compile  # noqa: A004 - the verb of the command line
    from nest_tune.api.driving import bundle_package
    from nest_tune.api.fixing import fix_inputs
    from nest_tune.api.formats import best_formats, shown_formats
    from nest_tune.api.measuring import measure
    from nest_tune.api.packages import evaluate, load_package, profile, run
    from nest_tune.api.planning import best_plan, check_plan, show_plan
    from nest_tune.api.planning_within import best_plan_within
    from nest_tune.api.records import export_records, import_records, list_records, verify_records
    from nest_tune.api.schemes import profile_activations, search_scheme, sensitivity
    from nest_tune.api.searching import search_problem
    from nest_tune.api.spaces import space, task_space
    from nest_tune.api.study import Study
    from nest_tune.api.tasks import tasks, tune_task
    from nest_tune.study.proposals.base_samplers import ExhaustiveSampler, XgbSampler, suggest
    from nest_tune.study.request.study_request import StudyRequest

__all__ = [
    "CheckError",
    "ExhaustiveSampler",
    "InfeasibleError",
    "InputError",
    "InternalError",
    "MissingDependencyError",
    "NestTuneError",
    "Study",
    "StudyRequest",
    "XgbSampler",
    "best_formats",
    "best_plan",
    "best_plan_within",
    "bundle_package",
    "check",
    "check_plan",
    "compare",
    "compile",
    "compile_bundle",
    "evaluate",
    "evaluate_bundle",
    "export_records",
    "fix_inputs",
    "import_records",
    "list_records",
    "load_package",
    "load_target",
    "measure",
    "profile",
    "profile_activations",
    "profile_bundle",
    "run",
    "run_bundle",
    "search_problem",
    "search_scheme",
    "sensitivity",
    "show_plan",
    "shown_formats",
    "space",
    "suggest",
    "targets",
    "task_space",
    "tasks",
    "tune_task",
    "verify_records",
]

_HOMES = {
    "CheckError": "compiler_core.errors",
    "ExhaustiveSampler": "nest_tune.study.proposals.base_samplers",
    "InfeasibleError": "compiler_core.errors",
    "InputError": "compiler_core.errors",
    "InternalError": "compiler_core.errors",
    "MissingDependencyError": "compiler_core.errors",
    "NestTuneError": "compiler_core.errors",
    "Study": "nest_tune.api.study",
    "StudyRequest": "nest_tune.study.request.study_request",
    "XgbSampler": "nest_tune.study.proposals.base_samplers",
    "best_formats": "nest_tune.api.formats",
    "best_plan": "nest_tune.api.planning",
    "best_plan_within": "nest_tune.api.planning_within",
    "check": "nest_tune.api.checking",
    "check_plan": "nest_tune.api.planning",
    "compare": "nest_tune.api.comparing",
    "compile": "nest_tune.api.compiling",
    "bundle_package": "nest_tune.api.driving",
    "compile_bundle": "nest_tune.api.bundle_compiling",
    "evaluate": "nest_tune.api.packages",
    "evaluate_bundle": "nest_tune.api.bundle_packages",
    "export_records": "nest_tune.api.records",
    "fix_inputs": "nest_tune.api.fixing",
    "import_records": "nest_tune.api.records",
    "list_records": "nest_tune.api.records",
    "load_package": "nest_tune.api.packages",
    "load_target": "compiler_core.targets.load",
    "measure": "nest_tune.api.measuring",
    "profile": "nest_tune.api.packages",
    "profile_activations": "nest_tune.api.schemes",
    "profile_bundle": "nest_tune.api.bundle_packages",
    "run": "nest_tune.api.packages",
    "run_bundle": "nest_tune.api.bundle_packages",
    "search_problem": "nest_tune.api.searching",
    "search_scheme": "nest_tune.api.schemes",
    "sensitivity": "nest_tune.api.schemes",
    "show_plan": "nest_tune.api.planning",
    "shown_formats": "nest_tune.api.formats",
    "space": "nest_tune.api.spaces",
    "suggest": "nest_tune.study.proposals.base_samplers",
    "targets": "compiler_core.targets.load:bundled_targets",
    "task_space": "nest_tune.api.spaces",
    "tasks": "nest_tune.api.tasks",
    "tune_task": "nest_tune.api.tasks",
    "verify_records": "nest_tune.api.records",
}
"""Module of each name, and its name there where that is another one."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nest-tune")
    if name not in _HOMES:
        raise AttributeError(f"module 'nest_tune' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
