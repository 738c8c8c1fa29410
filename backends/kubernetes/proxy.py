"""The proxy through which kubectl and the provider reach a cluster: Go's rules for the environment's variables."""

from __future__ import annotations

import base64
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit


def proxy_for(server: SplitResult, configured: str | None, environment: Mapping[str, str]) -> SplitResult | None:
    """Return the proxy for a server; None for a direct connection.

    Args:
        server: its address.
        configured: `proxy-url` of the kubeconfig, which takes precedence.
        environment: has `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capital or in small letters.
    """
    if configured:
        return _address(configured)
    variable = "HTTPS_PROXY" if server.scheme == "https" else "HTTP_PROXY"
    value = environment.get(variable) or environment.get(variable.lower())
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    return _address(value) if value and not _is_excluded(server, excluded) else None


def connect(server: SplitResult, port: int, proxy: SplitResult, timeout_s: int) -> socket.socket | None:
    """Return a connection to the server through an HTTP proxy; None if a proxy of another kind accepts connections.

    Raises:
        OSError: the proxy doesn't respond, or doesn't connect to the server.
    """
    import http.client  # Imported here, because most clusters are reached without a proxy.

    port_of_proxy = proxy.port or {"http": 80, "https": 443}.get(proxy.scheme, 1080)
    if proxy.scheme != "http":
        socket.create_connection((proxy.hostname, port_of_proxy), timeout_s).close()
        return None
    connection = http.client.HTTPConnection(str(proxy.hostname), port_of_proxy, timeout=timeout_s)
    connection.set_tunnel(str(server.hostname), port, _authorization(proxy))
    connection.connect()
    tunnel: socket.socket = connection.sock
    return tunnel


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _address(value: str) -> SplitResult:
    return urlsplit(value if "://" in value else f"http://{value}")


def _is_excluded(server: SplitResult, excluded: str) -> bool:
    host = str(server.hostname)
    address = _ip(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    for entry in filter(None, (part.strip().lower() for part in excluded.split(","))):
        name, _, port = entry.rpartition(":")
        if name and port.isdigit() and "::" not in entry:
            if int(port) != (server.port or 443):
                continue
            entry = name
        if entry == "*" or _matches(entry, host, address):
            return True
    return False


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            return False
    # Go: `example.com` also matches its subdomains, `.example.com` and `*.example.com` only those.
    domain = entry.removeprefix("*")
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
