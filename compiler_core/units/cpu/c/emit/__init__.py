"""Networks as C99 sources."""
