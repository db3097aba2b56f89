"""Static verification of VTA programs."""

from compiler_core.units.vta.verify.findings import (
    Finding,
    FindingClass,
    Severity,
    first_error,
)
from compiler_core.units.vta.verify.verify import verify

__all__ = ["Finding", "FindingClass", "Severity", "first_error", "verify"]
