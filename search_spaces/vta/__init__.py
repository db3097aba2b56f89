"""Schedules of VTA layers as search spaces."""
