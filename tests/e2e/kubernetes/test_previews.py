"""Previews without a cluster and with one that lacks a storage class; previews and updates whose cluster doesn't
respond."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from operations.project import ROOT, environment
from testbed.cluster import Cluster
from testbed.cluster.volumes import STORAGE_CLASS
from tests.e2e.kubernetes import configuration, silent_server
from tests.e2e.kubernetes.test_ownership import OwnStack
from tests.engine.pulumi_stack import PulumiStack

WAIT_S = 3
"""The configured timeout for the API server."""

SILENT = {"drops": silent_server.accepts_nothing, "says-nothing": silent_server.accepts_silently}

Serve = Callable[[], AbstractContextManager[int]]


def silent_stack(home: Path, port: int) -> PulumiStack:
    """The prod stack with a cluster that doesn't respond."""
    kubeconfig = silent_server.kubeconfig(home / "kubeconfig", port)
    cluster = Cluster(kubeconfig=kubeconfig, context=silent_server.CONTEXT, server_version="none")
    stack = PulumiStack(
        home,
        configuration={
            "pulumi:disable-default-providers": ["docker", "kubernetes"],
            **configuration.merged(configuration.prod(cluster), {"kubernetes": {"connectTimeoutS": WAIT_S}}),
        },
    )
    stack.set_secrets(configuration.THIRD_PARTY)
    return stack


def test_make_preview_shows_prod_without_secrets_or_a_cluster() -> None:
    done = subprocess.run(
        ["make", "preview", "STACK=prod"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("Namespace", "StatefulSet", "Deployment", "NetworkPolicy", "Certificate"):
        assert f":{kind} " in done.stdout
    assert " to create" in done.stdout
    assert "errored" not in done.stdout


def test_a_preview_continues_if_the_cluster_does_not_respond(tmp_path: Path) -> None:
    """The provider waits for a server that drops connections, too, for a minute: see test_saved_plan.py."""
    with silent_server.accepts_silently() as port:
        outcome = silent_stack(tmp_path, port).preview().succeeded()
    assert f"The Kubernetes cluster at https://127.0.0.1:{port} can't be reached" in outcome.output
    assert f"no response within {WAIT_S} s" in outcome.output
    assert "create StatefulSet postgres" in outcome.changes


@pytest.mark.parametrize("silence", SILENT)
def test_an_update_fails_before_the_provider_starts_and_changes_nothing(tmp_path: Path, silence: str) -> None:
    serve: Serve = SILENT[silence]
    with serve() as port:
        stack = silent_stack(tmp_path, port)
        outcome = stack.up().failed()
    assert f"no response within {WAIT_S} s" in outcome.output
    assert "Nothing has been changed." in outcome.output
    assert "Traceback" not in outcome.output
    assert outcome.changes == []
    # The provider, which waits for minutes, isn't started.
    assert "pulumi:providers:kubernetes" not in outcome.output


def test_a_preview_without_a_default_storage_class_is_refused_with_the_key_to_set(
    api_server: Cluster, tmp_path: Path
) -> None:
    api_server.kubectl("delete", "storageclass", STORAGE_CLASS)  # The fixture creates it again for the next test.
    refused = OwnStack(tmp_path, api_server, "without-class").preview().failed()
    assert "The cluster has no default storage class" in refused.output
    assert "The claims data-store-0 would stay pending" in refused.output
    assert "--path 'pti-calendar:kubernetes.storageClass' CLASS" in refused.output
    assert "Traceback" not in refused.output
