"""Connections between real pods, and an operator's port forwarding to a pod."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from testbed.cluster import Cluster, ClusterError
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine.waiting import until
from tests.ports import free_port

WAIT_S = 3
"""A policy silently drops packets, so a connection that isn't established within this time counts as denied."""

UNRELATED_POD = "stranger"
OTHER_NAMESPACE = "default"

_CONNECT_SCRIPT = """
import socket, sys
try:
    address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), socket.AF_INET)[0][4]
except OSError as error:
    sys.exit(f"no name: {error}")
try:
    socket.create_connection(address, float(sys.argv[3])).close()
    print("open")
except OSError as error:
    print("closed", error)
"""


@dataclass(frozen=True)
class Connection:
    """A TCP connection that one workload's pods try to open."""

    caller: str
    host: str
    port: int
    is_open: bool
    """Whether the caller is allowed to connect."""

    def __str__(self) -> str:
        return f"{self.caller}-to-{self.host}-{self.port}-{'open' if self.is_open else 'closed'}"

    def found(self, stack: ClusterStack, pod: str) -> bool:
        """Return whether a pod, which must have Python, can open the connection."""
        return _is_open(
            stack.kubectl("exec", pod, "--", "python", "-c", _CONNECT_SCRIPT, self.host, str(self.port), str(WAIT_S))
        )


class UnrelatedPod:
    """A pod in another namespace of the same cluster, with Python, for the duration of the context."""

    def __init__(self, cluster: Cluster, image: str, namespace: str = OTHER_NAMESPACE) -> None:
        self._cluster = cluster
        self._image = image
        self._namespace = namespace

    def __enter__(self) -> Self:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": UNRELATED_POD},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": UNRELATED_POD,
                        "image": self._image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "infinity"],
                        "resources": {"requests": {"cpu": "10m"}},
                    }
                ],
            },
        }
        self._kubectl("apply", "--filename=-", input=json.dumps(pod))
        self._kubectl("wait", "--for=condition=Ready", f"pod/{UNRELATED_POD}", "--timeout=90s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kubectl("delete", "pod", UNRELATED_POD, "--ignore-not-found")

    def opens(self, host: str, port: int) -> bool:
        """Return whether the pod can open a connection."""
        return _is_open(self.python(_CONNECT_SCRIPT, host, str(port), str(WAIT_S)))

    def python(self, program: str, *arguments: str) -> str:
        """Run a Python program in the pod and return its output."""
        return self._kubectl("exec", UNRELATED_POD, "--", "python", "-c", program, *arguments)

    def _kubectl(self, *arguments: str, input: str | None = None) -> str:
        return self._cluster.kubectl("--namespace", self._namespace, *arguments, input=input)


@contextmanager
def port_forward(stack: ClusterStack, target: str, port: int) -> Iterator[int]:
    """Run `kubectl port-forward` and return the local port, which is chosen freely."""
    local = free_port()
    command = [*stack.namespaced(), "port-forward", target, f"{local}:{port}"]
    # kubectl prints a line for each connection; writing to an unread pipe would block after about two thousand.
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            until("the port is forwarded", lambda: _listens(local) or process.poll() is not None)
            assert process.poll() is None, _text_of(output)
            yield local
        finally:
            process.terminate()
            process.wait(10)


def _text_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _is_open(output: str) -> bool:
    word = output.split(maxsplit=1)[0] if output.strip() else ""
    if word not in ("open", "closed"):
        raise ClusterError(f"the attempt itself failed: {output!r}")
    return word == "open"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
