"""Latencies by the clock: what repeats tell, and how they are made on a machine that others use."""
