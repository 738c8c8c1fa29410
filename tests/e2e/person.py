"""A person with a clone, a state and a small stack of their own."""

from __future__ import annotations

import json
import secrets
from typing import Any

import yaml

from contract import StackOutputs
from settings import NAMESPACE
from tests.e2e.clone import Clone, Outcome
from tests.engine import restarts
from tests.ports import free_ports

PASSPHRASE = {"PULUMI_CONFIG_PASSPHRASE": "a person's own"}
SMALL_WORKLOADS = ("postgres", "databases", "redis")


def small() -> dict[str, Any]:
    """Return the configuration of a stack with PostgreSQL, its databases and Redis: nothing connects to Kafka."""
    postgres, redis = free_ports(2)
    return {
        "pulumi:disable-default-providers": ["docker"],
        f"{NAMESPACE}:credentials": "well-known",
        f"{NAMESPACE}:postgres": {"port": postgres},
        f"{NAMESPACE}:redis": {"port": redis},
        f"{NAMESPACE}:kafka": {"mode": "external", "external": {"bootstrapServers": ["kafka.example.com:9092"]}},
    }


class Person:
    """A person who types commands in a clone that has its virtual environment.

    Args:
        clone: the clone.
        environment: their shell's variables.
        stack: the name of their stack, if it is configured already.
    """

    def __init__(self, clone: Clone, environment: dict[str, str], stack: str | None = None) -> None:
        self.clone = clone
        self.environment = PASSPHRASE | environment
        self.stack = stack or f"x{secrets.token_hex(3)}"
        restarts.watch(self.stack)
        if stack is None:
            (clone.root / f"Pulumi.{self.stack}.yaml").write_text(yaml.safe_dump({"config": small()}))

    def types(self, command: str, typed: str = "") -> Outcome:
        """Run a command, with `typed` as its input; fail the test if the output contains a traceback."""
        outcome = self.clone.run(*command.split(), typed=typed, environment=self.environment)
        assert "Traceback" not in outcome.output
        return outcome

    def operation(self, name: str, *options: str) -> tuple[str, ...]:
        """Return the command of a `make` target, without its set-up."""
        return (".venv/bin/python", "-m", "operations", name, "--stack", self.stack, *options)

    def operates(self, name: str, *options: str, typed: str = "") -> Outcome:
        """Run the command of a `make` target, without its set-up."""
        return self.types(" ".join(self.operation(name, *options)), typed)

    def outputs(self) -> StackOutputs[str]:
        """Return the stack outputs with their secret values."""
        shown = self.types(f"pulumi stack output --json --show-secrets --stack {self.stack}").succeeded()
        return StackOutputs.parse(json.loads(shown.output))
