"""Creates the backend of a stack's settings, and imports only its provider."""

from __future__ import annotations

from backends.base import Backend
from settings import Settings


def create_backend(settings: Settings, *, stack: str) -> Backend:
    """Return the backend of a stack, with its provider. Call it once."""
    if settings.backend.kind == "kubernetes":
        from backends.kubernetes.backend import KubernetesBackend

        return KubernetesBackend(settings.kubernetes, settings.images, stack=stack, protect=settings.protect)
    from backends.docker.backend import DockerBackend

    return DockerBackend(settings.backend, settings.images, stack=stack, protect=settings.protect)
