"""Kinds of processing units, one folder each."""
