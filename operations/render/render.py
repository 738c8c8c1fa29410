"""`make render`: writes a stack as a Compose file, or as manifests for kubectl, with the same program but without
Pulumi."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from operations.configuration import read_configuration
from operations.project import PROJECT, ROOT, OperationError
from operations.render import text
from operations.render.compose import compose_file
from operations.render.environment import read_secrets
from operations.render.manifests import FOLDERS, RenderedObject, manifests
from operations.render.placeholders import TLS_CERTIFICATE, Placeholders
from operations.render.resources import recorded_resources
from settings import Settings
from settings.backend import KubernetesSettings

__all__ = ["compose_text_with_tokens", "recorded_resources", "render", "write_objects"]

COMPOSE_FILE, ENVIRONMENT_FILE, EXAMPLE_FILE = "compose.yaml", ".env", ".env.example"


def render(stack: str) -> None:
    """Write the stack into `rendered/<stack>/`, with an example of its environment file.

    Raises:
        OperationError: the stack doesn't exist, its configuration has a mistake, or an environment file is incomplete.
    """
    settings, supplied = read_configuration(stack)
    directory = ROOT / "rendered" / stack
    writers = {"docker": _write_compose, "kubernetes": _write_manifests}
    write = writers.get(settings.backend.kind)
    if write is None:
        raise OperationError(f"A stack with backend.kind '{settings.backend.kind}' can't be rendered.")
    write(settings, Placeholders.of(settings, supplied), stack, directory)


def compose_text_with_tokens(settings: Settings, placeholders: Placeholders, stack: str) -> str:
    """Return the Compose file with tokens for secrets; the same settings always give the same text."""
    resources = recorded_resources(settings, placeholders, stack)
    body = text.document(compose_file(resources, name=f"{PROJECT}-{stack}"))
    return text.header(stack) + body.replace("$", "$$")


def write_objects(objects: Iterable[RenderedObject], directory: Path, stack: str) -> None:
    """Rewrite each folder, with one file per workload; only the owner can read those with Secrets."""
    for folder in FOLDERS:
        shutil.rmtree(directory / folder, ignore_errors=True)
        (directory / folder).mkdir(mode=0o700 if folder == "secrets" else 0o777, parents=True)
    for (folder, workload), ones in groupby(objects, key=lambda one: (one.folder, one.workload)):
        content = text.header(stack) + text.documents(one.manifest for one in ones)
        mode = 0o600 if folder == "secrets" else 0o666
        descriptor = os.open(directory / folder / f"{workload}.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)


def _write_compose(settings: Settings, placeholders: Placeholders, stack: str, directory: Path) -> None:
    with_tokens = compose_text_with_tokens(settings, placeholders, stack)
    needed = placeholders.used_in(with_tokens)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / COMPOSE_FILE).write_text(needed.to_compose(with_tokens))
    (directory / EXAMPLE_FILE).write_text(
        needed.example(
            "The secrets of the rendered stack. Copy this file to .env, next to compose.yaml.",
            "Letters, digits, '-' and '_' only: the values are inserted unchanged into files of several formats.",
            *_certificate_instructions(settings, needed),
        )
    )
    shown = directory.relative_to(ROOT)
    print(f"{shown}/{COMPOSE_FILE} and {shown}/{EXAMPLE_FILE} are written.")
    if needed.required:
        print(f"Set the secrets: cp {shown}/{EXAMPLE_FILE} {shown}/{ENVIRONMENT_FILE}, and fill in the empty ones.")
    print(f"Run it: docker compose -f {shown}/{COMPOSE_FILE} up --wait")


def _write_manifests(settings: Settings, placeholders: Placeholders, stack: str, directory: Path) -> None:
    environment = directory / ENVIRONMENT_FILE
    with_tokens = recorded_resources(settings, placeholders, stack)
    needed = placeholders.used_in("".join(_secret_texts(manifests(with_tokens, Placeholders({})))))
    with_secrets = None
    if environment.exists():
        values = read_secrets(environment, needed)
        with_secrets = recorded_resources(settings, placeholders, stack, values)
    objects = manifests(with_tokens, needed, with_secrets)
    write_objects(objects, directory, stack)
    (directory / EXAMPLE_FILE).write_text(
        needed.example(
            "The secrets of the rendered stack. Copy this file to .env in this folder, fill it in and render again.",
            "A value with characters other than letters, digits and -._ must be in single quotes.",
            *_certificate_instructions(settings, needed),
        )
    )
    _print_next_steps(
        directory.relative_to(ROOT), settings.kubernetes, objects, has_secrets=with_secrets is not None, stack=stack
    )


def _secret_texts(objects: Iterable[RenderedObject]) -> list[str]:
    return [value for one in objects for value in one.manifest.get("stringData", {}).values()]


def _certificate_instructions(settings: Settings, needed: Placeholders) -> list[str]:
    if TLS_CERTIFICATE not in needed.by_credential:
        return []
    return [
        "A self-signed certificate and its key; put their texts between single quotes, over several lines:",
        "  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -keyout tls.key "
        f"-out tls.crt -subj '/CN={settings.gateway.domain}' -addext 'subjectAltName=DNS:*.{settings.gateway.domain}'",
    ]


def _print_next_steps(
    shown: Path, cluster: KubernetesSettings, objects: list[RenderedObject], *, has_secrets: bool, stack: str
) -> None:
    """Print the next steps, for the cluster of the configuration."""
    kubectl = f"kubectl --kubeconfig {cluster.kubeconfig} --context {cluster.context}"
    jobs = [one.manifest["metadata"]["name"] for one in objects if one.manifest["kind"] == "Job"]
    named = " ".join(f"job/{name}" for name in jobs)
    print(f"{shown}/ contains {len(objects)} objects in {', '.join(FOLDERS)}.")
    if has_secrets:
        print(f"The secrets come from {shown}/{ENVIRONMENT_FILE}: keep {shown}/secrets private.")
    else:
        print(
            f"The secrets are placeholders (REPLACE_WITH_…), so don't apply them. Fill them in: "
            f"cp {shown}/{EXAMPLE_FILE} {shown}/{ENVIRONMENT_FILE}, edit it, and make render STACK={stack} again."
        )
    print("Apply it, in this order:")
    print(f"  {kubectl} apply --server-side {' '.join(f'-f {shown}/{folder}' for folder in FOLDERS)}")
    print(
        "Pods restart until their stores are ready, and a Job is retried a few times. If a Job has failed by then, "
        "delete it and apply it again:"
    )
    print(f"  {kubectl} -n {cluster.namespace} get {named}")
    print(
        "After later changes: a changed file or task is a new ConfigMap or Job; delete the old one. After a changed "
        "secret, run kubectl rollout restart for the workloads that use it."
    )
