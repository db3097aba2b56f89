"""Studies shown: progress, documents, comparisons."""
