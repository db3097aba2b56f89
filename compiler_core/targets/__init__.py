"""Target descriptions and, one package per processing unit, their instruction sets and simulators."""
