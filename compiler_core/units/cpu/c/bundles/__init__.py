"""Folders of generated sources: made, built, run and counted."""
