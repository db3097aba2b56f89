"""Studies that run: their engine, their calls to workers, who is told of trials."""
