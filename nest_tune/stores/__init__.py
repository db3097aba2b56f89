"""What is computed once and found again by the digest of what it depends on."""
