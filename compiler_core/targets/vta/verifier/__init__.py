"""Static verification of VTA programs."""

from compiler_core.targets.vta.verifier.findings import (
    Finding,
    FindingClass,
    Severity,
    first_error,
)
from compiler_core.targets.vta.verifier.verify import verify

__all__ = ["Finding", "FindingClass", "Severity", "first_error", "verify"]
