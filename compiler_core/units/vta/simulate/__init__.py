"""Bits and cycles of programs."""
