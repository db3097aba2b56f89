"""From graphs and statistics of their activations to networks."""
