"""Which configurations exist: parameters, legality, encoding, neighbours, enumeration."""
