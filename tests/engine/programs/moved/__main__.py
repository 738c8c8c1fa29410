"""A store in a component, which is at the top level or in one of two other components."""

from __future__ import annotations

import os
import signal

import pulumi

from backends.addresses import Addresses
from backends.base import DeployOptions
from backends.docker.backend import DockerBackend
from settings.backend import BackendSettings, ImagesSettings
from settings.stores.redis import RedisSettings
from workloads import Exec, FileSet, Probe, StatefulService, Volume

CONFIG = pulumi.Config()
STORE = StatefulService(
    name="store",
    image=RedisSettings().image,
    user=999,
    memory_mib=32,
    command=("sleep", "infinity"),
    file_sets=(FileSet(name="notes", directory="/notes", files={"note": "here"}),),
    volumes=(Volume(name="store-data", mount="/data"),),
    readiness=Probe(check=Exec(command=("true",)), period_s=1),
    stop_grace_s=1,
)

# End immediately on SIGINT, like the project's own entry point.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

with Addresses(project=pulumi.get_project(), stack=pulumi.get_stack(), moved=CONFIG.get_object("moved") or {}):
    backend = DockerBackend(BackendSettings(), ImagesSettings(), stack=pulumi.get_stack(), protect=False)
    outer = pulumi.ComponentResource("pti-calendar:tests:Outer", "outer") if CONFIG.get_bool("deeper") else None
    group = pulumi.ComponentResource("pti-calendar:tests:Group", "group", opts=pulumi.ResourceOptions(parent=outer))
    options = DeployOptions(parent=group)
    if CONFIG.get_bool("elsewhere"):
        other_group = pulumi.ComponentResource("pti-calendar:tests:Group", "elsewhere")
        options = DeployOptions(parent=other_group, aliases=(pulumi.Alias(parent=group),))
    backend.deploy(STORE, options)
