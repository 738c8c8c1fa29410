"""Files as ConfigMaps and Secrets.

They are immutable and their names are generated: new contents create another object, pods switch to it, and then the
old one is deleted. An update that is rolled back still finds the old one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import FileSet, TlsKeyPair, Workload, WorkloadError

MAX_BYTES = 1024 * 1024
"""Maximum size in bytes of one ConfigMap or Secret."""


def files(workload: Workload, file_set: FileSet) -> Manifest:
    """Return the ConfigMap or Secret of a file set."""
    known = sum(len(content.encode()) for content in file_set.files.values() if isinstance(content, str))
    if known > MAX_BYTES:
        raise WorkloadError(
            f"workload {workload.name!r}: the files of {file_set.name!r} have {known} bytes, but one ConfigMap or "
            f"Secret can contain {MAX_BYTES}; split them into several file sets"
        )
    its = labels.labels_for(workload)
    if file_set.secret:
        return secret(file_set.files, labels=its)
    return manifest("v1", "ConfigMap", name=None, labels=its, immutable=True, data=dict(file_set.files))


def tls_secret(pair: TlsKeyPair, *, labels: Mapping[str, str]) -> Manifest:
    """Return the Secret of a certificate and its key."""
    values = {"tls.crt": pair.certificate, "tls.key": pair.private_key}
    return secret(values, labels=labels, kind="kubernetes.io/tls")


def secret(values: Mapping[str, pulumi.Input[str]], *, labels: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    """Return a Secret. It doesn't use `stringData`, which isn't read back as secret (pulumi/pulumi-kubernetes#653)."""
    encoded = {key: pulumi.Output.secret(value).apply(_base64) for key, value in values.items()}
    return manifest("v1", "Secret", name=None, labels=labels, type=kind, immutable=True, data=encoded)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
