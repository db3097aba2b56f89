"""Schedules for the tasks that outer trials need."""
