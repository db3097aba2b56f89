"""Planning of addresses in a memory."""
