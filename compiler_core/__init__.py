"""Compiles and simulates one given configuration; knows nothing of search."""

from compiler_core.telemetry import switch_off

switch_off()  # before any module of these packages imports a library that has some
