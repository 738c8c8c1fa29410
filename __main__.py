"""The program: settings, backend, platform, outputs."""

from __future__ import annotations

import gc
import os
import signal

# The program creates many objects, keeps nearly all of them, and ends: with Python's own threshold, collecting garbage
# takes a sixth of its CPU time, and a fifth of that of its imports.
gc.set_threshold(100_000)

import pulumi  # noqa: E402

import settings  # noqa: E402
from backends.addresses import Addresses  # noqa: E402
from backends.create import create_backend  # noqa: E402
from backends.preflight import require_preflight  # noqa: E402
from components.platform import Platform, PlatformArgs  # noqa: E402
from settings.ports import published_ports  # noqa: E402

# The engine interrupts a program that waits for its hooks when the update has failed: the reason has been reported by
# then, and a traceback would only hide it.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

stack = pulumi.get_stack()
with Addresses(project=pulumi.get_project(), stack=stack):
    configured = settings.load(stack)
    backend = create_backend(configured, stack=stack)
    platform = Platform("platform", PlatformArgs(settings=configured, backend=backend, stack=stack))
    for name, value in platform.outputs.as_mapping().items():
        pulumi.export(name, pulumi.Output.secret(value) if name in platform.outputs.secret_names() else value)
    require_preflight(backend, published_ports(configured), stack)
