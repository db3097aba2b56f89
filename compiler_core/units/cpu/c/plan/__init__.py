"""Where and when: the order of operators, and the addresses of values in one arena."""
