"""Single programs: simulation and advice for the command line."""
