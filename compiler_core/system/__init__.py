"""The system around the units: time and energy from end to end."""
