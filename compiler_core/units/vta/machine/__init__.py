"""The machine: geometry, instructions, program files, errors."""
