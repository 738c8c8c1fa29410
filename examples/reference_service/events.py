"""Kafka: a producer for the relay, and a consumer that stores what it reads.

Neither needs a broker at start: both are restarted with a growing back-off until one is available.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from .logs import log
from .received import ReceivedEvent, ReceivedEvents
from .settings import Kafka

TOPIC = "appointments"
"""The broker creates it on first use, with its default partitions and replication."""

REQUEST_TIMEOUT_MS = 5_000
"""Timeout for a broker's response and for an event's acknowledgement, after which the library stops sending it."""

STOP_TIMEOUT_S = 2


class Events:
    """The topic of all services' events."""

    def __init__(self, kafka: Kafka, service: str, received: ReceivedEvents) -> None:
        self._kafka = kafka
        self._service = service
        self._received = received
        self._producer: Any = None
        self.connected = asyncio.Event()
        """Set while a producer exists. If a broker fails later, it stays set and `publish` fails."""

    async def check(self) -> None:
        """Raise unless a broker responds."""
        if self._producer is None:
            raise KafkaConnectionError("not connected yet")
        await self._producer.client.fetch_all_metadata()

    async def publish(self, tenant: UUID, body: str) -> None:
        """Return when the brokers have confirmed the event; raise if they haven't in time."""
        if self._producer is None:
            raise KafkaConnectionError("not connected")
        await self._producer.send_and_wait(TOPIC, key=str(tenant).encode(), value=body.encode())

    async def produce(self) -> None:
        """Keep a producer connected, until that fails."""
        producer = AIOKafkaProducer(**self._connection(), acks="all", request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await producer.start()
            # Creates a missing topic, which may take longer than the timeout of an event.
            await producer.partitions_for(TOPIC)
            self._producer = producer
            self.connected.set()
            await asyncio.Event().wait()  # From now on, the client reconnects by itself.
        finally:
            self.connected.clear()
            self._producer = None
            await stop(producer)

    async def consume(self) -> None:
        """Store every event, until that fails; events that weren't stored are read again."""
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
                messages = [message for batch in batches.values() for message in batch]
                if messages:
                    events = [event for message in messages if (event := parsed(message.value))]
                    await self._received.keep(events)
                    await consumer.commit()
        finally:
            await stop(consumer)

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


def parsed(message: bytes | None) -> ReceivedEvent | None:
    """Return the event in a message; None if there is none, which is logged and skipped."""
    try:
        event = json.loads(message or b"")
        return ReceivedEvent(UUID(event["tenant_id"]), UUID(event["id"]), str(event["type"]).replace("\x00", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        log.error("message in topic %s is not an event; skipped", TOPIC)
        return None


async def stop(client: Any) -> None:
    """Stop the client, with a timeout."""
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await client.stop()
