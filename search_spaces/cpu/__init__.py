"""Kernels of generated C as search spaces."""
