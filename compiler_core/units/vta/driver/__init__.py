"""Drivers of VTA in C, and what a processor writes and reads around programs."""
