"""Features, bounds and priors of schedules for VTA."""
