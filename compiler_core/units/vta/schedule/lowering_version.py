"""The number under which measured cycles are kept: of the lowering and timing that gave them."""

LOWERING_VERSION = 3
"""Raise it with every change that alters the cycles of any schedule; older records then no longer
count."""
