"""Programs: instructions as structured data, as text and as files."""
