"""Features and bounds of schedules for AiM units."""
