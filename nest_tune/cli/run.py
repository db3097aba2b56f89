"""``nest-tune run``: a package executed on the simulator."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_written
from compiler_core.files.whole_file import require_writable
from nest_tune.cli.options import AsJson, CmsisNn, States, parse_states
from nest_tune.cli.output import print_json, progress

if TYPE_CHECKING:
    from compiler_core.package.reader import Package
    from compiler_core.units.facets.programs import LaunchState


class On(Enum):
    """Where generated C runs."""

    NATIVE = "native"
    QEMU = "qemu"


_COSTS = ("latency_ms", "npu_cycles", "energy_mj")

EXAMPLE = "Example: nest-tune run out --inputs x.npz --outputs y.npz --check"


def run(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of the package.")],
    inputs: Annotated[
        Path, typer.Option(metavar="x.npz", help="Samples: x, or one array per input.")
    ],
    outputs: Annotated[
        Path | None,
        typer.Option(
            metavar="y.npz", help="Where the model's outputs go, by name; needed without --check."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare bit for bit with the integer reference.")
    ] = False,
    dump_launches: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every program of the first sample as raw files."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Samples at the same time.")] = 1,
    state: States = None,
    on: Annotated[
        On | None,
        typer.Option(
            "--on", help="Where generated C runs: native (this machine, the default), or qemu."
        ),
    ] = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Execute a package: on the simulator, or as generated C."""
    require_writable(outputs, "--outputs")
    states = parse_states(state)
    if outputs is None and not check:
        raise InputError(
            "run: nothing is asked for", hint="--outputs y.npz keeps the outputs, --check compares"
        )
    if outputs is not None and outputs.resolve() == inputs.resolve():
        raise InputError(f"--outputs {outputs}: is the same file as --inputs")

    from nest_tune.bundling import opens_bundle

    if opens_bundle(package) is not None:
        from nest_tune.cli.boards import refuse, run_sources

        refuse(f"package {package}", {"--dump-launches": dump_launches, "--state": state})
        run_sources(package, inputs, outputs, check, on is On.QEMU, as_json)
        return
    from compiler_core.files.npz import write_npz
    from nest_tune.api.packages import load_package
    from nest_tune.api.packages import run as run_package

    loaded = load_package(package)
    if on is not None:
        raise InputError(
            f"--on {on.value}: package {package} is not of generated C",
            hint="its programs run on the simulator: leave --on out",
        )
    if dump_launches is not None and not loaded.manifest.target.npu_cores:
        raise InputError(
            f"--dump-launches: package {package} is for {loaded.manifest.target.name!r}, which has "
            "no NPU: there are no programs"
        )
    observer = None if dump_launches is None else _Dump(loaded, dump_launches)
    done = run_package(
        loaded,
        inputs,
        check=check,
        states=states,
        threads=jobs,
        observer=observer,
        progress=progress,
    )
    results, count = done.outputs, done.samples
    if outputs is not None:
        write_npz(outputs, results)
    metrics = loaded.manifest.metrics
    clock = metrics.by_clock
    if as_json:
        from compiler_core.executable.report import metrics_document

        shown = metrics_document(metrics)
        body = {
            "package": str(package),
            "target": loaded.manifest.target.name,
            "samples": count,
            **{name: value for name, value in shown.items() if name in _COSTS},
            "bit_exact": True if check else None,
            "deterministic": clock is None,
            "outputs": {name: list(array.shape) for name, array in results.items()},
        }
        print_json("run", body)
        return
    if clock is not None:
        print(
            f"{count} samples on this machine; {metrics.latency_ms:.3f} ms per run when it was "
            f"compiled, {clock.text}"
        )
        return
    held = "bit-exact with the integer reference" if check else "not checked"
    print(
        f"{count} samples, {held}; {metrics.latency_ms:.3f} ms and {metrics.npu_cycles:,} NPU "
        f"cycles per run"
    )


class _Dump:
    """Writes every program as raw files, numbered through all segments, launches and cores; its
    cycles are those of the program alone."""

    def __init__(self, package: Package, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True)
            if any(folder.iterdir()):
                raise InputError(f"--dump-launches {folder}: is not empty")
        except OSError as error:
            raise cannot_be_written(f"--dump-launches {folder}", error) from error
        self._package, self._folder, self._number = package, folder, 0

    def __call__(self, state: LaunchState) -> None:
        from compiler_core.units.facets.programs import run_of

        launch = state.launch
        document: dict[str, Any] = {
            "schema": "nest-tune/launch/1",
            "target": self._package.executable.target.name,
            "cycles": state.cycles,
            "segment": state.segment.name,
            "launch": launch.name,
            "core": state.core,
            "layer": launch.layer,
            "task": launch.task,
        }
        run = run_of(launch, state.segment.launches)
        if len(run) > 1:
            document |= {"layers": [x.layer for x in run], "tasks": [x.task for x in run]}
        name = f"{self._number:03d}"
        try:
            for ending, content in state.files.items():
                (self._folder / f"{name}.{ending}").write_bytes(content)
            (self._folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        except OSError as error:
            raise cannot_be_written(f"--dump-launches {self._folder}", error) from error
        self._number += 1
