"""The command tree and the one place where errors become messages and exit codes."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from compiler_core.errors import (
    InputError,
    MissingDependencyError,
    NestTuneError,
    StorageLostError,
)
from compiler_core.files.exhausted import lack_of
from nest_tune.cli.empty import holds_something, refuse_empty
from nest_tune.cli.lazy import LazyCommand, lazy_group
from nest_tune.cli.output import ExitCode, print_error, print_traceback, version
from nest_tune.cli.repeating import at_the_storage, say_what_is_kept
from nest_tune.cli.signals import Terminated, end_by_signals
from nest_tune.cli.streams import stand_in
from nest_tune.redaction import RedactingFormatter
from nest_tune.terminal import show_streams

COMMANDS = {
    name: LazyCommand(f"nest_tune.cli.{module}", attribute, text)
    for name, module, attribute, text in (
        (
            "study",
            "study_verbs",
            "app",
            "Search for the best configurations of a model on a target.",
        ),
        ("compile", "compile", "compile_", "Compile a model to a package of verified programs."),
        (
            "bundle",
            "bundle",
            "bundle",
            "Write a model as sources for a board, with a self test that compares every bit.",
        ),
        ("run", "run", "run", "Execute a package: on the simulator, or as generated C."),
        (
            "evaluate",
            "evaluate",
            "evaluate",
            "Measure how good a package is: by labels, or against the float model.",
        ),
        (
            "profile",
            "profile",
            "profile",
            "Show where time, bytes and energy go, and how far each layer is from its bound.",
        ),
        (
            "ci",
            "ci",
            "app",
            "Hold what was tuned: compile a lock file again and compare every number.",
        ),
        (
            "quantize",
            "quantize",
            "app",
            "Statistics of activations, layers by the damage that quantizing them does, schemes.",
        ),
        (
            "plan",
            "plan",
            "app",
            "Partitions: which unit runs which operators; look, check, find the optimum.",
        ),
        ("task", "task", "app", "The tuning tasks of a model: shapes, cycles, lower bounds."),
        ("space", "space", "app", "The search spaces of a model: what can be decided."),
        ("target", "target", "app", "Hardware descriptions, listed, shown and checked."),
        (
            "simulate",
            "simulate",
            "simulate",
            "Run a raw program of a target's unit: bytes, cycles and counters.",
        ),
        (
            "measure",
            "measure",
            "measure",
            "Measure a package with your own measurer, beside the simulator's numbers.",
        ),
        (
            "profile-cpu",
            "profile_cpu",
            "profile_cpu",
            "Measure every operator of a model on this CPU: a cost table for plans.",
        ),
        (
            "cost-model",
            "cost_model",
            "app",
            "The learned cost model of tilings: what it learned, how well it predicts.",
        ),
        ("record", "record", "app", "The measurement database: every schedule that was measured."),
        (
            "dashboard",
            "dashboard",
            "dashboard",
            "Browse studies in optuna-dashboard, on this machine only.",
        ),
        ("doctor", "doctor", "doctor", "Check this installation, with a small program."),
    )
}
"""The commands: name, module, function or application, and their help in the list."""

app = typer.Typer(
    name="nest-tune",
    cls=lazy_group(COMMANDS),
    help="Find how a network runs best on a chip: quantization, partition and tiling together.",
    epilog="Example: nest-tune study start --model my.onnx --target vta --calibration calib.npz "
    "--evaluation eval.npz --max-accuracy-drop 1% --output package",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"nest-tune {version()}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; allowed anywhere.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    # Both options act before this: main() takes --debug out wherever it stands.
    del debug, show_version


_COLLECTED_FROM = 50_000
"""Objects made since the last look for those that only one another hold: graphs are made of many,
and looking through all of them ever again took a tenth of the time of long ones."""


def main() -> NoReturn:
    """Runs the command line and ends the process with the exit code of the contract."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    gc.set_threshold(_COLLECTED_FROM)
    output, _ = stand_in()
    show_streams()
    end_by_signals()
    _log_without_secrets()
    code = _run(arguments, debug=debug, as_json="--json" in arguments)
    output.flush()
    if output.failure is not None and output.has_lost:
        code = _lost_output(output.failure, code)
    _end(code)


def _end(code: int) -> NoReturn:
    """Ends this process, at once where a library would end it with a code of its own first."""
    cluster = sys.modules.get("nest_tune.runners.ray_cluster")
    if cluster is not None and cluster.was_lost():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _log_without_secrets() -> None:
    """Warnings of the log go to standard error, as by default, through the filter of secrets."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(RedactingFormatter())
    logging.getLogger().addHandler(handler)


def _lost_output(error: OSError, code: int) -> int:
    """Standard output took no more: whoever read it has gone, it is closed, or its disk is full."""
    if not isinstance(error, BrokenPipeError):
        message = f"standard output cannot be written: {error.strerror or error}"
        print_error("output", message, hint="free space, or send it elsewhere", as_json=False)
    return code or ExitCode.FAILED


def _run(arguments: list[str], *, debug: bool, as_json: bool) -> int:
    try:
        refuse_empty(arguments)
        result = app(arguments, prog_name="nest-tune", standalone_mode=False)
        if result == ExitCode.INTERRUPTED:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        say_what_is_kept(arguments)
        print_error("interrupted", "interrupted", as_json=as_json)
        return ExitCode.INTERRUPTED
    except Terminated:
        say_what_is_kept(arguments)
        print_error("terminated", "terminated", as_json=as_json)
        return ExitCode.TERMINATED
    except NestTuneError as error:
        if debug:
            print_traceback()
        if error.exit_code == MissingDependencyError.exit_code and not isinstance(
            error, StorageLostError
        ):
            say_what_is_kept(arguments)
        from nest_tune.cli.options import as_given

        words, node = _command(arguments)
        message = as_given(error.message)
        hint = error.hint or " ".join(["nest-tune", *words, "--help"])
        if error.exit_code == InputError.exit_code:
            message, hint = _mistaken(node, words, arguments) or (message, hint)
        hint = at_the_storage(hint, arguments)
        print_error(type(error).__name__, message, hint=hint, as_json=as_json)
        return error.exit_code
    except ImportError as error:
        if debug:
            print_traceback()
        missing = isinstance(error, ModuleNotFoundError)
        print_error(
            MissingDependencyError.__name__,
            f"the Python package {error.name!r} is not installed"
            if missing
            else f"a Python package cannot be imported: {error}",
            hint="nest-tune doctor",
            as_json=as_json,
        )
        return MissingDependencyError.exit_code
    except typer.TyperException as error:
        return _usage(error, arguments, as_json=as_json)
    except (MemoryError, RecursionError) as error:
        if debug:
            print_traceback()
        return _exhausted(error, as_json=as_json)
    except Exception as error:
        if debug:
            print_traceback()
        say_what_is_kept(arguments)
        if (lack := lack_of(error)) is not None:
            print_error(type(lack).__name__, lack.message, hint=lack.hint, as_json=as_json)
            return lack.exit_code
        text = str(error).strip().partition("\n")[0]
        print_error(
            "internal",
            f"internal error: {type(error).__name__}: {text}",
            hint="run again with --debug and report the traceback",
            as_json=as_json,
        )
        return ExitCode.INTERNAL
    return result if isinstance(result, int) else ExitCode.DONE


def _exhausted(error: BaseException, *, as_json: bool) -> int:
    """What was given asks for more than this machine has; readers name the file where they can."""
    wanted = "memory than there is" if isinstance(error, MemoryError) else "nested levels than fit"
    print_error(
        InputError.__name__,
        f"what was given takes more {wanted}: {str(error).strip().partition(chr(10))[0]}",
        hint="check the sizes in the files given, or give fewer samples; --debug shows where",
        as_json=as_json,
    )
    return InputError.exit_code


def _command(arguments: list[str]) -> tuple[list[str], Any]:
    """The words that name a command, as far as there is one, and the command."""
    words, node = list[str](), typer.main.get_command(app)
    for argument in arguments:
        commands = getattr(node, "commands", {})
        if argument not in commands:
            break
        words.append(argument)
        node = commands[argument]
    return words, node


def _mistaken(node: Any, words: list[str], arguments: list[str]) -> tuple[str, str] | None:
    """Message and hint where an argument is a file of another kind than the command takes."""
    if not words or hasattr(node, "commands") or not all(map(holds_something, arguments)):
        return None
    from nest_tune.cli.mistaken import mistaken

    found = mistaken(node, words, arguments[len(words) :])
    return None if found is None else (found.message, found.hint)


def _usage(error: typer.TyperException, arguments: list[str], *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nest-tune"
    message = error.format_message().strip().replace("Value error, ", "")
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return error.exit_code
    words, node = _command(arguments)
    message, hint = _mistaken(node, words, arguments) or (message, f"{command} --help")
    print_error("usage", message, hint=hint, as_json=as_json)
    return error.exit_code
