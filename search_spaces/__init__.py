"""Which configurations exist: parameters, legality, encoding, neighbours, enumeration."""

import compiler_core  # noqa: F401 - turns telemetry of libraries off
