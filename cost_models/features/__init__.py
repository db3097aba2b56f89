"""Features: what a cost model reads of a configuration."""
