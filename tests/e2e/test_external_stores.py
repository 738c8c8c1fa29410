"""A stack with external stores: its databases are created there, and services and exporters use them.

The tests share one stack and run in file order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from settings.catalog import SERVICES
from settings.monitoring import ExportersSettings
from tests.e2e import full_stack
from tests.e2e.managed_stores import ADMIN, ManagedStores, managed_stores
from tests.e2e.monitored_stack import MonitoredStack, engine_address, lacking_images, monitoring
from tests.engine import docker_engine
from tests.engine.waiting import until

DEPLOYED = ("user", "payment")


@dataclass(frozen=True)
class Deployment:
    """The stack, and the external stores that it uses."""

    stack: MonitoredStack
    stores: ManagedStores


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Bring the stack up; remove it before the stores at the end."""
    if reason := lacking_images():
        pytest.skip(reason)
    clients = [full_stack.SERVICE_IMAGE, ExportersSettings().redis, ExportersSettings().kafka]
    with managed_stores(tmp_path_factory.mktemp("tls"), engine_address(), clients) as stores:
        stack = MonitoredStack(tmp_path_factory.mktemp("deployment"), configuration=configuration(stores))
        stack.set_secrets({**stores.passwords, "stripeSecretKey": "canary", "stripeWebhookSecret": "canary"})
        try:
            stack.up().succeeded()
            yield Deployment(stack, stores)
        finally:
            stack.remove()


def configuration(stores: ManagedStores) -> dict[str, object]:
    """Return the configuration of two services behind the gateway, and their monitoring."""
    trusting = stores.trusting
    described = full_stack.configuration(
        {"deploy": [*DEPLOYED], "image": trusting[full_stack.SERVICE_IMAGE], "overrides": full_stack.PUBLIC}
    )
    exporters = {"redis": trusting[ExportersSettings().redis], "kafka": trusting[ExportersSettings().kafka]}
    return described | {**stores.configuration(), "monitoring": monitoring(5, exporters=exporters)}


def test_the_stack_runs_no_stores_and_keeps_none_of_their_data(deployment: Deployment) -> None:
    running = docker_engine.workloads(deployment.stack.name).keys()
    assert {"databases", *DEPLOYED} <= running
    assert {"postgres", "redis", "kafka", "zookeeper"} & running == set()
    kept = {
        name.removeprefix("pti-").rpartition("-")[0] for name in docker_engine.persistent_volumes(deployment.stack.name)
    }
    assert kept == {"prometheus-data", "alertmanager-data"}


def test_the_journey_passes(deployment: Deployment) -> None:
    deployment.stack.platform().journey()


def test_the_databases_exist_and_every_session_is_encrypted(deployment: Deployment) -> None:
    databases = deployment.stores.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pti%'")
    assert {*databases} == {service.database for service in SERVICES}
    sessions = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL"
    open_now = deployment.stores.sql(f"SELECT DISTINCT usename, ssl {sessions}")
    assert {f"{service.role('app')}|t" for service in SERVICES if service.name in DEPLOYED} <= {*open_now}
    assert [one for one in open_now if not one.endswith("|t")] == []


@pytest.mark.parametrize("figure", ["pg_up", "redis_up", "kafka_brokers"])
def test_the_exporters_connect_to_the_external_stores(deployment: Deployment, figure: str) -> None:
    until(figure, lambda: deployment.stack.value(figure) == 1)


def test_no_process_shows_a_password(deployment: Deployment) -> None:
    running = [one["Id"] for one in docker_engine.containers(deployment.stack.name) if one["State"]["Running"]]
    commands = "\n".join(docker_engine.docker("top", one, "-eo", "pid,args") for one in running)
    assert "kafka_exporter" in commands
    assert [key for key, password in deployment.stores.passwords.items() if password in commands] == []


def test_the_outputs_have_the_addresses_of_the_external_stores(deployment: Deployment) -> None:
    outputs, stores = deployment.stack.outputs(), deployment.stores
    assert (outputs.postgres.host, outputs.postgres.port) == (stores.address, stores.postgres_port)
    assert outputs.postgres.admin_role == ADMIN
    assert (outputs.redis.host, outputs.redis.port) == (stores.address, stores.redis_port)
    assert outputs.kafka.bootstrap_servers == f"{stores.address}:{stores.kafka_port}"
    assert outputs.credentials.redis == stores.passwords["redisPassword"]


def test_a_second_run_changes_nothing(deployment: Deployment) -> None:
    deployment.stack.preview("--expect-no-changes").succeeded()
