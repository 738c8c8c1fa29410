"""The Docker backend: one engine, a container per workload."""
