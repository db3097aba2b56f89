"""The VTA accelerator: instruction set, programs, verifier, functional and timing simulators."""
