"""Samplers of schedules: which to measure next."""
