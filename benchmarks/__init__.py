"""Time and memory of the platform, each next to a baseline, such as `python -m benchmarks.up`."""
