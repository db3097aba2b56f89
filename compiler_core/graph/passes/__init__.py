"""Graph passes, one file each: immutable graph in, immutable graph out."""
