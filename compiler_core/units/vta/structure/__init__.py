"""The structure of a layer on the machine: folds, tiles and slices."""
