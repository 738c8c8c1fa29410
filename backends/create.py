"""The backend that a stack's settings ask for; only its provider is imported."""

from __future__ import annotations

from backends.base import Backend
from settings import Settings


def create_backend(settings: Settings, *, stack: str) -> Backend:
    """The backend of a stack, with its one provider. To be called once."""
    if settings.on_kubernetes:
        from backends.kubernetes.backend import KubernetesBackend

        return KubernetesBackend(settings.kubernetes, settings.images, stack=stack, protect=settings.protect)
    from backends.docker.backend import DockerBackend

    return DockerBackend(settings.backend, settings.images, stack=stack, protect=settings.protect)
