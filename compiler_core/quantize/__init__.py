"""From float to integers: calibration, scales, the quantized graph and the reference that defines its bits."""
