"""Models as C99 for microcontrollers: integer semantics, networks of them, memory, sources."""
