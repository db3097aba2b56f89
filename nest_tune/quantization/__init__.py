"""Choosing a quantization: evaluations in stages, their cache, and the search."""
