"""Parts of models on the unit: products whose matrices stay in the banks."""
