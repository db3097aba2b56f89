"""A compiled model in memory: how it runs, is checked, evaluated, profiled and reported."""
