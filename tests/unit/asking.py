"""What the platform asks a backend for, in neutral terms, with the contents of every file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

import settings
from components.platform import Platform, PlatformArgs
from recording.backend import RecordingBackend
from recording.recorder import identity_by_name, record
from workloads import CertificateRequest, Exposure, PostgresCluster, Workload

KEY_PAIR = {"PrivateKey": {"privateKeyPem": "a private key"}, "SelfSignedCert": {"certPem": "a certificate"}}
"""What the TLS provider computes, by type."""

CLUSTER: Mapping[str, Any] = {
    "backend": {"kind": "kubernetes"},
    "kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"},
}


@dataclass(frozen=True)
class Asked:
    """Everything that components asked for."""

    workloads: Mapping[str, Workload]
    files: Mapping[str, Mapping[str, str]]
    """`<workload>/<file set>` to the contents by file name, without external Secrets."""

    secret_files: frozenset[str]
    """Those of the file sets that hold a secret value, whatever they say of themselves."""

    exposures: tuple[Exposure, ...]
    certificates: tuple[CertificateRequest, ...]
    postgres_clusters: tuple[PostgresCluster, ...]
    outputs: Mapping[str, Any]
    """The stack's outputs."""


Ask = Callable[..., Asked]


def as_raw(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Configuration as Pulumi hands it to a program: full keys to text, objects as JSON."""
    return {
        key if ":" in key else f"{settings.NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in configuration.items()
    }


def with_certificate(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What the providers would answer, the TLS provider among them."""
    identity, computed = identity_by_name(type_, inputs)
    return identity, {**computed, **KEY_PAIR.get(type_.rpartition(":")[2], {})}


def asked_for(configuration: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Asked:
    """Runs settings → platform on a backend that only remembers."""
    raw, encrypted, backend = as_raw(configuration), as_raw(secrets or {}), RecordingBackend()

    def program() -> Platform:
        platform = Platform("platform", PlatformArgs(settings=settings.load(), backend=backend, stack="dev"))
        for _, workload in backend.workloads:
            for file_set in workload.file_sets:
                if file_set.existing_secret is None:
                    pulumi.export(f"{workload.name}/{file_set.name}", dict(file_set.files))
        pulumi.export("outputs", platform.outputs.as_mapping())
        return platform

    recording = record(program, answer=with_certificate, raw=raw | encrypted, secret=[*encrypted])
    exports = dict(recording.exports)
    return Asked(
        outputs=exports.pop("outputs"),
        workloads={workload.name: workload for _, workload in backend.workloads},
        files=exports,
        secret_files=frozenset(path.partition(".")[0] for path in recording.secret_exports) & exports.keys(),
        exposures=tuple(backend.exposures),
        certificates=tuple(backend.certificates),
        postgres_clusters=tuple(backend.postgres_clusters),
    )
