"""What reads and writes files whose author is not trusted."""
