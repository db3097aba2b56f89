"""The CPU as a kind of unit: its cost, measured or assumed, and its sessions."""
