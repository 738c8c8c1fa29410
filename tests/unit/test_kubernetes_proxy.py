"""The check of a cluster behind a proxy, as kubectl reaches it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backends.kubernetes.client import unreachable_reason
from backends.kubernetes.proxy import proxy_for
from settings.backend import KubernetesSettings
from tests.unit.test_kubernetes_cluster import write_kubeconfig

SERVER = "https://cluster.example.invalid:6443"
PROXY = "http://proxy.example.org:3128"


@dataclass
class Proxy:
    """A proxy that answers CONNECT itself, and then with something that isn't TLS."""

    address: str
    answer: bytes = b"HTTP/1.0 200 Connection established\r\n\r\n"
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A running proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = Proxy(f"127.0.0.1:{listening.getsockname()[1]}")
        threading.Thread(target=_serve, args=[listening, running], daemon=True).start()
        yield running


def _serve(listening: socket.socket, proxy: Proxy) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # The test has ended.
            return
        with connection:
            proxy.requests.append(connection.recv(4096).decode())
            connection.sendall(proxy.answer)
            if b" 200 " in proxy.answer:
                connection.recv(4096)
                connection.sendall(b"no TLS")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def reason(folder: Path, **cluster: str) -> str | None:
    """Return the result of the check."""
    path = write_kubeconfig(folder / "kubeconfig", SERVER, **cluster)
    return unreachable_reason(KubernetesSettings(kubeconfig=str(path), context="a"))


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_check_connects_through_the_proxy(
    tmp_path: Path, proxy: Proxy, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://me:s%40me@{proxy.address}")
    assert reason(tmp_path) is None
    (request,) = proxy.requests
    assert request.startswith("CONNECT cluster.example.invalid:6443 HTTP/1.")
    assert "Proxy-Authorization: Basic bWU6c0BtZQ==" in request


def test_the_kubeconfigs_proxy_takes_precedence(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert reason(tmp_path, **{"proxy-url": f"http://{proxy.address}"}) is None
    assert len(proxy.requests) == 1


def test_a_refusal_of_the_proxy_is_reported_without_its_password(
    tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@{proxy.address}")
    proxy.answer = b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n"
    found = reason(tmp_path) or ""
    assert f"through the proxy {proxy.address}: Tunnel connection failed: 407" in found
    assert "hunter2" not in found


def test_a_proxy_that_is_down_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "127.0.0.1:1")
    assert "through the proxy 127.0.0.1:1: " in (reason(tmp_path) or "")


@pytest.mark.parametrize(
    ("server", "excluded", "is_direct"),
    [
        (SERVER, "", False),
        (SERVER, "example.invalid", True),
        (SERVER, "other.org, .example.invalid", True),
        (SERVER, "*.example.invalid", True),
        (SERVER, "ample.invalid", False),
        (SERVER, "*", True),
        (SERVER, "example.invalid:6443", True),
        (SERVER, "example.invalid:443", False),
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://10.1.2.3:6443", "10.1.2.3", True),
        ("https://10.1.2.3:6443", "10.2.0.0/16,cluster", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://localhost:6443", "", True),
        ("https://[::1]:6443", "", True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(server: str, excluded: str, is_direct: bool) -> None:
    found = proxy_for(urlsplit(server), None, {"HTTPS_PROXY": PROXY, "NO_PROXY": excluded})
    assert (found is None) is is_direct


def test_a_server_without_tls_uses_the_other_variable() -> None:
    server = urlsplit("http://cluster.example.org:8080")
    assert proxy_for(server, None, {"HTTPS_PROXY": PROXY}) is None
    assert proxy_for(server, None, {"http_proxy": PROXY}) == urlsplit(PROXY)
