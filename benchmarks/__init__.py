"""What the platform costs in time and memory, each figure beside a floor: `python -m benchmarks.up`, for instance."""
