"""Kafka: events are published after the commit, and read back by a consumer that counts them.

Neither side needs a broker to be there: both are started again, after growing pauses, until it works.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from .cache import Cache
from .logs import correlation, log
from .metrics import events_unpublished
from .settings import Kafka

TOPIC = "appointments"
"""Made by the broker on first use, with its own defaults for partitions and replication."""

PUBLISH_S = 2
STOP_S = 2
LONGEST_PAUSE_S = 5


class Events:
    """What happened, told to whoever listens."""

    def __init__(self, kafka: Kafka, service: str, cache: Cache) -> None:
        self._kafka = kafka
        self._service = service
        self._cache = cache
        self._producer: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Starts producer and consumer in the background; returns at once."""
        self._tasks = [
            asyncio.create_task(again_and_again("producer", self._produce)),
            asyncio.create_task(again_and_again("consumer", self._consume)),
        ]

    async def close(self) -> None:
        """Stops both; what was published has been sent by then or is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def check(self) -> None:
        """Raises unless a broker answers."""
        if self._producer is None:
            raise KafkaConnectionError("not connected yet")
        await self._producer.client.fetch_all_metadata()

    async def publish(self, kind: str, tenant: UUID, **body: object) -> None:
        """Waits up to 2 seconds for the brokers' confirmation; without it the event counts as unpublished."""
        event = {
            "id": str(uuid4()),
            "type": kind,
            "service": self._service,
            "tenant_id": str(tenant),
            "at": datetime.now(UTC).isoformat(),
            "correlation_id": correlation.get(),
            **body,
        }
        try:
            if self._producer is None:
                raise KafkaConnectionError("not connected yet")
            async with asyncio.timeout(PUBLISH_S):
                await self._producer.send_and_wait(
                    TOPIC, key=str(tenant).encode(), value=json.dumps(event, default=str).encode()
                )
        except (KafkaError, TimeoutError) as error:
            events_unpublished.inc()
            log.error("event not published: %s", type(error).__name__, extra={"fields": {"event": event["id"]}})

    async def _produce(self) -> None:
        producer = AIOKafkaProducer(**self._connection(), acks="all", request_timeout_ms=5_000)
        try:
            await producer.start()
            # Makes the topic where it isn't there yet. That may take longer than an event waits.
            await producer.partitions_for(TOPIC)
            self._producer = producer
            await asyncio.Event().wait()  # from here on the client reconnects by itself
        finally:
            self._producer = None
            await stop(producer)

    async def _consume(self) -> None:
        consumer = AIOKafkaConsumer(
            TOPIC,
            **self._connection(),
            group_id=f"{self._service}-projection",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            metadata_max_age_ms=30_000,
        )
        try:
            await consumer.start()
            while True:
                batches = await consumer.getmany(timeout_ms=1_000)
                for messages in batches.values():
                    for message in messages:
                        await self._count(message.value)
                if batches:
                    await consumer.commit()  # only what Redis has; after a crash a message may be counted twice
        finally:
            await stop(consumer)

    async def _count(self, value: bytes) -> None:
        try:
            event = json.loads(value)
            tenant, kind = UUID(event["tenant_id"]), str(event["type"])
        except (ValueError, TypeError, KeyError, AttributeError):
            log.error("message in topic %s is no event; passed over", TOPIC)
            return
        await self._cache.count_event(tenant, kind)

    def _connection(self) -> dict[str, Any]:
        kafka = self._kafka
        parameters: dict[str, Any] = {
            "bootstrap_servers": kafka.brokers,
            "client_id": self._service,
            "security_protocol": kafka.security_protocol,
        }
        if kafka.security_protocol != "PLAINTEXT":
            parameters["ssl_context"] = ssl.create_default_context()
        if kafka.security_protocol == "SASL_SSL":
            parameters |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": kafka.username,
                "sasl_plain_password": kafka.password,
            }
        return parameters


async def again_and_again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Starts work that should never end each time it ends; the pauses double, and a good minute resets them."""
    pause = 1.0
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await work()
        except Exception as error:
            log.warning("kafka %s stopped: %s", name, type(error).__name__)
        if asyncio.get_running_loop().time() - started > 60:
            pause = 1.0
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 (spreads the copies, hides nothing)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def stop(client: Any) -> None:
    """Leaves the cluster, or gives up on it."""
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_S):
            await client.stop()
