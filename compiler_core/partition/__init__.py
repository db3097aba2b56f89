"""Partition: which processing unit runs which group of operators."""
