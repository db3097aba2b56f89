"""What compilers, packages and reports ask of a kind of unit."""
