"""Boards: machines at the other end of ssh, on which models are timed."""
