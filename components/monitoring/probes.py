"""Blackbox probes, for targets without metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.exporter import NOBODY_UID
from workloads import Endpoint, FileSet, Health, HttpGet, Liveness, Metrics, Port, Probe, Service, TcpConnect

PORT = 9115
CONFIGURATION_DIRECTORY, CONFIGURATION_FILE = "/etc/blackbox_exporter", "config.yml"


@dataclass(frozen=True, kw_only=True)
class ProbeTarget:
    """One target of a probe."""

    job: str
    endpoint: Endpoint
    target: str
    """The endpoint, in the exporter's notation."""

    module: Mapping[str, Any]
    """Configuration of the exporter's module; each job has one module."""


def certificate_probe(tls: Endpoint, host: str) -> ProbeTarget:
    """Return a probe of the expiry of the certificate that nginx serves for a host name.

    It doesn't verify the certificate, because the expiry of a self-signed one is monitored, too.
    """
    tcp = {
        # nginx only listens on IPv4.
        "preferred_ip_protocol": "ip4",
        "tls": True,
        "tls_config": {"server_name": host, "insecure_skip_verify": True},
    }
    return ProbeTarget(job="certificate", endpoint=tls, target=str(tls), module=_module(tcp=tcp))


def health_probe(workload: str, check: Health) -> ProbeTarget:
    """Return a probe that checks whether any instance of a workload responds. A redirect counts as a failure."""
    endpoint = Endpoint(workload, check.port)
    http = {"preferred_ip_protocol": "ip4", "valid_status_codes": [200], "follow_redirects": False}
    return ProbeTarget(
        job=check.job, endpoint=endpoint, target=f"http://{endpoint}{check.path}", module=_module(http=http)
    )


def blackbox_exporter(image: str, targets: Sequence[ProbeTarget]) -> Service:
    """Return the blackbox exporter, which probes the target of each scrape."""
    modules = {target.job: target.module for target in targets}
    return Service(
        name="probe-exporter",
        image=image,
        user=NOBODY_UID,
        arguments=(f"--config.file={CONFIGURATION_DIRECTORY}/{CONFIGURATION_FILE}",),
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION_DIRECTORY,
                files={CONFIGURATION_FILE: json.dumps({"modules": modules})},
            ),
        ),
        ports=(Port(name="metrics", number=PORT),),
        memory_mib=64,
        readiness=Probe(check=HttpGet(port=PORT, path="/")),
        liveness=Liveness(check=TcpConnect(port=PORT)),
        connects_to=tuple(target.endpoint for target in targets),
        metrics=tuple(
            Metrics(
                port=PORT,
                job=target.job,
                workload=target.endpoint.workload,
                path="/probe",
                parameters={"module": target.job, "target": target.target},
            )
            for target in targets
        ),
    )


def _module(**settings: Mapping[str, Any]) -> Mapping[str, Any]:
    ((prober, _),) = settings.items()
    return {"prober": prober, "timeout": "5s", **settings}
