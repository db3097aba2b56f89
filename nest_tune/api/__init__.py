"""The Python interface: what the command line does, as functions that take and return values.

Import it from :mod:`nest_tune`; nothing is loaded before it is used.
"""
