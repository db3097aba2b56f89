"""Configurations and lock files: everything that the final compile needs."""
