"""What the platform's components request from a backend, in backend-neutral terms, including the content of every
file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

import settings
from components.platform import Platform, PlatformArgs
from recording.backend import RecordingBackend
from recording.recorder import default_provider_mock, record
from workloads import CertificateRequest, Exposure, PostgresCluster

TLS_OUTPUTS = {"PrivateKey": {"privateKeyPem": "a private key"}, "SelfSignedCert": {"certPem": "a certificate"}}
"""Values that the TLS provider computes, by resource type."""

CLUSTER: Mapping[str, Any] = {
    "backend": {"kind": "kubernetes"},
    "kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"},
}


@dataclass(frozen=True)
class RecordedPlatform:
    """Everything that the components requested."""

    workloads: Mapping[str, Any]
    files: Mapping[str, Mapping[str, str]]
    """Maps `<workload>/<file set>` to file contents by file name. Files from external Secrets are excluded."""

    secret_files: frozenset[str]
    """File sets that contain a secret value, regardless of how they are marked."""

    exposures: tuple[Exposure, ...]
    certificates: tuple[CertificateRequest, ...]
    postgres_clusters: tuple[PostgresCluster, ...]
    outputs: Mapping[str, Any]
    """The stack's outputs."""


RecordPlatform = Callable[..., RecordedPlatform]


def pulumi_config(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Convert a configuration to the form Pulumi passes to a program: full keys, and objects as JSON text."""
    return {
        key if ":" in key else f"{settings.NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in configuration.items()
    }


def tls_provider_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Answer resource registrations like the providers, including the TLS provider."""
    identity, computed = default_provider_mock(type_, inputs)
    return identity, {**computed, **TLS_OUTPUTS.get(type_.rpartition(":")[2], {})}


def record_platform_once(
    configuration: Mapping[str, Any], secrets: Mapping[str, str] | None = None
) -> RecordedPlatform:
    """Run settings and platform on a backend that only records requests."""
    raw, encrypted = pulumi_config(configuration), pulumi_config(secrets or {})
    backend = RecordingBackend(configuration.get("backend", {}).get("kind", "docker"))

    def program() -> Platform:
        platform = Platform("platform", PlatformArgs(settings=settings.load("dev"), backend=backend, stack="dev"))
        for _, workload in backend.workloads:
            for file_set in workload.file_sets:
                if file_set.external_secret is None:
                    pulumi.export(f"{workload.name}/{file_set.name}", dict(file_set.files))
        pulumi.export("outputs", platform.outputs.as_mapping())
        return platform

    recording = record(program, mock=tls_provider_mock, raw=raw | encrypted, secret=[*encrypted])
    exports = dict(recording.exports)
    return RecordedPlatform(
        outputs=exports.pop("outputs"),
        workloads={workload.name: workload for _, workload in backend.workloads},
        files=exports,
        secret_files=frozenset(path.partition(".")[0] for path in recording.secret_exports) & exports.keys(),
        exposures=tuple(backend.exposures),
        certificates=tuple(backend.certificates),
        postgres_clusters=tuple(backend.postgres_clusters),
    )
