"""The bootstrap behind a company's certificate authority, and with a Python without certificates."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from operations import bootstrap
from operations.certificates import untrusted_hint_in
from operations.project import OperationError
from tests.full_run import only_in_full_runs

AUTHORITY = "Example Company Root CA"


class Handler(BaseHTTPRequestHandler):
    """Handles no request: each client ends the TLS handshake before it sends one."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A TLS server whose certificate a company's authority has issued."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subject = ("-subj", f"/C=FR/O=Example/CN={AUTHORITY}", "-addext", "subjectAltName=DNS:localhost", "-days", "2")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    running = HTTPServer(("127.0.0.1", 0), Handler)
    running.socket = context.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    # pip 24.2, which comes with Python 3.13.0, doesn't connect to an address (its truststore gets no host name).
    yield f"https://localhost:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def refusal(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the message of the check of the installer."""
    monkeypatch.setattr(bootstrap, "INSTALLER_URL", url)
    with pytest.raises(OperationError) as refused:
        bootstrap.check_installer()
    return str(refused.value)


def test_an_unknown_authority_is_reported_with_the_variables(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(server, monkeypatch)
    assert f"The certificate is issued by {AUTHORITY}, which this machine doesn't trust" in message
    assert "SSL_CERT_FILE" in message
    assert "REQUESTS_CA_BUNDLE" in message


@pytest.mark.parametrize(
    ("platform", "fix"),
    [("darwin", "Install Certificates.command"), ("linux", "Install them (Debian: ca-certificates)")],
)
def test_a_python_without_certificates_is_reported(
    server: str, platform: str, fix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "no-authorities").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "no-authorities"))
    monkeypatch.setattr(sys, "platform", platform)
    message = refusal(server, monkeypatch)
    assert "This Python has no certificate authorities." in message
    assert fix in message


def test_another_failure_has_no_hint_about_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal("http://127.0.0.1:9", monkeypatch)
    assert "certificate" not in message


@only_in_full_runs
def test_pips_refusal_names_the_authority(server: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries=0", "--isolated", f"--index-url={server}"]
    refused = subprocess.run([*pip, "x"], capture_output=True, text=True, check=False)
    assert f"issued by {AUTHORITY}" in untrusted_hint_in(refused.stdout + refused.stderr, "https://127.0.0.1:1")


@pytest.mark.parametrize(
    "output",
    [
        # pip with the certificates of macOS.
        "(Caused by SSLError(SSLCertVerificationError('“Example Company Root CA” certificate is not trusted')))",
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ],
)
def test_a_refusal_without_an_address_names_the_authority(server: str, output: str) -> None:
    assert f"issued by {AUTHORITY}" in untrusted_hint_in(output, server)


def test_another_failure_has_no_hint(server: str) -> None:
    assert untrusted_hint_in("404 Not Found", server) == ""
