"""Updates that are killed (SIGKILL) at random moments over their whole length, and completed by the next `up`.

A moment is a number of steps that the engine has begun or finished, so that a slow machine draws the same moments.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.engine import event_log
from tests.engine.pulumi_stack import Outcome, PulumiStack

SEED_VARIABLE = "PTI_TEST_SEED"
"""Seed that repeats the moments of another run, which prints it."""

OPERATIONS = ("update", "removal", "creation")
LAST = 8
"""Distance in steps of the last kill from the end: these steps follow each other faster than a test polls."""


@dataclass(frozen=True)
class Kill:
    """One kill."""

    operation: str
    share: float
    """Number of the operation's steps after which the kill happens."""

    plugins_too: bool
    """Whether Pulumi's plugins are killed too, as when the machine loses power."""

    @property
    def operation_with_article(self) -> str:
        """Return the operation with its article."""
        return f"{'an' if self.operation == 'update' else 'a'} {self.operation}"

    def __str__(self) -> str:
        plugins = "with its plugins" if self.plugins_too else "whose plugins survive"
        return f"{self.operation} killed after {self.share:.0%} of its steps, {plugins}"


def drawn(count: int) -> Iterator[Kill]:
    """Draw a number of kills, cycling through the operations, with each operation's kills spread over its whole
    length."""
    seed = os.environ.get(SEED_VARIABLE) or secrets.token_hex(4)
    print(f"{SEED_VARIABLE}={seed}")
    chance = random.Random(seed)  # noqa: S311 - no secret
    rounds = -(-count // len(OPERATIONS))
    for number in range(count):
        share = (number // len(OPERATIONS) + chance.random()) / rounds
        yield Kill(OPERATIONS[number % len(OPERATIONS)], share, chance.random() < 0.5)


class Killed:
    """A running stack that is killed repeatedly.

    Args:
        stack: the stack, up.
        change: changes its configuration each time, so that every update has the same steps.
    """

    def __init__(self, stack: PulumiStack, change: Callable[[], None]) -> None:
        self._stack = stack
        self._change = change
        self._steps: dict[str, int] = {}

    def measure(self) -> None:
        """Count the steps of each operation in uninterrupted runs. The stack is up afterwards."""
        self._change()
        for operation, command in {
            "update": self._stack.up,
            "removal": self._stack.destroy,
            "creation": self._stack.up,
        }.items():
            done: Outcome = command().succeeded()
            self._steps[operation] = len(event_log.steps(done.log))
        print(", ".join(f"{operation}: {steps} steps" for operation, steps in self._steps.items()))

    def converges(self, kill: Kill) -> float:
        """Kill the operation and run one `up`, after which no change and no warning is left.

        Return the seconds from the kill to the end of that `up`.
        """
        if kill.operation == "creation":
            self._stack.destroy().succeeded()
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
        # As in `make up`.
        began = time.monotonic()
        self._stack.cancel()
        self._stack.up("--refresh").succeeded()
        seconds = time.monotonic() - began
        self._stack.refresh("--clear-pending-creates").succeeded()
        quiet = self._stack.preview("--refresh", "--expect-no-changes").succeeded()
        assert "pending operations" not in quiet.output
        self._stack.preview("--expect-no-changes").succeeded()
        print(f"mended after {seconds:.0f} s", flush=True)
        return seconds
