"""From a model file and a configuration to an executable."""
