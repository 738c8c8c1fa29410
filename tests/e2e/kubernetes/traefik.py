"""Traefik as the cluster's own edge: the platform uses its Ingress class or its Gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed import cluster
from tests.e2e.kubernetes import configuration, extensions
from tests.e2e.kubernetes.stack import NAMESPACE as PLATFORM
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.platform import Platform
from tests.e2e.self_signed import self_signed
from tests.engine.waiting import until

IMAGE = "traefik:v3.7.13"
MANIFEST = Path(__file__).with_name("traefik.yaml")
NAMESPACE = CLASS = "traefik"
GATEWAY = "public"
GATEWAY_SECRET = "public-tls"
PLATFORM_SECRET = "edge-tls"
HEADERS = "careful-browsers@file"
"""The object in the manifest that adds the headers that an Ingress can't express."""

AS_INGRESS: Mapping[str, Any] = {
    "kind": "ingress",
    "controllerNamespace": NAMESPACE,
    "nginx": None,
    "ingress": {
        "className": CLASS,
        "annotations": {"traefik.ingress.kubernetes.io/router.middlewares": HEADERS},
    },
}
AS_GATEWAY: Mapping[str, Any] = {
    "kind": "gateway-api",
    "controllerNamespace": NAMESPACE,
    "nginx": None,
    "ingress": None,
    "gatewayApi": {
        "gateway": GATEWAY,
        "gatewayNamespace": NAMESPACE,
        "httpsListener": "https",
        "httpListener": "http",
    },
}
"""The platform's configuration for this edge."""


class Traefik:
    """The running controller.

    Args:
        stack: the stack that may use it as its edge.
        folder: where to put its certificate for every host name of the platform.
    """

    def __init__(self, stack: ClusterStack, folder: Path) -> None:
        self._stack = stack
        self.certificate = (folder / "tls.crt").read_text()
        service = json.loads(stack.cluster.kubectl("--namespace", NAMESPACE, "get", "service", "traefik", "-ojson"))
        self._ports = {port["name"]: port["nodePort"] for port in service["spec"]["ports"]}

    def by_ingress(self) -> Platform:
        """Return the platform behind an Ingress."""
        return self._platform("web")

    def by_gateway(self) -> Platform:
        """Return the platform behind HTTPRoutes."""
        return self._platform("plain", redirect_status=301)

    def _platform(self, without_tls: str, **other: Any) -> Platform:
        ports = {"https_port": self._ports["websecure"], "http_port": self._ports[without_tls]}
        return self._stack.platform_at(**ports, certificate=self.certificate, **other)


@contextmanager
def traefik(stack: ClusterStack, folder: Path) -> Iterator[Traefik]:
    """Run Traefik for the duration of the context, and remove it afterwards.

    The certificate is stored in both places where the edges look for it: beside the Gateway, and in the platform's
    namespace.
    """
    found = stack.cluster
    extensions.load({IMAGE: "traefik"})
    certificate = folder / "certificate"
    self_signed(certificate, f"DNS:*.{configuration.DOMAIN}")
    modules = folder / "modules"
    modules.mkdir()
    try:
        extensions.install(found, "Gateway", modules)
        found.kubectl("apply", "--server-side", f"--filename={MANIFEST}")
        for namespace, name in ((NAMESPACE, GATEWAY_SECRET), (PLATFORM, PLATFORM_SECRET)):
            _keep_certificate(found, namespace, name, certificate)
        ready = ("rollout", "status", "deployment/traefik", "--timeout=120s")
        found.kubectl("--namespace", NAMESPACE, *ready)
        programmed = 'jsonpath={.status.conditions[?(@.type=="Programmed")].status}'
        arguments = ("--namespace", NAMESPACE, "get", "gateway", GATEWAY, "--output", programmed)
        until("the Gateway listens", lambda: found.kubectl(*arguments) == "True")
        yield Traefik(stack, certificate)
    finally:
        found.kubectl("delete", f"--filename={MANIFEST}", "--ignore-not-found")
        extensions.remove(found, "Gateway", modules)
        stack.kubectl("delete", "secret", PLATFORM_SECRET, "--ignore-not-found")


def _keep_certificate(found: cluster.Cluster, namespace: str, name: str, folder: Path) -> None:
    """Store a Secret with the certificate in a namespace, which is created if necessary."""
    files = (f"--cert={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}")
    secret = found.kubectl(
        *("--namespace", namespace, "create", "secret", "tls", name, *files), "--dry-run=client", "--output=yaml"
    )
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    for one in (json.dumps(space), secret):
        found.kubectl("apply", "--server-side", "--filename=-", input=one)
