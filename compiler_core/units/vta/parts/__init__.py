"""What stands in a package's folder for a segment."""
