"""Tuning that only VTA programs know."""
