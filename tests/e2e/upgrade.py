"""What an upgrade from the last release does to a stack in use; the same on either backend."""

from __future__ import annotations

from collections import Counter

from operations.project import ROOT
from tests.e2e.bookings import Bookings
from tests.e2e.load import Load
from tests.engine.pulumi_stack import Outcome, PulumiStack
from tests.engine.waiting import until
from tests.failures import Tried

PER_SECOND = 5
AT_MOST_S = 900
BEFORE, AFTER = 40, 40
"""Bookings that are acknowledged before the upgrade begins, requests that are answered after it."""


def upgrade(stack: PulumiStack, bookings: Bookings, tried: Tried) -> tuple[Outcome, Load]:
    """Runs the present program over the release's stack, under load; gives the update and what became of the load."""
    with Load(bookings.next, per_second=PER_SECOND, at_most_s=AT_MOST_S) as load:
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
    # An image that nothing uses any more stays on the engine: Pulumi only forgets it.
    assert [change for change in update.deleted if " RemoteImage " not in change] == []
    stack.preview("--expect-no-changes").succeeded()
    return update, load


def kept_types(update: Outcome) -> set[str]:
    """The types of replaced resources that hold what can't be made again."""
    return update.replaced_types & {"RandomPassword", "PrivateKey", "Namespace", "PersistentVolumeClaim", "Cluster"}
