"""From a workload and its schedule to programs, and where its data lie."""
