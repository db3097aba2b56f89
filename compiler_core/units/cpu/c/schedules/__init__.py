"""Faster kernels for a core: which there are for an operator, and their sources."""
