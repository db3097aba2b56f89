"""Which operators of a model are products that the unit computes."""
