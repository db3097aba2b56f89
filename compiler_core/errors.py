"""Errors of the whole project: each class fixes who must act.

The command line maps a class to an exit code (:attr:`NestTuneError.exit_code`); every message says
what is wrong, where, the value seen and what is allowed, and ``hint`` names the command or change
that helps.
"""

from __future__ import annotations


class NestTuneError(Exception):
    """Root of all errors that are meant to be read by a user.

    Args:
        message: What is wrong, where, the value seen and what is allowed; one line.
        hint: What to do next; shown as ``hint: …``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(NestTuneError):
    """A file, argument or configuration from outside is wrong: its author must act."""

    exit_code = 2


class OpenShapeError(InputError):
    """A model leaves the size of an axis open, and nobody says it."""


class OwnCodeError(InputError):
    """A function of the user's own raised something while it was called."""


class InfeasibleError(NestTuneError):
    """A legal question without an answer within its limits: relax a limit or choose otherwise."""

    exit_code = 3


class CheckError(NestTuneError):
    """A check that was asked for did not hold."""

    exit_code = 4


class MissingDependencyError(NestTuneError):
    """A package or service that this command needs is absent."""

    exit_code = 5


class ResourceError(NestTuneError):
    """This machine has no more of what the command needs (disk, open files, its folder): make room
    and go on."""

    exit_code = 5


class StorageLostError(ResourceError):
    """What was stored is not there any more: nothing is left to go on with."""


class InternalError(NestTuneError):
    """What this project made breaks its own rules: its authors must act."""

    exit_code = 70
