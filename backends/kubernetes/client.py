"""Checks whether the configured cluster is reachable.

In an update, the provider reports an unreachable cluster once per resource, after a minute if packets are dropped.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pulumi
import yaml

from backends.kubernetes.proxy import connect, proxy_for
from settings.backend import KubernetesSettings

KUBECONFIG_KEY = "pti-calendar:kubernetes.kubeconfig"
CONTEXT_KEY = "pti-calendar:kubernetes.context"
SET_KUBECONFIG_INSTRUCTION = f"Set it with: pulumi config set --path '{KUBECONFIG_KEY}' ~/.kube/config"


class ClusterUnreachable(pulumi.RunError):
    """The cluster of the configuration can't be updated."""


def unreachable_reason(settings: KubernetesSettings) -> str | None:
    """Return why the cluster isn't reachable and how to fix it; None if it is reachable.

    It only starts a TLS connection; the provider checks the certificate and the credentials. A TCP connection isn't
    enough: a load balancer accepts connections for an API server that is down.
    """
    try:
        found = yaml.safe_load(Path(settings.kubeconfig or "").expanduser().read_text())
    except FileNotFoundError:
        return f"{KUBECONFIG_KEY}: there is no file {settings.kubeconfig}. {SET_KUBECONFIG_INSTRUCTION}"
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return f"{KUBECONFIG_KEY}: {settings.kubeconfig} can't be read: {error}"
    contexts = _by_name(found, "contexts", "context")
    context = contexts.get(settings.context or "")
    if context is None:
        names = ", ".join(sorted(contexts)) or "none"
        return (
            f"{CONTEXT_KEY} {settings.context!r} is not in {settings.kubeconfig}. "
            f"Contexts of {settings.kubeconfig}: {names}. "
            f"Set it with: pulumi config set --path '{CONTEXT_KEY}' {min(contexts, default='NAME_LABEL')}"
        )
    cluster = _by_name(found, "clusters", "cluster").get(str(context.get("cluster")), {})
    server = cluster.get("server")
    if not isinstance(server, str) or not urlsplit(server).hostname:
        return (
            f"{KUBECONFIG_KEY}: context {settings.context!r} of {settings.kubeconfig} has no cluster with a server. "
            f"Add one to the file, or choose another context: pulumi config set --path '{CONTEXT_KEY}' NAME"
        )
    proxy = proxy_for(urlsplit(server), cluster.get("proxy-url"), os.environ)
    reason = _connection_error(server, proxy, settings.connect_timeout_s)
    if reason is None:
        return None
    return (
        f"The Kubernetes cluster at {server} can't be reached ({reason}; kubeconfig {settings.kubeconfig}, context "
        f"{settings.context}). Check whether it runs and whether this machine can reach it, for example over a VPN: "
        f"kubectl --kubeconfig {settings.kubeconfig} --context {settings.context} get --raw /readyz"
    )


def _by_name(found: Any, plural: str, singular: str) -> dict[str, dict[str, Any]]:
    """Map the names in one of the kubeconfig's lists to their entries. Entries with an invalid format are left out."""
    listed = found.get(plural) if isinstance(found, dict) else None
    return {
        str(one["name"]): one[singular]
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict) and "name" in one and isinstance(one.get(singular), dict)
    }


def _connection_error(url: str, proxy: SplitResult | None, timeout_s: int) -> str | None:
    address = urlsplit(url)
    through = f"through the proxy {proxy.hostname}:{proxy.port or 80}: " if proxy else ""
    try:
        port = address.port or {"http": 80, "https": 443}.get(address.scheme, 443)
        if proxy:
            connection = connect(address, port, proxy, timeout_s)
        else:
            connection = socket.create_connection((address.hostname, port), timeout_s)
        if connection:
            with connection:
                if address.scheme == "https":
                    _begin_tls(connection, address.hostname)
        return None
    except TimeoutError:
        return f"{through}no response within {timeout_s} s"
    except (ConnectionResetError, ssl.SSLEOFError):
        return f"{through}it closes the connection"
    except ssl.SSLError:
        return None  # Even a TLS error shows that the server responds.
    except (OSError, ValueError) as error:
        return f"{through}{error}"


def _begin_tls(connection: socket.socket, name: str | None) -> None:
    """Complete the TLS handshake without verifying the server; no confidential data is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.wrap_socket(connection, server_hostname=name).close()
