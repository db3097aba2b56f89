"""Predicts the cost of a configuration from its features."""
