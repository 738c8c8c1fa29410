"""Effects of an upgrade from the last release on a stack in use, on either backend."""

from __future__ import annotations

from collections import Counter

from operations.project import ROOT
from tests.e2e.bookings import Bookings
from tests.e2e.load import Load
from tests.engine.pulumi_stack import Outcome, PulumiStack
from tests.engine.waiting import until
from tests.failures import Tried

PER_SECOND = 5
MAX_DURATION_S = 900
BEFORE, AFTER = 40, 40
"""Bookings acknowledged before the upgrade begins, and requests answered after it."""


def upgrade(stack: PulumiStack, bookings: Bookings, tried: Tried) -> tuple[Outcome, Load]:
    """Run the current program on the release's stack under load; return the update and the load's results."""
    with Load(bookings.next, per_second=PER_SECOND, max_duration_s=MAX_DURATION_S) as load:
        until("bookings are made", lambda: len(bookings.acknowledged) >= BEFORE)
        stack.runs(ROOT)
        preview = stack.preview().succeeded()
        with tried.until_well():
            update = stack.up().succeeded()
            answered = load.well
            until("requests are answered", lambda: load.well > answered + AFTER)
    tried.requests(load)
    failed = Counter(f"{one.kind}: {(one.failure or '')[:60]}" for one in load.samples if one.failure)
    print(f"{len(load.samples)} requests, {load.well} answered well, {dict(failed)}")
    print(f"replaced: {sorted(update.replaced)}")
    assert preview.replaced <= update.replaced
    # An unused image stays on the engine: Pulumi only removes it from the state.
    assert [change for change in update.deleted if " RemoteImage " not in change] == []
    stack.preview("--expect-no-changes").succeeded()
    return update, load


def kept_types(update: Outcome) -> set[str]:
    """Return the types of replaced resources that hold data or identities that can't be recreated."""
    return update.replaced_types & {"RandomPassword", "PrivateKey", "Namespace", "PersistentVolumeClaim", "Cluster"}
