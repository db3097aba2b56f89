"""Telemetry of the libraries that are built on is off: nothing here talks to anybody unasked.

Onnxruntime decides when it is imported: it then queues events on disk, among them the device, the
interpreter's path and names of models, and looks for a collector. So the four packages switch it
off when the first of them is imported, before any of their modules can import a library. Processes
that are started from here inherit that.
"""

from __future__ import annotations

import os
import sys

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables, and what turns the telemetry that they control off."""


def switch_off() -> None:
    """Turns telemetry off for this process and all that it starts, whatever they were set to.

    Where onnxruntime has been imported before, its queue and its search for the collector have
    begun and cannot be ended; it is told to record no event of what it runs from now on.
    """
    os.environ.update(SWITCHES)
    disable = getattr(sys.modules.get("onnxruntime"), "disable_telemetry_events", None)
    if disable is not None:
        disable()
