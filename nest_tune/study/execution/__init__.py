"""What the workers of a study do, and what is made of a candidate."""
