"""Operators that the CPU runs on int8 tensors in the layout of the unit beside it: a file each."""
