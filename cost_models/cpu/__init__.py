"""Features and bounds of kernels of generated C."""
