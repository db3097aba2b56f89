"""Whether a program is legal."""
