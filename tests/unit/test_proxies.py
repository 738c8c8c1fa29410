"""A Pulumi program reaches its engine on this machine although a proxy is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]  # grpcio has no types.
import pytest

from operations.proxies import local_without_proxy
from tests.unit.paths import ROOT

PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
"""Proxies at an address on which nothing listens."""


@pytest.fixture
def engine() -> Iterator[str]:
    """A gRPC server on this machine."""
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address
    server.stop(None)


def is_reached(address: str, variables: Mapping[str, str]) -> bool:
    """Return whether a new Python process connects to the address; gRPC reads the variables once."""
    program = (
        "import grpc, sys; channel = grpc.insecure_channel(sys.argv[1]); call = channel.unary_unary('/none/none')\n"
        "try: call(b'', timeout=20)\n"
        "except grpc.RpcError as error: print(error.code().name)"
    )
    inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        env=inherited | {**variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() == "UNIMPLEMENTED"


@pytest.mark.parametrize("excluded", [{}, {"no_proxy": "example.org"}, {"NO_PROXY": "example.org"}])
def test_the_variable_keeps_the_engine_reachable(engine: str, excluded: Mapping[str, str]) -> None:
    assert not is_reached(engine, PROXIES | {**excluded})
    assert is_reached(engine, PROXIES | {**excluded} | local_without_proxy(excluded))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"no_proxy": "example.org"}, "example.org,127.0.0.1"),
        ({"NO_PROXY": "example.org"}, "example.org,127.0.0.1"),
        ({"no_proxy": "example.org", "no_grpc_proxy": "other.org"}, "other.org,127.0.0.1"),
    ],
)
def test_existing_exclusions_are_kept(given: Mapping[str, str], expected: str) -> None:
    assert local_without_proxy(given)["no_grpc_proxy"] == expected
    shell = subprocess.run(
        ["sh", "-c", '. ./activate; . ./activate; echo "$no_grpc_proxy"'],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == expected
