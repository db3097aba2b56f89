"""Candidates of a search: networks of chosen precisions, and what each operator of them costs."""
