"""Layers on several cores: slices of operators and branches side by side."""
