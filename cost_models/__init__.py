"""Predicts the cost of a configuration from its features."""

import compiler_core  # noqa: F401 - turns telemetry of libraries off
