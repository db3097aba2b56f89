"""Tuning of tasks: measurements spent where they gain most."""
