"""Secrets are taken out of text at the borders: errors, logs, tracebacks, documents and pages.

What is known to be secret (see :class:`~nest_tune.records.storage_url.StorageUrl`) is told to
:func:`remember`; passwords in URLs and assignments are found by their form, wherever they come
from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
"""Stands for what is not shown."""

_LEAST = 4
"""Characters that a secret needs to be looked for by itself: shorter ones are parts of words."""

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|passwort|\bpass\b|pwd|secret|token|credential|api_?key|access_?key"
    r"|(client|server|private|signing|encryption)_?key|\bdsn\b|odbc|^(auth|jwt|key|sig|signature)$",
    re.IGNORECASE,
)
_URL = re.compile(r"(://[^\s/:@'\"]*):(?!\d+/)[^\s'\"]*@")
_ASSIGNED = re.compile(
    r"(?<![\w.-])([\w.-]{0,60}(?:passw(?:or)?d|passphrase|pwd|secret|(?:auth|access|api|bearer)[\w-]*token"
    r"|_token|api_?key|access_?key|(?:client|server|private)_key)[\w-]*)"
    r"(\s?=\s?)(?:\"[^\"]*\"|'[^']*'|[^\s&;,'\"]+)",
    re.IGNORECASE,
)
_known: dict[str, re.Pattern[str]] = {}


def is_secret_name(name: str) -> bool:
    """Whether what a parameter of this name holds is a secret."""
    return _SECRET_NAME.search(name) is not None


def remember(secret: str, *, beside: str = "") -> None:
    """Tells that a text is a secret, so that no message shows it.

    Args:
        secret: As it is, not quoted.
        beside: What may be shown with it; a secret that is a part of that is none by itself, such
            as a password that is the user's name.
    """
    for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
        if len(form) >= _LEAST and form not in beside:
            _known[form] = re.compile(rf"(?<!\w){re.escape(form)}(?!\w)")


def redact(text: str) -> str:
    """The text with every secret in it masked."""
    for form, pattern in _known.items():
        if form in text:
            text = pattern.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(rf"\1:{MASK}@", text)
    if "=" in text:
        text = _ASSIGNED.sub(rf"\1\2{MASK}", text)
    return text


def redacted(value: Any) -> Any:
    """A plain document with every secret in its texts masked; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(entry) for entry in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Formats records of a log, tracebacks among them, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
