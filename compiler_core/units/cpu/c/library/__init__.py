"""Kernels of CMSIS-NN, which is never bundled: where it is, what it can run, how it is called."""
