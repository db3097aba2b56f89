"""The backend tests of the installed ``onnx`` package, compiled and run by this project.

``python -m tests.conformance.onnx_suite`` runs them all and prints a table by cause.
"""
