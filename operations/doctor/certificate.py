"""Checks the end of validity of the certificate that nginx serves."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from components.gateway.nginx import CERTIFICATE_DIRECTORY
from operations.doctor.context import Context, NotRunning
from operations.doctor.finding import Finding
from settings.ports import runs_nginx

WORKLOAD = "nginx"
REMAINING_DAYS = 14
CERTIFICATE_PATTERN = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
VALIDITY_PATTERN = re.compile(
    rb"\x30.(?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(?:\x17\x0d(\d{12}Z)|\x18\x0f(\d{14}Z))", re.DOTALL
)
"""The validity in a DER certificate: a sequence of two times, each with two or four digits of the year (RFC 5280)."""


def ending_certificate(context: Context, now: datetime | None = None) -> Iterator[Finding]:
    """Yield a finding if the certificate has expired or is about to. Without nginx, the cluster's edge serves it."""
    if not runs_nginx(context.settings):
        return
    try:
        pem = context.execute(WORKLOAD, "cat", f"{CERTIFICATE_DIRECTORY}/tls.crt")
    except NotRunning:
        return  # The check of the workloads reports it.
    now = now or datetime.now(UTC)
    ends = _end_of_validity(pem)
    if ends is None:
        problem = f"{CERTIFICATE_DIRECTORY}/tls.crt contains no certificate."
        yield Finding("unchecked", "certificate", problem, "docs/gateway.md", effect_of=WORKLOAD)
    elif ends <= now + timedelta(days=REMAINING_DAYS):
        has_ended = ends <= now
        yield Finding(
            "error" if has_ended else "warning",
            "certificate",
            f"The gateway's certificate {'expired' if has_ended else 'expires'} on {ends:%Y-%m-%d %H:%M} UTC. Clients "
            f"{'refuse' if has_ended else 'will refuse'} the connection.",
            {
                "self-signed": f"Renew it: make up STACK={context.stack}",
                "secret": "Set the new certificate: docs/gateway.md",
                "cert-manager": "cert-manager should have renewed it: see kubectl describe certificate.",
            }[context.settings.gateway.tls.source],
        )


def _end_of_validity(pem: str) -> datetime | None:
    """Return the end of validity of the first certificate. Python decodes certificates only if it has verified them."""
    found = CERTIFICATE_PATTERN.search(pem)
    validity = VALIDITY_PATTERN.search(ssl.PEM_cert_to_DER_cert(found.group())) if found else None
    if not validity:
        return None
    short, long = (part.decode() if part else "" for part in validity.groups())
    # Two digits from 50 on are years before 2000.
    text = long or f"{'19' if short >= '50' else '20'}{short}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
