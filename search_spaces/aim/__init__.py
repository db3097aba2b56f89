"""Schedules of AiM units as search spaces."""
