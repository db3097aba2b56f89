"""From float to integers: calibration, scales, quantized graph, and the reference for its bits."""
