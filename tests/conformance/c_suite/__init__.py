"""The backend tests of the ``onnx`` package as generated C, in float32."""
