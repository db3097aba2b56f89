"""Raw programs from files to answers."""
