"""Exact semantics of the integer kernels (``tflite``): what every generated kernel has to equal."""
