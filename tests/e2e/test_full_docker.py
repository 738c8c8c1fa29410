"""The whole platform on one Docker engine: used, inspected, broken, changed, and destroyed.

The tests share one stack and run in file order; each leaves the platform healthy, the last one keeps its data.
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.gateway.nginx import CERTIFICATE_DIRECTORY
from settings.catalog import FRONTENDS, SERVICES
from settings.credentials import PGADMIN, app_role_credential, migrator_role_credential, third_party
from testbed import ext4
from tests.e2e import full_stack
from tests.e2e.bookings import Bookings, stored
from tests.e2e.full_stack import FRONTEND_IMAGE, PUBLIC, PUBLIC_SERVICE, SERVICE_IMAGE, VOLUMES, FullStack, timed
from tests.e2e.journey import Journey
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.e2e.self_signed import self_signed
from tests.engine import docker_engine
from tests.engine.canary import canaries, found_below, found_in, found_in_volumes, watched_arguments
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import Outcome
from tests.engine.waiting import until
from tests.failures import FailureRecord

NAMES = [service.name for service in SERVICES]
WORKLOADS = {
    *("postgres", "databases", "redis", "zookeeper", "kafka", "kong", "nginx"),
    *(frontend.name for frontend in FRONTENDS),
    *NAMES,
    *(f"{name}-migrations" for name in NAMES),
}
UNUSED_SECRETS = {PGADMIN.key, "kafkaPassword", "postgresMonitorPassword", "grafanaPassword"} | {
    "alertEmailPassword",
    "alertWebhookUrl",
    "heartbeatWebhookUrl",
}
"""Credentials of components that this stack doesn't run."""

FULL = {"services": {"deploy": "all"}, "frontends": {"deploy": "all", "image": FRONTEND_IMAGE}}
CRASHES = ("postgres", "redis", "kafka", "rdv")
CHANGED_SERVICE, REMOVED_SERVICE = "rdv", "audit"
REQUESTS_PER_MINUTE = 60
LIMITED = {"gateway": {"rateLimit": {"perMinute": REQUESTS_PER_MINUTE}}}
COPY_CERTIFICATE_SCRIPT = "cat /here/{0}/tls.key >/shown/tls.key && cat /here/{0}/tls.crt >/shown/tls.crt"
"""A shell command that replaces nginx' certificate and key, with the files' owners and modes unchanged."""


@dataclass(frozen=True)
class FullPlatform:
    """The stack, up, with a canary value as every credential."""

    stack: FullStack
    platform: Platform
    outcomes: dict[str, Outcome]
    arguments: set[str]
    """Command lines of this machine's processes during the stack's creation."""


@pytest.fixture(scope="module")
def full_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullPlatform]:
    """Create the stack; remove it with its data after the module's tests."""
    described = full_stack.configuration(FULL["services"]) | {"frontends": FULL["frontends"]}
    with (
        full_stack.full_stack(tmp_path_factory.mktemp("full"), described) as stack,
        full_stack.on_block_volumes(stack, tmp_path_factory.mktemp("volumes")),
    ):
        stack.set_secrets({key: value for key, value in canaries().items() if key not in UNUSED_SECRETS})
        with watched_arguments() as arguments, timed("up from nothing"):
            up = stack.up().succeeded()
        yield FullPlatform(stack, stack.platform(), {"up": up}, arguments)


def test_everything_is_up_and_healthy(full_platform: FullPlatform) -> None:
    assert docker_engine.workloads(full_platform.stack.name) == dict.fromkeys(WORKLOADS, "healthy")


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_store_runs_on_a_new_ext4_file_system(full_platform: FullPlatform, volume: str) -> None:
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    container = full_platform.stack.container(VOLUMES[volume].workload)
    (mount,) = (
        one["Destination"] for one in container["Mounts"] if one.get("Name") == f"{volume}-{full_platform.stack.name}"
    )
    assert "lost+found" in docker("exec", container["Id"], "ls", mount).split()


def test_the_journey_passes(full_platform: FullPlatform) -> None:
    full_platform.platform.journey()
    full_platform.platform.check_unknown_host()


def test_a_renewed_certificate_is_shown_without_a_restart(full_platform: FullPlatform, tmp_path: Path) -> None:
    """The files change while nginx runs, as a kubelet updates them."""
    container, before = full_platform.stack.container("nginx"), full_platform.platform.served_certificate()
    (volume,) = (one["Name"] for one in container["Mounts"] if one["Destination"] == CERTIFICATE_DIRECTORY)
    renewed, kept = tmp_path / "renewed", tmp_path / "kept"
    kept.mkdir()
    self_signed(renewed, f"DNS:{full_platform.platform.api_host}")
    mounts = ("--volume", f"{volume}:/shown", "--volume", f"{tmp_path}:/here", "--user", "0", "--entrypoint", "sh")
    change = ("run", "--rm", *mounts, container["Config"]["Image"], "-c")

    docker(*change, f"cp /shown/* /here/kept/ && {COPY_CERTIFICATE_SCRIPT.format('renewed')}")
    with timed("the renewed certificate is shown"):
        until("another certificate", lambda: full_platform.platform.served_certificate() != before)
    assert full_platform.platform.served_certificate() == ssl.PEM_cert_to_DER_cert((renewed / "tls.crt").read_text())

    docker(*change, COPY_CERTIFICATE_SCRIPT.format("kept"))
    until("the previous certificate is served", lambda: full_platform.platform.served_certificate() == before)
    assert full_platform.stack.container("nginx")["State"]["StartedAt"] == container["State"]["StartedAt"]


def test_each_service_only_reaches_its_own_database(full_platform: FullPlatform) -> None:
    Journey(full_platform.stack.name, full_platform.stack.outputs(), None).databases()


def test_a_second_run_changes_nothing(full_platform: FullPlatform) -> None:
    before = _started(full_platform.stack)
    assert full_platform.stack.up("--refresh").succeeded().changes == []
    full_platform.outcomes["preview"] = full_platform.stack.preview("--diff", "--expect-no-changes").succeeded()
    assert _started(full_platform.stack) == before


def test_no_secret_is_exposed(full_platform: FullPlatform) -> None:
    """No command, state, engine object, process argument or log contains one."""
    stack = full_platform.stack
    texts = {name: outcome.output + outcome.events() for name, outcome in full_platform.outcomes.items()}
    texts |= {"stack export": json.dumps(stack.export()), "stack output": stack.shown_outputs()}
    texts |= {"networks": json.dumps(docker_engine.networks(stack.name))}
    texts |= {"volumes": json.dumps(docker_engine.volumes(stack.name))}
    for container in docker_engine.containers(stack.name):
        texts[container["Name"]] = json.dumps(container)
        texts[f"logs of {container['Name']}"] = docker("logs", container["Id"])
    assert {f"/pti-{name}-{stack.name}" for name in WORKLOADS} <= texts.keys()
    assert {what: found for what, text in texts.items() if (found := found_in(text))} == {}
    assert [what for what, text in texts.items() if "PRIVATE KEY" in text] == []
    assert found_below(stack.state) == {}
    assert any("pulumi" in line for line in full_platform.arguments)
    assert {line for line in full_platform.arguments if found_in(line)} == set()


def test_each_secret_is_only_in_the_containers_that_need_it(full_platform: FullPlatform) -> None:
    """Every volume is searched, including the stores' data."""
    needed = {
        "postgres-admin": {"postgresPassword"},
        "databases-admin": {"postgresPassword"},
        "databases-roles": {"postgresBackupPassword"},
        "redis-password": {"redisPassword"},
        "kong-configuration": {"redisPassword", "jwtSecret"},
    }
    for service in SERVICES:
        needed["databases-roles"] |= {app_role_credential(service).key, migrator_role_credential(service).key}
        needed[f"{service.name}-migrations-secrets"] = {migrator_role_credential(service).key}
        needed[f"{service.name}-secrets"] = {app_role_credential(service).key, "redisPassword", "jwtSecret"}
        needed[f"{service.name}-secrets"] |= {third_party(one).key for one in service.secrets}
    found = found_in_volumes(full_platform.stack.name)
    # The engine's volume name is the resource's name between a prefix, a hash of the file names, and the stack's name.
    assert {name.removeprefix("pti-").rsplit("-", 2)[0]: keys for name, keys in found.items()} == needed


@pytest.mark.restarts("the engine restarts a crashed container")
@pytest.mark.parametrize("workload", CRASHES)
def test_after_a_crash_under_load_the_platform_recovers_with_every_acknowledged_booking(
    full_platform: FullPlatform, workload: str, failure_record: FailureRecord
) -> None:
    effect = "requests that need it fail or wait until it is back"
    failure_record.begin(f"{workload} is killed (SIGKILL) under load", on="Docker", effect=effect)
    bookings = Bookings(full_platform.platform)
    with Load(bookings.next, per_second=5, max_duration_s=300, workers=32) as load:
        until("bookings succeed", lambda: len(bookings.acknowledged) > 5)
        with failure_record.measure_recovery(), timed(f"recovered after a crash of {workload}"):
            full_platform.stack.crash(workload)
            full_platform.platform.seconds_until_recovered()
        before = len(bookings.acknowledged)
        until("bookings succeed again", lambda: len(bookings.acknowledged) > before)
    print(f"{len(load.samples)} requests, {len(load.failures)} of them failed")
    compared = bookings.compared(stored(full_platform.stack.outputs(), bookings.run))
    assert compared.agrees, compared
    failure_record.set_lost(f"nothing: {compared.acknowledged} of {compared.acknowledged} acknowledged bookings")
    failure_record.set_requests(load)
    # The platform counts as healthy before services that tolerate an outage have reconnected to Redis or Kafka.
    full_platform.stack.inside().wait_until_unavailable()
    full_platform.platform.journey()


@pytest.fixture
def newer_image(full_platform: FullPlatform) -> Iterator[str]:
    """Return the service's image with another version, under a unique tag."""
    repository, tag = SERVICE_IMAGE.rpartition(":")[0], f"1.0.1-{full_platform.stack.name}"
    source = docker("create", SERVICE_IMAGE).strip()
    docker("commit", "--change", f"ENV VERSION={tag}", source, f"{repository}:{tag}")
    docker("rm", source)
    yield f"{repository}:{tag}"
    docker("image", "rm", "--force", f"{repository}:{tag}")


def test_a_new_image_of_one_service_only_replaces_that_service(
    full_platform: FullPlatform, newer_image: str, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "A service is released",
        on="Docker",
        effect="the service is unavailable while its only container is replaced; others aren't affected",
    )
    tenant = uuid.uuid4()
    assert full_platform.platform.book(tenant, CHANGED_SERVICE).status == 201
    before = _started(full_platform.stack)

    full_platform.stack.configure({"services": {"overrides": {**PUBLIC, CHANGED_SERVICE: {"image": newer_image}}}})
    shown = full_platform.stack.preview().succeeded()
    with Load.of(
        lambda: full_platform.platform.call("GET", f"/api/{PUBLIC_SERVICE}/public/info"), max_duration_s=300
    ) as load:
        rolled = full_platform.stack.up().succeeded()

    own = {f"{CHANGED_SERVICE}{part}" for part in ("", "-secrets", "-migrations", "-migrations-secrets")}
    records = {newer_image, f"{CHANGED_SERVICE}-ready", "addresses"}
    for outcome in (shown, rolled):
        assert outcome.replaced == own
        assert {line.rpartition(" ")[2] for line in outcome.changes} == own | records
    after = _started(full_platform.stack)
    assert {name for name, started in before.items() if after[name] != started} == own
    info = full_platform.platform.call("GET", f"/api/{CHANGED_SERVICE}/public/info", full_platform.platform.token())
    assert info.json == {"service": CHANGED_SERVICE, "version": newer_image.rpartition(":")[2]}
    assert len(full_platform.platform.titles(tenant, CHANGED_SERVICE)) == 1
    assert (load.succeeded > 0, load.failures) == (True, []), "the other services keep running"
    failure_record.set_lost("nothing")
    failure_record.set_requests(load)


def test_a_service_that_is_removed_and_added_again_finds_its_rows(full_platform: FullPlatform) -> None:
    """The last update also lowers the limit without an additional update: Kong is replaced for the route anyway."""
    tenant = uuid.uuid4()
    assert full_platform.platform.book(tenant, REMOVED_SERVICE, "kept").status == 201

    full_platform.stack.configure(
        {"services": {"deploy": [name for name in NAMES if name != REMOVED_SERVICE], "overrides": PUBLIC}}
    )
    full_platform.stack.up().succeeded()
    assert docker_engine.workloads(full_platform.stack.name) == dict.fromkeys(
        WORKLOADS - {REMOVED_SERVICE, f"{REMOVED_SERVICE}-migrations"}, "healthy"
    )
    assert full_platform.platform.listed(tenant, REMOVED_SERVICE).status == 404
    assert full_platform.platform.book(tenant, CHANGED_SERVICE).status == 201

    full_platform.stack.configure({"services": {"deploy": "all"}} | LIMITED)
    full_platform.outcomes["limited"] = full_platform.stack.up().succeeded()
    assert full_platform.platform.titles(tenant, REMOVED_SERVICE) == ["kept"]


def test_requests_over_the_limit_get_429_with_retry_after(full_platform: FullPlatform) -> None:
    if "limited" not in full_platform.outcomes:  # This test runs alone.
        full_platform.stack.configure(LIMITED)
        full_platform.outcomes["limited"] = full_platform.stack.up().succeeded()
    full_platform.platform.check_rate_limit(REQUESTS_PER_MINUTE)


def test_destroy_keeps_the_data(full_platform: FullPlatform) -> None:
    kept = docker_engine.persistent_volumes(full_platform.stack.name)
    assert {name.removesuffix(f"-{full_platform.stack.name}") for name in kept} == VOLUMES.keys()

    full_platform.stack.destroy().succeeded()

    assert docker_engine.containers(full_platform.stack.name) == []
    assert docker_engine.networks(full_platform.stack.name) == []
    assert {one["Name"] for one in docker_engine.volumes(full_platform.stack.name)} == kept


def _started(stack: FullStack) -> dict[str, tuple[str, str]]:
    """Map each container, by its resource's name, to its ID and start time."""
    return {
        one["Name"].removeprefix("/pti-").removesuffix(f"-{stack.name}"): (one["Id"], one["State"]["StartedAt"])
        for one in docker_engine.containers(stack.name)
    }
