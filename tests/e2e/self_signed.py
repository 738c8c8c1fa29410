"""Self-signed certificates."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path, name: str) -> None:
    """Create `tls.key` and `tls.crt`, valid for two days, in a new folder that every user may read.

    Args:
        folder: the folder.
        name: its subject alternative name: `DNS:…` or `IP:…`.
    """
    folder.mkdir()
    folder.chmod(0o755)
    files = ("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=test", "-addext", f"subjectAltName={name}", "-days", "2")
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)
    for path in folder.iterdir():
        path.chmod(0o644)


def expired(folder: Path, name: str) -> None:
    """Create the same files, with a certificate that expired years ago."""
    self_signed(folder, name)
    key, certificate, request = (str(folder / file) for file in ("tls.key", "tls.crt", "request"))
    (folder / "openssl.cnf").write_text(AUTHORITY)
    (folder / "index").touch()
    # Of two trusted certificates with the same subject, OpenSSL uses the valid one.
    subject = ("-subj", "/CN=expired", "-addext", f"subjectAltName={name}")
    subprocess.run(["openssl", "req", "-new", "-key", key, *subject, "-out", request], check=True, capture_output=True)
    dates = ("-startdate", "20240101000000Z", "-enddate", "20240102000000Z")
    files = ("-config", "openssl.cnf", "-keyfile", key, "-in", request, "-out", certificate)
    command = ["openssl", "ca", "-batch", "-notext", "-selfsign", *dates, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


AUTHORITY = """\
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""
