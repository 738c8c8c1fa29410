"""Files and secret values as ConfigMaps and Secrets.

They can't be changed and have no name of their own: new contents make another one, the pods move to it, and the old
one goes afterwards. An update that is rolled back finds the old one as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import FileSet, KeyPair, Workload, WorkloadError

LIMIT = 1024 * 1024
"""Bytes that one ConfigMap or Secret holds."""


def files(workload: Workload, file_set: FileSet) -> Manifest:
    """The object with a file set's files."""
    known = sum(len(content.encode()) for content in file_set.files.values() if isinstance(content, str))
    if known > LIMIT:
        raise WorkloadError(
            f"workload {workload.name!r}: the files of {file_set.name!r} take {known} bytes, and one ConfigMap or "
            f"Secret holds {LIMIT}; split them into several file sets"
        )
    its = labels.labels(workload.name, workload.kind.value)
    if file_set.secret:
        return secret(file_set.files, labels=its)
    return manifest("v1", "ConfigMap", name=None, labels=its, immutable=True, data=dict(file_set.files))


def secret_environment(workload: Workload) -> Manifest:
    """The Secret with a workload's secret environment."""
    return secret(workload.secret_environment, labels=labels.labels(workload.name, workload.kind.value))


def key_pair(pair: KeyPair, *, labels: Mapping[str, str]) -> Manifest:
    """The Secret with a certificate and its key."""
    values = {"tls.crt": pair.certificate, "tls.key": pair.private_key}
    return secret(values, labels=labels, kind="kubernetes.io/tls")


def secret(values: Mapping[str, pulumi.Input[str]], *, labels: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    """A Secret. Not by `stringData`, which comes back from the cluster unmarked (pulumi/pulumi-kubernetes#653)."""
    encoded = {key: pulumi.Output.secret(value).apply(_base64) for key, value in values.items()}
    return manifest("v1", "Secret", name=None, labels=labels, type=kind, immutable=True, data=encoded)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
