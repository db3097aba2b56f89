"""From an operator and its schedule to a command stream."""
