"""The relay: publishes the outbox's events in order, and measures the backlog."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from .background import MIN_BACKOFF_S, jittered, longer_pause
from .events import Events
from .logs import log
from .outbox import Event, Outbox

POLL_S = 2.0
"""Seconds between two polls for events of other processes. Events of this one wake the relay."""

PUBLISH_TIMEOUT_S = 5
"""Maximum wait for the acknowledgement of one batch."""

MEASURE_PERIOD_S = 5


class Relay:
    """The relay of one process. Relays share the work by lanes."""

    def __init__(self, outbox: Outbox, events: Events) -> None:
        self._outbox = outbox
        self._events = events

    async def publish(self) -> None:
        """Publish until an error of the database; the caller starts it again."""
        pause = MIN_BACKOFF_S
        while True:
            await self._events.connected.wait()
            self._outbox.added.clear()
            leased = await self._outbox.lease()
            if leased is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(jittered(POLL_S)):
                        await self._outbox.added.wait()
                continue
            confirmed = await self._confirmed(leased.events)
            await self._outbox.remove(leased, confirmed)
            if len(confirmed) == len(leased.events):
                pause = MIN_BACKOFF_S
                continue
            log.warning("%s of %s events not confirmed", len(leased.events) - len(confirmed), len(leased.events))
            await asyncio.sleep(jittered(pause))
            pause = longer_pause(pause)

    async def measure(self) -> None:
        """Measure the backlog continuously, whether or not Kafka is available."""
        while True:
            await self._outbox.measure()
            await asyncio.sleep(jittered(MEASURE_PERIOD_S))

    async def _confirmed(self, events: Sequence[Event]) -> list[Event]:
        """Publish events of one appointment sequentially, and of different appointments concurrently."""
        chains: dict[UUID, list[Event]] = {}
        for event in events:
            chains.setdefault(event.appointment, []).append(event)
        confirmed: list[Event] = []

        async def publish_in_order(chain: list[Event]) -> None:
            for event in chain:
                await self._events.publish(event.tenant, event.body)
                confirmed.append(event)

        with suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await asyncio.gather(*map(publish_in_order, chains.values()), return_exceptions=True)
        return confirmed
