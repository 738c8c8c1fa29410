"""The stores behind every service."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from backends.base import Backend
from components.credentials import Credentials
from components.data_layer import kafka, postgres, redis
from settings.credentials import REDIS
from settings.models import Kafka, Postgres, Redis

TYPE = "pti-calendar:index:DataLayer"


@dataclass(frozen=True, kw_only=True)
class DataLayerArgs:
    """What the stores are made of."""

    backend: Backend
    credentials: Credentials
    postgres: Postgres
    redis: Redis
    kafka: Kafka
    cluster: str
    """What Kafka's cluster id is derived from; a change would lock a broker out of its kept volume."""


class DataLayer(pulumi.ComponentResource):
    """PostgreSQL with a database per service, Redis, and Kafka with or without ZooKeeper.

    The three stores start side by side. Whoever needs a database waits for `databases`, the task that creates them.
    """

    def __init__(self, name: str, args: DataLayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        workloads = [
            postgres.server(args.postgres, args.credentials),
            postgres.databases(args.postgres, args.credentials),
            redis.server(args.redis, args.credentials.find(REDIS)),
            *kafka.workloads(args.kafka, cluster=args.cluster, published_host=args.backend.published_host),
        ]
        for workload in workloads:
            args.backend.deploy(workload, parent=self)
        self.postgres = postgres.ENDPOINT
        self.databases = postgres.DATABASES
        self.redis = redis.ENDPOINT
        self.kafka = kafka.ENDPOINT
        self.register_outputs({})
