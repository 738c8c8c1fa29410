"""A minimal Pulumi program that creates given objects: it reads a file and registers its content. With `others` in its
configuration, it also registers that many resources that aren't in the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
provider = kubernetes.Provider(
    "kubernetes",
    kubeconfig=config.require("kubeconfig"),
    context=config.require("context"),
    # The same limits for requests as in the project's program.
    kube_client_settings=kubernetes.KubeClientSettingsArgs(qps=50, burst=100),
)
first: list[pulumi.Resource] = []
for manifest in json.loads(Path(config.require("manifests")).read_text()):
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    # The SDK's class registers the same object but takes a second to import.
    made = pulumi.CustomResource(
        f"kubernetes:{group or 'core'}/{version}:{kind}",
        name,
        manifest,
        pulumi.ResourceOptions(provider=provider, depends_on=first),
    )
    if kind == "Namespace":
        first = [made]
for number in range(config.get_int("others") or 0):
    pulumi.Stash(f"other-{number}", input=number)
