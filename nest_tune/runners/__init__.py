"""Runners: where the work of trials is done; one module per kind."""
