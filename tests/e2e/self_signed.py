"""Certificates that are their own authority."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path, name: str) -> None:
    """`tls.key` and `tls.crt`, valid for two days, in a new folder that every user may read.

    Args:
        folder: where they go.
        name: whom it is for, as a subject alternative name: `DNS:…` or `IP:…`.
    """
    folder.mkdir()
    folder.chmod(0o755)
    files = ("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=test", "-addext", f"subjectAltName={name}", "-days", "2")
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)
    for path in folder.iterdir():
        path.chmod(0o644)
