"""Updates that are killed (SIGKILL) at random moments over their whole length, and completed by the next `up`.

A moment is a number of steps that the engine has begun or finished, so that a slow machine draws the same moments.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.engine import event_log
from tests.engine.pulumi_stack import Outcome, PulumiStack

SEED_VARIABLE = "PTI_TEST_SEED"
"""Seed that repeats the moments of another run; it is part of each test's name."""

RANGE_VARIABLE = "PTI_TEST_KILLS"
"""The moments of a platform to run, such as `8-20`: several runs with the same seed add up to all of them."""

OPERATIONS = ("update", "removal", "creation")
OF_A_PLATFORM = 20
EFFECT = "the command ends; workloads that it had stopped stay down until the next `up`"
LAST = 8
"""Distance in steps of the last kill from the end: these steps follow each other faster than a test polls."""


@dataclass(frozen=True)
class Kill:
    """One kill."""

    seed: str
    number: int
    """From 1."""

    operation: str
    share: float
    """Number of the operation's steps after which the kill happens."""

    plugins_too: bool
    """Whether Pulumi's plugins are killed too, as when the machine loses power."""

    @property
    def name(self) -> str:
        """Return the name of its test."""
        return f"seed-{self.seed}-{self.number:02}-{self.operation}"

    @property
    def operation_with_article(self) -> str:
        """Return the operation with its article."""
        return f"{'an' if self.operation == 'update' else 'a'} {self.operation}"

    @property
    def title(self) -> str:
        """Return the title of the record of this failure of a whole platform."""
        return f"Pulumi is killed during {self.operation_with_article} of the whole platform, at a random moment"

    def __str__(self) -> str:
        plugins = "with its plugins" if self.plugins_too else "whose plugins survive"
        return f"{self.operation} killed after {self.share:.0%} of its steps, {plugins}"


def drawn(count: int) -> list[Kill]:
    """Draw a number of kills, cycling through the operations, with each operation's kills spread over its whole
    length."""
    seed = os.environ.get(SEED_VARIABLE) or secrets.token_hex(4)
    print(f"{SEED_VARIABLE}={seed}")
    chance = random.Random(seed)  # noqa: S311 - no secret
    rounds = -(-count // len(OPERATIONS))
    return [
        Kill(
            seed,
            number=index + 1,
            operation=OPERATIONS[index % len(OPERATIONS)],
            share=(index // len(OPERATIONS) + chance.random()) / rounds,
            plugins_too=chance.random() < 0.5,
        )
        for index in range(count)
    ]


def of_a_platform() -> list[Kill]:
    """Return the kills of a whole platform that the environment selects; by default all."""
    first, _, last = os.environ.get(RANGE_VARIABLE, f"1-{OF_A_PLATFORM}").partition("-")
    return drawn(OF_A_PLATFORM)[int(first) - 1 : int(last)]


class Killed:
    """A running stack whose updates, removals and creations are killed repeatedly.

    Args:
        stack: the stack, up.
        created: the update that created it.
        change: changes its configuration each time, so that every update has the same steps.
        empty: removes the stack, before it is created again.
    """

    def __init__(
        self, stack: PulumiStack, created: Outcome, change: Callable[[], None], empty: Callable[[], object]
    ) -> None:
        self._stack = stack
        self._change = change
        self._empty = empty
        # A removal has as many steps as the creation: two for each resource.
        everything = len(event_log.steps(created.log))
        change()
        update = len(event_log.steps(stack.preview().succeeded().log))
        self._steps = {"update": update, "removal": everything, "creation": everything}
        self._has_converged = True
        print(", ".join(f"{operation}: {steps} steps" for operation, steps in self._steps.items()))

    def converges(self, kill: Kill) -> float:
        """Kill the operation and run one `up`, after which no change and no warning is left. Return its seconds."""
        if not self._has_converged:  # The stack may be down after the failure of another kill.
            self._complete()
        self._has_converged = False
        if kill.operation == "creation":
            self._empty()
        if kill.operation == "update":
            self._change()
        at = max(1, min(round(kill.share * self._steps[kill.operation]), self._steps[kill.operation] - LAST))
        print(f"{kill}: step {at} of {self._steps[kill.operation]}", flush=True)
        self._stack.kill_when(
            f"step {at}",
            lambda steps: len(steps) >= at,
            plugins_too=kill.plugins_too,
            command="destroy" if kill.operation == "removal" else "up",
        )
        began = time.monotonic()
        self._complete()
        seconds = time.monotonic() - began
        print(f"completed after {seconds:.0f} s", flush=True)
        # The engine's objects match the state, and the state matches the program.
        self._stack.refresh("--clear-pending-creates", "--expect-no-changes").succeeded()
        self._stack.preview("--expect-no-changes").succeeded()
        # A preview doesn't mention pending operations.
        assert self._stack.export()["deployment"].get("pending_operations", []) == []
        self._has_converged = True
        return seconds

    def _complete(self) -> None:
        # `make up` runs the same two commands.
        self._stack.cancel()
        self._stack.up("--refresh").succeeded()
