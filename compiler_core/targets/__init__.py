"""Target descriptions and, per processing unit, its instruction set, lowering and simulators."""
