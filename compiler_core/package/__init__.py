"""The compiled output: a folder that can be run, profiled, verified and shipped."""
