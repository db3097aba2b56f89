"""Suites that every implementation of a seam passes: for the tests of this project and of
plug-ins."""
