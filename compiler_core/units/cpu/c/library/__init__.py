"""CMSIS-NN, which is never bundled: where it is, and how it is built for a core."""
