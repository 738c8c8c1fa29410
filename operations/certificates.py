"""Explains why a server's certificate isn't trusted. Standard library only."""

from __future__ import annotations

import http.client
import re
import ssl
import sys
import urllib.request
from urllib.parse import urlsplit

TIMEOUT_S = 20
UNTRUSTED_TEXTS = (
    "SSLCertVerificationError",
    "CERTIFICATE_VERIFY_FAILED",
    "SSL certificate problem",
    "x509: certificate signed by unknown authority",
)
"""What pip, curl and programs in Go, such as Pulumi, print about a certificate that they don't trust."""


def untrusted_hint(url: str, error: BaseException) -> str:
    """Return what to do if a download fails because of the certificate; empty for any other failure.

    Args:
        url: the address that was opened.
        error: its error, as `urllib` raises it.
    """
    return _advice(url) if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError) else ""


def untrusted_hint_in(output: str, url: str) -> str:
    """Return what to do if a command failed because of a server's certificate; empty for any other failure.

    Args:
        output: the output of pip, curl or Pulumi.
        url: the server's address if the output contains none.
    """
    if not any(text in output for text in UNTRUSTED_TEXTS):
        return ""
    found = re.search(r"https://[^\s/\"']+", output)
    return _advice(found.group(0) if found else url)


def _advice(url: str) -> str:
    """Return the fix of a certificate that isn't trusted."""
    if not ssl.create_default_context().cert_store_stats()["x509_ca"]:
        version = ".".join(map(str, sys.version_info[:2]))
        fix = (
            f"Python from python.org gets them with: open '/Applications/Python {version}/Install Certificates.command'"
            if sys.platform == "darwin"
            else "Install them (Debian: ca-certificates), or set SSL_CERT_FILE to a file with them."
        )
        return f"\nThis Python has no certificate authorities. {fix}"
    issuer = _issuer(url)
    return (
        f"\nThe certificate is issued by {issuer or 'an unknown authority'}, which this machine doesn't trust. If that "
        "is your company's proxy, get its certificate authority as a PEM file that also has the public ones, and set "
        "SSL_CERT_FILE (Python, Pulumi on Linux), REQUESTS_CA_BUNDLE and PIP_CERT (pip) to it. On macOS and Windows, "
        "Pulumi uses the system's store."
    )


def _issuer(url: str) -> str | None:
    """Return the issuer of a server's certificate, without trusting it; no data is sent."""
    address = urlsplit(url)
    host, port = str(address.hostname), address.port or 443
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if proxy:
            through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            connection = http.client.HTTPSConnection(
                str(through.hostname), through.port or 80, timeout=TIMEOUT_S, context=context
            )
            connection.set_tunnel(host, port)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        connection.connect()
        certificate = connection.sock.getpeercert(binary_form=True) or b""
        connection.close()
    except (OSError, http.client.HTTPException):
        return None
    return _common_name(certificate)


def _common_name(certificate: bytes) -> str | None:
    """Return the first common name (object identifier 2.5.4.3), or else organization, of a DER certificate.

    The issuer precedes the subject. Python decodes certificates only if it has verified them.
    """
    for identifier in (b"\x55\x04\x03", b"\x55\x04\x0a"):
        found = re.search(rb"\x06\x03" + identifier + rb"[\x0c\x13\x14\x1e](.)", certificate, re.DOTALL)
        if found:
            return certificate[found.end() : found.end() + found.group(1)[0]].decode(errors="replace")
    return None
