"""Two configurations, each with free host ports."""

from __future__ import annotations

from typing import Any

from tests.ports import free_ports


def kraft() -> dict[str, Any]:
    """Return a configuration with the stores only: Kafka without ZooKeeper, and generated credentials."""
    postgres, redis, kafka = free_ports(3)
    return {"postgres": {"port": postgres}, "redis": {"port": redis}, "kafka": {"port": kafka, "mode": "kraft"}}


def zookeeper_with_tools() -> dict[str, Any]:
    """Return a configuration with every component of the dev stack, set as in dev."""
    postgres, redis, kafka, zookeeper, pg_admin, kafka_ui, redis_commander = free_ports(7)
    return {
        "credentials": "well-known",
        "postgres": {"port": postgres},
        "redis": {"port": redis},
        "kafka": {"port": kafka, "zookeeper": {"port": zookeeper}},
        "devTools": {
            "enabled": True,
            "pgAdmin": {"port": pg_admin},
            "kafkaUi": {"port": kafka_ui},
            "redisCommander": {"port": redis_commander},
        },
    }
