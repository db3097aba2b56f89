"""The search of quantization schemes."""
