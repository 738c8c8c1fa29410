"""The Docker backend: one engine, a container per workload."""

from backends.docker.backend import DockerBackend

__all__ = ["DockerBackend"]
