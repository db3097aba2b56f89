"""Products and caches that stay in the banks from run to run."""
