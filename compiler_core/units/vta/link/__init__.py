"""From layers to a segment: placed tensors, launches, conflicts between cores."""
