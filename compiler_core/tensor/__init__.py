"""Tensor IR, level 2: workloads, tasks and digests of values."""
