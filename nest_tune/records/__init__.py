"""The measurement database: every measured (task, schedule) with its cost."""
