"""GDDR6-AiM, processing in memory, as a kind of processing unit."""
