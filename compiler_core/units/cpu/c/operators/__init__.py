"""The operators of networks: parameters, constants, and the bits that their kernels give."""
