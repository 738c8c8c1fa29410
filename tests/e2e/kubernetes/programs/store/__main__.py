"""A store and a service, for an API server without controllers; the program waits for nothing."""

from __future__ import annotations

import os
import signal
from typing import Any

import pulumi

from backends.addresses import Addresses
from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from backends.preflight import require_preflight
from settings.backend import ImagesSettings, KubernetesSettings
from tests.e2e.kubernetes.unawaited import wait_for_nothing
from workloads import Service, StatefulService, Volume

CONFIG = pulumi.Config()


def with_policy(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Give a StatefulSet the configured policy."""
    if args.type_.endswith(":StatefulSet"):
        props: dict[str, Any] = {**args.props}
        props["spec"] = {**props["spec"], "podManagementPolicy": CONFIG.get("policy") or "Parallel"}
        return pulumi.ResourceTransformationResult(props, args.opts)
    return None


# End immediately on SIGINT, like the project's own entry point.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

with Addresses(project=pulumi.get_project(), stack=pulumi.get_stack(), moved=CONFIG.get_object("moved") or {}):
    for transformation in (wait_for_nothing, with_policy):
        pulumi.runtime.register_stack_transformation(transformation)
    backend = KubernetesBackend(
        KubernetesSettings(
            kubeconfig=CONFIG.require("kubeconfig"),
            context=CONFIG.require("context"),
            namespace=CONFIG.require("namespace"),
        ),
        ImagesSettings(),
        stack=pulumi.get_stack(),
        protect=False,
    )
    outer = pulumi.ComponentResource("pti-calendar:tests:Outer", "outer") if CONFIG.get_bool("deeper") else None
    group = pulumi.ComponentResource("pti-calendar:tests:Group", "group", opts=pulumi.ResourceOptions(parent=outer))
    volume = Volume(name="data", mount="/data", size_gib=1)
    for workload in (
        StatefulService(name="store", image="store:1", user=1000, memory_mib=32, volumes=(volume,)),
        Service(name="web", image=f"web:{CONFIG.get('release') or 1}", user=1000, memory_mib=32),
    ):
        backend.deploy(workload, DeployOptions(parent=group))
    require_preflight(backend, [], pulumi.get_stack())
