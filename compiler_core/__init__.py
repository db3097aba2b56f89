"""Compiles and simulates one given configuration; knows nothing of search."""
