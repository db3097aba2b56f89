"""Kernels of generated C as tasks: workloads, the machine that counts them, what they cost."""
