"""Studies: the outer search over schemes and plans, its trials, storage and life cycle."""
