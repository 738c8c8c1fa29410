"""The connection between Pulumi's engine and the program, which mustn't use a proxy."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "no_grpc_proxy"
"""Takes the place of `no_proxy` for gRPC only. Pulumi's engine listens on 127.0.0.1, and Python's gRPC uses
`http_proxy`, `https_proxy` and `grpc_proxy` even there; Go's doesn't."""


def local_without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable with which a Pulumi program reaches its engine. `activate` sets it, too."""
    excluded = environment.get(VARIABLE) or environment.get("no_proxy") or environment.get("NO_PROXY")
    return {VARIABLE: f"{excluded},127.0.0.1" if excluded else "127.0.0.1"}
