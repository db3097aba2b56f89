"""What the machine is: sizes, timing constants, energies, and its table in a target file."""
