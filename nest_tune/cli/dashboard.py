"""``nest-tune dashboard``: optuna-dashboard on the studies of a storage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.cli.same_origin import guarded
from nest_tune.cli.study_options import StorageUrl, open_storage

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

EXAMPLE = "Example: nest-tune dashboard --storage sqlite:///nest-tune.db --port 8080"

HOST = "127.0.0.1"


def dashboard(
    storage: StorageUrl = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")
    ] = 8080,
) -> None:
    """Browse studies in optuna-dashboard, on this machine only.

    It shows the studies themselves, running ones too; notes and tags that are made there last.
    Trials that others add never steer a study. Pages of other sites do not reach it. Needs the
    extra `dashboard`. Ctrl-C ends it.
    """
    require_dashboard()
    from nest_tune.study.store.optuna_study import optuna_storage

    opened = open_storage(storage)
    studies = len(opened.studies())
    with bind(optuna_storage(opened), port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        noun = "study" if studies == 1 else "studies"
        print(f"{opened.shown}: {studies} {noun} at {address}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def require_dashboard() -> None:
    """Checks that optuna-dashboard can be imported.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import optuna_dashboard  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the Python package {error.name!r} is not installed",
            hint="pip install 'nest-tune[dashboard]'",
        ) from error


def bind(storage: Any, port: int) -> WSGIServer:
    """The server, bound to loopback but not serving yet.

    Raises:
        InputError: The port cannot be had.
    """
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from optuna_dashboard import wsgi

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Handler(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """One line per request would hide everything else."""

    try:
        # The port is known once the server has it.
        application = guarded(wsgi(storage), lambda: server.server_port)
        server = make_server(HOST, port, application, Server, Handler)
    except OSError as error:
        raise InputError(
            f"--port {port}: {error.strerror or error}", hint="--port 0 takes a free one"
        ) from error
    return server
