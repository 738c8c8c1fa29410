"""A client whose machine is lost doesn't keep its PostgreSQL session: the server closes it within a minute."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.docker_engine import docker
from tests.engine.waiting import until
from tests.failures import FailureRecord
from tests.unit.platform_recording import record_platform_once

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lost'"
CLIENT_COMMANDS = ("BEGIN; SELECT 1; \\! sleep 600", "SELECT pg_sleep(600);")
"""Commands of the clients: one is idle in a transaction, one waits for a query's result."""

MAX_SESSION_S = 60.0


class Server:
    """A PostgreSQL with the stack's own parameters, on its own network."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sessions(self) -> int:
        """Return the clients' sessions."""
        answer = docker(
            *("exec", self.name, "psql", "--username", "postgres", "--no-psqlrc", "--tuples-only", "--no-align"),
            *("--command", SESSIONS),
        )
        return int(answer)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server; its clients are containers whose names begin with its name."""
    platform = record_platform_once({"credentials": "well-known"})
    workload = platform.workloads["postgres"]
    name = f"pti-test-lost-{secrets.token_hex(3)}"
    try:
        docker("network", "create", name)
        docker(
            *("run", "--detach", "--name", name, "--network", name, "--env", "POSTGRES_HOST_AUTH_METHOD=trust"),
            *("--shm-size", "256m", workload.image, *workload.arguments),
        )
        ready = ("exec", name, "pg_isready", "--host", "127.0.0.1")
        until("PostgreSQL responds over TCP", lambda: "accepting connections" in docker(*ready, check=False))
        yield Server(name)
    finally:
        for container in docker("ps", "--all", "--quiet", "--filter", f"name={name}").split():
            docker("rm", "--force", "--volumes", container)
        docker("network", "rm", name)


def test_the_sessions_of_lost_clients_end(server: Server, failure_record: FailureRecord) -> None:
    effect = "its sessions and their locks stay until PostgreSQL ends them"
    failure_record.begin("The node of PostgreSQL's clients loses power", on="Docker", effect=effect)
    clients = [f"{server.name}-client-{number}" for number in range(len(CLIENT_COMMANDS))]
    address = f"host={server.name} user=postgres application_name=lost"
    image = docker("inspect", "--format", "{{.Config.Image}}", server.name).strip()
    for client, work in zip(clients, CLIENT_COMMANDS, strict=True):
        docker(
            *("run", "--detach", "--name", client, "--network", server.name, "--entrypoint", "bash", image),
            *("-c", f"echo '{work}' | psql --no-psqlrc '{address}'"),
        )
    until("the clients work", lambda: server.sessions() == len(CLIENT_COMMANDS))

    # From now on, no packet arrives in either direction, as if the clients' machine had lost power.
    failure_record.mark_failure()
    for client in clients:
        docker("network", "disconnect", "--force", server.name, client)

    running = [docker("inspect", "--format", "{{.State.Running}}", client).strip() for client in clients]
    assert running == ["true"] * len(CLIENT_COMMANDS)
    until("their sessions have ended", lambda: server.sessions() == 0, MAX_SESSION_S)
    failure_record.mark_recovery()
    failure_record.set_lost("what wasn't committed")
