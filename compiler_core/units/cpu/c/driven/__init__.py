"""Models that run partly on an NPU: what the processor does, in C, around its driver."""
