"""Number formats per operator on this machine: measured, planned, verified by the clock."""
