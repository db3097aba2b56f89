"""What keeps a cluster of this machine to this machine: its ports, its token, its folder.

Ray binds its services to all interfaces, unless the node's address is that of loopback, which it
replaces by an outer one on systems that it makes clusters of; it makes its token file readable by
everybody; and it asks three clouds whether it is there, also with its reports switched off.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nest_tune.runners.remote import own_folder

_NOWHERE = "http://127.0.0.1:1"
"""Nothing listens there."""
_LONGEST_TEMPORARY = 40
"""Characters: sockets below the folder may have names of 107."""

VARIABLES: Mapping[str, str] = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so that addresses of loopback are kept
    "RAY_USAGE_STATS_REPORT_URL": _NOWHERE,
    **dict.fromkeys(("http_proxy", "https_proxy"), _NOWHERE),
    **dict.fromkeys(("no_proxy", "no_grpc_proxy"), "localhost,127.0.0.1,::1"),
}
"""Of the cluster's processes; those that compute have the environment of all workers."""


def temporary_folder() -> str | None:
    """Folder of the cluster's sockets and logs, which nobody else can enter; ``None`` for Ray's own
    where the path would be too long for sockets."""
    try:
        folder = own_folder() / "ray"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return str(folder) if len(str(folder)) <= _LONGEST_TEMPORARY else None


def guard_token() -> None:
    """Lets nobody else read the token of this user's clusters; makes it where there is none yet.

    Raises:
        OSError: The file cannot be written.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path.home() / ".ray" / "auth_token"
    if path.exists():
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    if given:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written under another name, so that no cluster reads half of it.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".auth_token-")  # mode 0600
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32))
    try:
        os.link(name, path)
    except FileExistsError:  # another driver was faster
        pass
    finally:
        Path(name).unlink()
