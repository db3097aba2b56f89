"""Schedules as values and as rows of a lock file."""
