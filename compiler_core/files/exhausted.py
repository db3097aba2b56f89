"""What a machine runs out of, told apart from files that are named wrongly and from defects."""

from __future__ import annotations

import errno
from pathlib import Path

from compiler_core.errors import InputError, NestTuneError, ResourceError

_SPACE = "free some space, or choose another disk"
_HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "free some space, or let files grow: ulimit -f unlimited",
    errno.EIO: "the disk or its connection has failed: choose another one",
    errno.ESTALE: "the disk or its connection has failed: choose another one",
    errno.EMFILE: "allow more open files: ulimit -n 1024",
    errno.ENFILE: "allow more open files: sysctl fs.file-max",
    errno.EAGAIN: "allow more processes: ulimit -u",
    errno.ENOMEM: "free some memory, or take fewer --jobs",
}
"""What to do about a lack, by number of the error."""

_NO_TEMPORARY = "No usable temporary directory"
"""Beginning of what :mod:`tempfile` says where nothing can be written anywhere."""


def lack_of(error: BaseException) -> ResourceError | None:
    """What the machine lacks, where an error of the operating system says that it lacks something;
    ``None`` where the error is about something else."""
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOENT:
        if str(error.strerror).startswith(_NO_TEMPORARY):
            return ResourceError(str(error.strerror), hint=f"{_SPACE}, and set TMPDIR to it")
        if error.filename is None and _is_nowhere():
            return ResourceError(
                "the working folder no longer exists", hint="cd to a folder that does"
            )
        return None
    if error.errno not in _HINTS:
        return None
    where = "" if error.filename is None else f"{error.filename}: "
    return ResourceError(f"{where}{error.strerror}", hint=_HINTS[error.errno])


def cannot_be_read(where: object, error: OSError, hint: str | None = None) -> NestTuneError:
    """The error of a file that could not be read.

    Args:
        where: The file, and who names it.
        error: From the attempt.
        hint: What to do where the machine lacks nothing.

    Returns:
        A :class:`~compiler_core.errors.ResourceError` where files cannot be opened any more or the
        disk has failed, else an :class:`~compiler_core.errors.InputError`.
    """
    return _of_file(f"{where}: cannot be read: {error.strerror or error}", error, hint)


def cannot_be_written(where: object, error: OSError) -> NestTuneError:
    """The error of a file that could not be written.

    Args:
        where: The file, with the option that named it where there is one.
        error: From the attempt.

    Returns:
        A :class:`~compiler_core.errors.ResourceError` where the disk is full or gone, else an
        :class:`~compiler_core.errors.InputError`.
    """
    return _of_file(f"{where}: cannot be written: {error.strerror or error}", error, None)


def _of_file(message: str, error: OSError, hint: str | None) -> NestTuneError:
    lack = lack_of(error)
    if lack is None:
        return InputError(message, hint=hint)
    return ResourceError(message, hint=lack.hint)


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False
