"""Graph IR: import of ONNX, passes, export."""
