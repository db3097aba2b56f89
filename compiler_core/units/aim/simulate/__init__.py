"""What programs do (bits), how long they take (cycles) and what that costs (energy)."""
