"""Samplers of tilings: what to measure next."""
