"""The stores behind every service."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from backends.base import Backend
from components.credentials import Credentials
from components.data_layer import kafka, postgres, redis
from settings.applications import Services
from settings.stores import Kafka, Postgres, Redis

TYPE = "pti-calendar:index:DataLayer"


@dataclass(frozen=True, kw_only=True)
class DataLayerArgs:
    """Arguments of the data layer."""

    backend: Backend
    credentials: Credentials
    postgres: Postgres
    services: Services
    """The services that open connections to PostgreSQL, and how many."""

    redis: Redis
    kafka: Kafka
    cluster: str
    """Source of Kafka's cluster id. After a change a broker would reject its kept volume."""


class DataLayer(pulumi.ComponentResource):
    """PostgreSQL with a database per service, Redis, and Kafka: each run by the stack, or managed elsewhere.

    The stores start side by side. Whoever needs a database waits for the task that creates it.
    """

    def __init__(self, name: str, args: DataLayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        self.postgres = postgres.deploy(args.postgres, args.services, args.credentials, args.backend, parent=self)
        self.redis = redis.deploy(args.redis, args.credentials, args.backend, parent=self)
        self.kafka = kafka.deploy(args.kafka, args.backend, cluster=args.cluster, parent=self)
        self.register_outputs({})
