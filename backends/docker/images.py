"""Pulls images with the docker command, so that `docker login` applies to them.

The provider uses only credentials that the program gives it. It could read the docker command's file itself, but finds
neither identity tokens (Azure) nor Docker Hub's login in a credential store (Docker Desktop), and fails without the
file. A program that passed credentials on would store them in the state, and a token that rotates would change the
provider. The docker command knows all of them, and no credential reaches Pulumi: the provider finds the image.
"""

from __future__ import annotations

import re

import pulumi

from backends.docker.engine import Engine, EngineError
from backends.threads import Threads
from workloads import WorkloadError

PULL_TIMEOUT_S = 3600
DOCKER_HUB = "docker.io"
REFUSED_PATTERN = re.compile(
    r"no basic auth credentials|unauthori[sz]ed|authentication required|denied|error getting credentials", re.IGNORECASE
)
"""The engine's errors if a registry refuses an image, or hides it from users without access."""


class Images:
    """The hook that pulls a missing image before the provider looks for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Pulls have their own threads, so that a long one doesn't delay other hooks.
        self._threads = Threads()
        self.before_create = pulumi.ResourceHook("docker-pull-image", self._pull)

    async def _pull(self, hook: pulumi.ResourceHookArgs) -> None:
        await self._threads.run(pull, self._engine, str((hook.new_inputs or {})["name"]))


def pull(engine: Engine, reference: str) -> None:
    """Pull an image unless the engine has it.

    Raises:
        WorkloadError: the registry refuses it, or it can't be pulled for another reason.
    """
    if engine.has_image(reference):
        return
    try:
        engine.run("pull", "--quiet", reference, timeout_s=PULL_TIMEOUT_S)
    except EngineError as error:
        raise WorkloadError(_failure(reference, str(error))) from None


def registry_of(reference: str) -> str:
    """Return the registry of an image's name, by the rule of the docker command."""
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or any(mark in first for mark in ".:")) else DOCKER_HUB


def _failure(reference: str, error: str) -> str:
    if not REFUSED_PATTERN.search(error):
        return f"The image {reference} can't be pulled:\n  {error}"
    registry = registry_of(reference)
    login = "docker login" if registry == DOCKER_HUB else f"docker login {registry}"
    return (
        f"The registry {registry} refuses the image {reference}:\n  {error}\n"
        f"If the name is right, log in as a user who may read it, and run this again: {login}"
    )
