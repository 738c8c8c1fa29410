"""Clients of the three stores through the published ports."""

from __future__ import annotations

import socket

import psycopg
from psycopg.rows import TupleRow

from contract import StackOutputs
from settings.stores.kafka import KafkaSettings
from tests.engine.docker_engine import docker

KAFKA_BIN = "/opt/kafka/bin"


class Stores:
    """PostgreSQL, Redis and Kafka of a running stack, with the passwords from its outputs."""

    def __init__(self, outputs: StackOutputs[str], postgres: tuple[str, int] | None = None) -> None:
        """`postgres`: overrides the server's address from the outputs."""
        self._outputs = outputs
        self._postgres = postgres or (outputs.postgres.host, outputs.postgres.port)

    def connect(self, role: str = "postgres", database: str = "postgres") -> psycopg.Connection[TupleRow]:
        """Open a session that commits each statement."""
        host, port = self._postgres
        return psycopg.connect(
            host=host,
            port=port,
            dbname=database,
            user=role,
            password=self._outputs.credentials.postgres[role],
            autocommit=True,
        )

    def setting(self, name: str) -> str:
        """Return the value of a PostgreSQL setting."""
        with self.connect() as session:
            row = session.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row
        return str(row[0])

    def write(self, mark: str) -> None:
        """Write a row to every service's database, a Redis key and a Kafka message, each with `mark` (one word)."""
        for database in self._databases():
            with self.connect(database=database) as session:
                session.execute("CREATE TABLE IF NOT EXISTS kept (mark text PRIMARY KEY)")
                session.execute("INSERT INTO kept VALUES (%s) ON CONFLICT DO NOTHING", [mark])
        assert self.redis("SET", mark, f"the key of {mark}") == "OK"
        self._kafka(f"echo the message of {mark} | {KAFKA_BIN}/kafka-console-producer.sh", "--topic", mark)

    def check(self, mark: str) -> None:
        """Check that everything that `write` has written exists."""
        missing = []
        for database in self._databases():
            with self.connect(database=database) as session:
                if session.execute("SELECT 1 FROM kept WHERE mark = %s", [mark]).fetchone() is None:
                    missing.append(f"the row in {database}")
        if self.redis("GET", mark) != f"the key of {mark}":
            missing.append("the key in Redis")
        read = ("--from-beginning", "--max-messages", "1", "--timeout-ms", "60000")
        message = self._kafka(f"{KAFKA_BIN}/kafka-console-consumer.sh", "--topic", mark, *read)
        if message.splitlines() != [f"the message of {mark}"]:
            missing.append("the message in Kafka")
        assert not missing, f"lost of {mark}: {missing}"

    def redis(self, *words: str) -> str | None:
        """Run one command, after AUTH if there is a password, and return its response."""
        with socket.create_connection((self._outputs.redis.host, self._outputs.redis.port), timeout=30) as connection:
            stream = connection.makefile("rwb")
            commands = [words]
            if password := self._outputs.credentials.redis:
                commands.insert(0, ("AUTH", password))
            answer = None
            for command in commands:
                stream.write(b"*%d\r\n" % len(command))
                for word in command:
                    stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
                stream.flush()
                line = stream.readline().decode().rstrip("\r\n")
                assert not line.startswith("-"), f"{command[0]}: {line}"
                answer = line[1:]
                if line.startswith("$"):
                    answer = None if line == "$-1" else stream.read(int(line[1:]) + 2).decode()[:-2]
            return answer

    def _kafka(self, tool: str, *arguments: str) -> str:
        """Run one of Kafka's tools on the host's network, like a developer."""
        command = f"{tool} --bootstrap-server {self._outputs.kafka.bootstrap_servers} {' '.join(arguments)} 2>/dev/null"
        run = ("run", "--rm", "--network", "host", "--entrypoint", "bash", KafkaSettings(mode="kraft").broker_image)
        return docker(*run, "-c", command)

    def _databases(self) -> list[str]:
        return [database.name for database in self._outputs.postgres.databases.values()]
