"""A small stack that the last release's program knows as well as the present one."""

from __future__ import annotations

from typing import Any

from contract import StackOutputs
from tests import baseline
from tests.e2e.kubernetes.stack import ClusterStack

SMALL: dict[str, Any] = {
    "postgres": {"maxConnections": 180, "memoryMib": 1152},
    "kafka": {"brokers": 1},
    "services": {"deploy": ["user", "rdv"], "replicas": 2, "each": {"rdv": None, "payment": None}},
    "frontends": {"deploy": ["client-pwa"], "replicas": 2},
    "gateway": {"kong": {"replicas": 2, "adminApi": None}, "nginx": {"replicas": 2}},
    "monitoring": {"enabled": False, "prometheus": None, "receivers": None},
}
"""Beside the suite's own configuration: two of whatever may have two, and no key that the release doesn't know."""


class ReleasedStack(ClusterStack):
    """A stack whose outputs may be the release's."""

    def outputs(self) -> StackOutputs[str]:
        """The outputs with their secret values."""
        return baseline.outputs(self.shown_outputs("--show-secrets"))
