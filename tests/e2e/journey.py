"""Check every port of a running stack in its own protocol from the engine's machine, where a developer works.

The journey only uses the stack's outputs and label, so that it works for stacks run by Pulumi and by Compose.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import secrets
import socket
import subprocess
import tempfile
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from contract import StackOutputs
from operations.project import ROOT
from settings.catalog import SERVICES
from tests.engine import docker_engine
from tests.engine.stores import KAFKA_BIN, Stores
from tests.engine.waiting import DEADLINE_S, until

PGADMIN_LOGIN = ROOT / "testbed" / "images" / "pgadmin_login.py"
PGADMIN_EMAIL = "admin@pti-calendar.fr"
KAFKA_INSIDE = "kafka:19092"
"""Address of the broker for containers."""


@dataclass(frozen=True)
class Journey:
    """A running stack, checked from the outside."""

    stack: str
    """Value of the stack's label on the containers and networks."""

    outputs: StackOutputs[str]

    zookeeper_port: int | None
    """Host port; None if Kafka runs without ZooKeeper."""

    def whole(self) -> None:
        """Run every check: first each store, then the tools."""
        self.databases()
        self.tenants()
        self.redis()
        self.kafka()
        self.zookeeper()
        self.pg_admin()
        self.kafka_ui()
        self.redis_commander()

    def databases(self) -> None:
        """Check that each service's database accepts its own application role and rejects those of other services."""
        databases = self.outputs.postgres.databases
        assert sorted(databases) == sorted(service.name for service in SERVICES)
        for name, database in databases.items():
            with self._stores.connect(database.app_role, database.name) as session:
                row = session.execute("SELECT current_user, current_database(), 41 + 1").fetchone()
            assert row == (database.app_role, database.name, 42)
            for other in databases:
                if other != name:
                    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                        self._stores.connect(database.app_role, databases[other].name)

    def tenants(self) -> None:
        """Check that a table created by a migration returns only a tenant's own rows and refuses rows of other
        tenants."""
        database = self.outputs.postgres.databases["rdv"]
        table = sql.Identifier(f"journey_{secrets.token_hex(4)}")
        create, drop, insert, select = (
            sql.SQL(text).format(table)
            for text in (
                "CREATE TABLE {} (tenant_id uuid NOT NULL, line text)",
                "DROP TABLE {}",
                "INSERT INTO {} VALUES (%s, %s)",
                "SELECT line FROM {}",
            )
        )
        ours, theirs = uuid.uuid4(), uuid.uuid4()
        with self._stores.connect(database.migrator_role, database.name) as migration:
            migration.execute(create)
            try:
                with self._stores.connect(database.app_role, database.name) as app:
                    for tenant, line in ((ours, "ours"), (theirs, "theirs")):
                        app.execute("SELECT set_config('app.tenant_id', %s, false)", [str(tenant)])
                        app.execute(insert, [tenant, line])
                        assert app.execute(select).fetchall() == [(line,)]
                    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                        app.execute(insert, [ours, "forged"])
                    app.execute("RESET app.tenant_id")
                    assert app.execute(select).fetchall() == []
            finally:
                migration.execute(drop)

    def redis(self) -> None:
        """Check SET and GET; if there is a password, unauthenticated commands must fail."""
        key, value = f"journey:{secrets.token_hex(4)}", "dérangé"
        assert self._stores.redis("SET", key, value, "EX", "60") == "OK"
        assert self._stores.redis("GET", key) == value
        if self.outputs.credentials.redis:
            address = (self.outputs.redis.host, self.outputs.redis.port)
            assert _exchange(address, b"*1\r\n$4\r\nPING\r\n").startswith(b"-NOAUTH")

    def kafka(self) -> None:
        """Exchange messages between a program on the host and a container: each side reads both."""
        topic = f"journey-{secrets.token_hex(4)}"
        outside, inside = self.outputs.kafka.bootstrap_servers, KAFKA_INSIDE
        network = self._network("kafka")
        self._kafka_tool("host", outside, "producer", topic, lines="from the host\n")
        self._kafka_tool(network, inside, "producer", topic, lines="from a container\n")
        for where, server in (("host", outside), (network, inside)):
            read = ("--from-beginning", "--max-messages", "2", "--timeout-ms", "60000")
            received = self._kafka_tool(where, server, "consumer", topic, *read).splitlines()
            assert sorted(received) == ["from a container", "from the host"], f"read on {where}"

    def zookeeper(self) -> None:
        """Check that ZooKeeper, if enabled, reports healthy."""
        if self.zookeeper_port is not None:
            address = (self.outputs.kafka.bootstrap_servers.rpartition(":")[0], self.zookeeper_port)
            assert _exchange(address, b"ruok") == b"imok"

    def pg_admin(self) -> None:
        """Check that pgAdmin lists the stack's server after a login, and connects with the provisioned password."""
        address, password = self.outputs.tools.pg_admin, self.outputs.credentials.pg_admin
        assert address is not None
        assert password is not None
        assert _page(f"{address}/login")
        with tempfile.NamedTemporaryFile("w") as file, contextlib.redirect_stdout(io.StringIO()) as printed:
            file.write(password)
            file.flush()
            who = {
                "PGADMIN_LISTEN_PORT": str(urlsplit(address).port),
                "PGADMIN_DEFAULT_EMAIL": PGADMIN_EMAIL,
                "PGADMIN_DEFAULT_PASSWORD_FILE": file.name,
            }
            with mock.patch.dict(os.environ, who):
                session = runpy.run_path(str(PGADMIN_LOGIN))
        assert "Server connected" in printed.getvalue(), printed.getvalue()
        nodes = urllib.request.Request(  # noqa: S310 - our own address
            f"{session['ADDRESS']}/browser/server/nodes/1/", headers=session["headers"]
        )
        listed = json.loads(session["browser"].open(nodes).read())["result"]
        assert [(server["label"], server["connected"]) for server in listed] == [("PTI Calendar", True)]

    def kafka_ui(self) -> None:
        """Check that Kafka UI shows the broker."""
        address = self.outputs.tools.kafka_ui
        assert address is not None
        assert _page(f"{address}/")
        # Kafka UI polls the broker periodically and may not have done so yet.
        until("the cluster is online in Kafka UI", lambda: _cluster_is_online(address))

    def redis_commander(self) -> None:
        """Check that Redis Commander shows the stack's server and its reported details."""
        address = self.outputs.tools.redis_commander
        assert address is not None
        assert _page(f"{address}/")
        (server,) = json.loads(_page(f"{address}/apiv2/server/info"))["data"]
        assert (server["label"], server["host"]) == ("PTI Calendar", "redis")
        shown = {entry["key"]: entry["value"] for entry in server["info"]}
        assert shown["Redis version"]

    @property
    def _stores(self) -> Stores:
        return Stores(self.outputs)

    def _network(self, workload: str) -> str:
        """Return the network through which clients reach a workload."""
        wanted = {docker_engine.STACK_LABEL: self.stack, docker_engine.WORKLOAD_LABEL: workload}
        (name,) = (one["Name"] for one in docker_engine.networks(self.stack) if wanted.items() <= one["Labels"].items())
        return str(name)

    def _kafka_tool(
        self, network: str, server: str, tool: str, topic: str, *options: str, lines: str | None = None
    ) -> str:
        """Run a Kafka console tool from the broker's image on a network of the engine, and return its output."""
        broker = next(
            one
            for one in docker_engine.containers(self.stack)
            if one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL] == "kafka" and one["State"]["Running"]
        )
        program = f"{KAFKA_BIN}/kafka-console-{tool}.sh"
        arguments = ("--bootstrap-server", server, "--topic", topic, *options)
        run = ("docker", "run", "--rm", "-i", "--network", network, "--entrypoint", program)
        done = subprocess.run(
            [*run, broker["Image"], *arguments],
            input=lines or "",
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{tool} on {network}:\n{done.stdout}{done.stderr}"
        return done.stdout


def _exchange(address: tuple[str, int], text: bytes) -> bytes:
    """Return the first bytes of a server's response."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(text)
        return connection.recv(4096)


def _page(address: str) -> bytes:
    """Return the page; any status other than 200 is an error."""
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own address
        assert answer.status == 200
        return bytes(answer.read())


def _cluster_is_online(address: str) -> bool:
    clusters: list[Mapping[str, Any]] = json.loads(_page(f"{address}/api/clusters"))
    return [(one["name"], one["status"], one["brokerCount"]) for one in clusters] == [("pti-calendar", "online", 1)]
