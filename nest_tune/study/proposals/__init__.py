"""What a study tries next, and what it chooses."""
