"""Where studies are kept, started and resumed."""
