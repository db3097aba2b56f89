"""How good a model's outputs are: what an output is, how it is compared, and what may be given."""
