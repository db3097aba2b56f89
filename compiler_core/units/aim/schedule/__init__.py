"""Workloads, schedules, what follows from both, and which of them are legal."""
