"""Which schedules a layer may have, the default among them, and the bound under all."""
