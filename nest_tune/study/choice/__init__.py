"""Which trial of a study is taken, and what is said of it."""
