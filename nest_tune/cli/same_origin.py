"""A guard before a local web application: only pages that it has served itself may talk to it.

A server on loopback is reached by every page of every browser on the machine. Two ways are closed
here, as the OWASP cheat sheet on cross-site request forgery describes them: names that were rebound
to 127.0.0.1 (the ``Host`` is not this server's), and requests of foreign pages (``Origin`` or
``Sec-Fetch-Site`` say so; what writes has to name its origin, and to be JSON, which no form sends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

READING = ("GET", "HEAD", "OPTIONS")
_HOSTS = ("127.0.0.1", "localhost")
_JSON = "application/json"
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "frame-ancestors 'none'; connect-src 'self'; form-action 'self'"),
    ("Referrer-Policy", "no-referrer"),
)
"""What answers carry: no page may frame, read or embed them, and theirs talk to nobody else."""


def refusal(environment: Mapping[str, Any], port: int) -> str:
    """Why a request is not answered; empty where it is.

    Args:
        environment: Of the request, as WSGI has it.
        port: That the server listens at.
    """
    own = [f"{host}:{port}" for host in _HOSTS]
    if port == 80:
        own += _HOSTS
    host = environment.get("HTTP_HOST", "")
    if host.lower() not in own:
        return f"Host is {host!r}; this server is {own[0]}"
    origin = environment.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() not in [f"http://{name}" for name in own]:
        return f"Origin is {origin!r}: another site's page"
    if environment.get("REQUEST_METHOD", "GET").upper() in READING:
        # A link on another page may lead here; its scripts and pictures may not ask for data.
        site, mode = (environment.get(f"HTTP_SEC_FETCH_{n}", "") for n in ("SITE", "MODE"))
        if site in ("cross-site", "same-site") and mode != "navigate":
            return f"Sec-Fetch-Site is {site!r}: another site's page"
        return ""
    if origin is None:
        return "a request that writes has to name its Origin"
    kind = environment.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    has_body = environment.get("CONTENT_LENGTH", "") not in ("", "0")
    chunked = bool(environment.get("HTTP_TRANSFER_ENCODING"))
    if (has_body or chunked) and kind != _JSON:
        return f"Content-Type is {kind!r}; {_JSON} is needed"
    return ""


def guarded(application: WSGIApplication, port: Callable[[], int]) -> WSGIApplication:
    """The application behind the guard.

    Args:
        application: What is guarded.
        port: That the server listens at, known once it does.
    """

    def guard(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        reason = refusal(environment, port())
        if reason:
            status = HTTPStatus.FORBIDDEN
            start(
                f"{status.value} {status.phrase}",
                [("Content-Type", "text/plain; charset=utf-8"), *_HEADERS],
            )
            return [f"refused: {reason}\n".encode()]

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            named = {name.lower() for name, _ in _HEADERS} | {"access-control-allow-origin"}
            kept = [(name, value) for name, value in headers if name.lower() not in named]
            return start(status, [*kept, *_HEADERS], *rest)

        return application(environment, started)

    return guard
