"""`make dev` in a fresh clone, and everything that a developer does afterwards, on the real engine.

It uses the stack `dev` on its default ports, because developers do. If the engine already has that stack or its data,
the tests are skipped. The tests run in file order; the last one deletes the data.
"""

from __future__ import annotations

import getpass
import json
import re
import shlex
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from benchmarks import memory
from contract import StackOutputs
from tests.e2e.clone import Clone, Outcome
from tests.e2e.journey import Journey
from tests.engine import docker_engine, restarts
from tests.engine.stores import Stores
from tests.engine.waiting import until
from tests.failures import FailureRecord

STACK = "dev"
WORKLOADS = {"postgres", "databases", "redis", "zookeeper", "kafka", "pgadmin", "kafka-ui", "redis-commander"}
DEFAULT_PORTS = {"postgres": 5432, "redis": 6379, "zookeeper": 2181, "kafka": 9092} | {
    "pgadmin": 5050,
    "kafka-ui": 8080,
    "redis-commander": 8081,
}
MARKER = "written-before-the-destroy"
ZOOKEEPER_PORT = DEFAULT_PORTS["zookeeper"]


class DevStack:
    """The clone in which `make dev` ran, and its output."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.first = clone.run("make", "dev")

    def outputs(self) -> StackOutputs[str]:
        """Return the stack outputs, including secrets."""
        outcome = self.clone.activated(f"pulumi stack output --json --show-secrets --stack {STACK}").succeeded()
        return StackOutputs.parse(json.loads(outcome.output))

    def journey(self) -> Journey:
        """Return the journey over its ports."""
        return Journey(STACK, self.outputs(), ZOOKEEPER_PORT)

    def wipe(self, typed: str) -> Outcome:
        """Run `make wipe STACK=dev` with a given answer."""
        return self.clone.run("make", "wipe", f"STACK={STACK}", typed=typed)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """The dev stack, up; removed with its data after the module's tests."""
    if docker_engine.containers(STACK) or docker_engine.persistent_volumes(STACK):
        pytest.skip("this engine has a stack 'dev' with data of its own: delete it first (make wipe STACK=dev)")
    restarts.watch(STACK)
    clone = Clone(tmp_path_factory.mktemp("machine"))
    try:
        yield DevStack(clone)
    finally:
        unexecuted = docker_engine.unexecuted_checks(STACK)
        docker_engine.remove_everything(STACK)
    assert unexecuted == set()


@pytest.fixture(scope="module")
def marked(dev: DevStack) -> None:
    """Data in every store, which must survive the tests."""
    dev.first.succeeded()
    Stores(dev.outputs()).write(MARKER)


def test_one_command_starts_everything_on_the_default_ports(dev: DevStack) -> None:
    print(f"make dev: {dev.first.seconds:.0f} s, virtual environment included")
    dev.first.succeeded()

    health = docker_engine.workloads(STACK)
    assert health == dict.fromkeys(WORKLOADS, "healthy")
    published = {
        one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL]: binding
        for one in docker_engine.containers(STACK)
        for bindings in one["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {name: {"HostIp": "127.0.0.1", "HostPort": str(port)} for name, port in DEFAULT_PORTS.items()}


def test_the_state_and_its_passphrase_are_the_clones_own(dev: DevStack) -> None:
    passphrase = dev.clone.root / ".state" / "passphrase"

    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert stat.S_IMODE(passphrase.parent.stat().st_mode) == 0o700
    assert passphrase.read_text()
    assert not (dev.clone.pulumi_home / "credentials.json").exists(), "a login would apply to other projects"
    assert (dev.clone.root / ".state/.pulumi/stacks/pti-calendar/dev.json").exists()


def test_a_bare_preview_expects_no_changes(dev: DevStack) -> None:
    dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()


def test_a_second_make_dev_changes_nothing(dev: DevStack) -> None:
    before = {one["Id"]: one["State"]["StartedAt"] for one in docker_engine.containers(STACK)}
    files = dev.clone.files()

    again = dev.clone.run("make", "dev").succeeded()

    print(f"the second make dev: {again.seconds:.0f} s")
    assert {one["Id"]: one["State"]["StartedAt"] for one in docker_engine.containers(STACK)} == before
    changed = {name for name, time in dev.clone.files().items() if files.get(name) != time}
    assert {name for name in changed if not name.startswith(".state/.pulumi/")} == set()


def test_every_port_answers_in_its_own_protocol(dev: DevStack) -> None:
    dev.journey().whole()


def test_the_idle_stack_stays_under_two_gibibytes(dev: DevStack) -> None:
    found = memory.measured(STACK)

    print(", ".join(f"{one.workload} {one.resident_mib:.0f} MiB" for one in found))
    assert {one.workload for one in found} == WORKLOADS
    assert memory.total_mib(found) < memory.LIMIT_MIB


def test_status_lists_each_workload_with_its_health_and_port(dev: DevStack) -> None:
    lines = dev.clone.run("make", "status").succeeded().output.splitlines()[2:]

    shown = {line.split()[0]: line for line in lines}
    assert shown.keys() == WORKLOADS
    for workload, line in shown.items():
        assert "healthy" in line
        assert workload not in DEFAULT_PORTS or line.endswith(f"127.0.0.1:{DEFAULT_PORTS[workload]}")


def test_logs_show_what_a_workload_writes(dev: DevStack) -> None:
    python = ".venv/bin/python"

    shown = dev.clone.run(python, "-m", "operations", "logs", "postgres").succeeded()
    assert "database system is ready to accept connections" in shown.output
    unknown = dev.clone.run(python, "-m", "operations", "logs", "postgresql").failed()
    assert "runs no 'postgresql'; it runs databases, kafka" in unknown.output


def test_the_environment_file_of_a_service_gives_access_to_its_stores(dev: DevStack) -> None:
    dev.clone.run("make", "env", "SERVICE=user").succeeded()

    path = dev.clone.root / ".env.user"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dev.clone.run("git", "init", "--quiet").code == 0
    assert dev.clone.run("git", "check-ignore", "--quiet", ".env.user").code == 0, "git would add it"
    # Load the file in a shell, as its first lines describe.
    printed = dev.clone.run("sh", "-c", f"set -a; . ./{shlex.quote(path.name)}; set +a; env -0").succeeded().output
    given = dict(entry.split("=", 1) for entry in printed.split("\0") if "=" in entry)
    assert given["PORT"] == "4000"
    for url, user in ((given["DATABASE_URL"], "pti_user_app"), (given["MIGRATION_DATABASE_URL"], "pti_user_migrator")):
        with psycopg.connect(url) as session:
            assert session.execute("SELECT session_user, current_database()").fetchone() == (user, "pti_user")
    with psycopg.connect(
        host=given["DATABASE_HOST"],
        port=int(given["DATABASE_PORT"]),
        dbname=given["DATABASE_NAME"],
        user=given["DATABASE_USER"],
        password=given["DATABASE_PASSWORD"],
    ) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    outputs = dev.outputs()
    assert (given["REDIS_HOST"], int(given["REDIS_PORT"])) == (outputs.redis.host, outputs.redis.port)
    assert given.get("REDIS_PASSWORD") == outputs.credentials.redis
    assert given["KAFKA_BROKERS"] == outputs.kafka.bootstrap_servers
    assert given["JWT_SECRET"] == outputs.credentials.jwt_secret


@pytest.mark.usefixtures("marked")
def test_a_destroyed_stack_is_created_again_with_its_data(dev: DevStack) -> None:
    kept = set(docker_engine.persistent_volumes(STACK))
    assert len(kept) == 5

    dev.clone.run("make", "destroy", f"STACK={STACK}", typed=f"{STACK}\n").succeeded()
    assert docker_engine.containers(STACK) == []
    assert docker_engine.networks(STACK) == []
    assert {one["Name"] for one in docker_engine.volumes(STACK)} == kept, "those with data stay, those with files go"
    dev.clone.activated(f"pulumi up -s {STACK} --yes").succeeded()

    Stores(dev.outputs()).check(MARKER)
    assert set(docker_engine.persistent_volumes(STACK)) == kept


@pytest.mark.usefixtures("marked")
def test_kafka_changes_its_mode_and_back(dev: DevStack) -> None:
    postgres = _container_id("postgres")
    try:
        dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:kafka.mode kraft").succeeded()
        _give_up_kafkas_data(dev)
        dev.clone.activated(f"pulumi up -s {STACK} --yes").succeeded()
        assert docker_engine.workloads(STACK) == dict.fromkeys(WORKLOADS - {"zookeeper"}, "healthy")
        assert _container_id("postgres") == postgres, "only Kafka's containers are replaced"
        journey = Journey(STACK, dev.outputs(), None)
        journey.kafka()
        journey.kafka_ui()
        dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()
    finally:
        dev.clone.activated(f"pulumi config rm -s {STACK} --path pti-calendar:kafka.mode").succeeded()
    _give_up_kafkas_data(dev)
    dev.clone.activated(f"pulumi up -s {STACK} --yes").succeeded()
    # The volumes of ZooKeeper mode are used again, with their data.
    Stores(dev.outputs()).check(MARKER)


@pytest.mark.usefixtures("marked")
def test_make_dev_completes_a_killed_run(dev: DevStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "`make dev` is killed while it replaces Redis", on="Docker", effect="the next `make dev` completes it"
    )
    redis = _container_id("redis")
    dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:redis.maxMemoryMib 96").succeeded()
    with dev.clone.started("make", "dev") as make:
        until("the update replaces redis", lambda: redis not in {one["Id"] for one in docker_engine.containers(STACK)})
        make.kill()
    locked = dev.clone.activated(f"pulumi up -s {STACK} --yes").failed()
    assert "pulumi cancel" in locked.output, "the killed update has left its lock"

    with failure_record.measure_recovery():
        repair = dev.clone.run("make", "dev").succeeded()

    assert "removing the lock of a killed update" in repair.output
    assert docker_engine.workloads(STACK) == dict.fromkeys(WORKLOADS, "healthy")
    Stores(dev.outputs()).check(MARKER)
    dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()
    # A preview that refreshes doesn't mention pending operations.
    state = json.loads(dev.clone.activated(f"pulumi stack export -s {STACK}").succeeded().output)
    assert state["deployment"].get("pending_operations", []) == []
    failure_record.set_lost("nothing: rows, keys and events still exist")


def _remove_postgres(dev: DevStack) -> None:
    docker_engine.docker("rm", "--force", "pti-postgres-dev")


def _stop_and_prune(dev: DevStack) -> None:
    """Stop and prune this stack as `docker stop $(docker ps -q)` and `docker system prune -f` do."""
    own = ("--filter", f"label={docker_engine.STACK_LABEL}={STACK}")
    docker_engine.docker("stop", *docker_engine.docker("ps", "--quiet", *own).split())
    for kind in ("container", "network"):
        docker_engine.docker(kind, "prune", "--force", *own)
    assert docker_engine.containers(STACK) == []


def _disconnect_and_pause(dev: DevStack) -> None:
    for network in docker_engine.networks(STACK):
        for container in network["Containers"].values():
            if container["Name"] in ("pti-redis-dev", "pti-postgres-dev"):
                docker_engine.docker("network", "disconnect", network["Name"], container["Name"])
    docker_engine.docker("update", "--restart", "no", "pti-redis-dev")
    docker_engine.docker("pause", "pti-kafka-dev")


DAMAGES = {
    "Redis and PostgreSQL are disconnected from their networks, and Kafka is paused, by hand": _disconnect_and_pause,
    "PostgreSQL's container is removed by hand": _remove_postgres,
    "Every container of the dev stack is stopped, and the engine pruned": _stop_and_prune,
}


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("damage", DAMAGES)
def test_make_dev_recreates_what_was_removed_by_hand(dev: DevStack, failure_record: FailureRecord, damage: str) -> None:
    failure_record.begin(damage, on="Docker", effect="the affected containers don't respond until the next `make dev`")
    with failure_record.measure_recovery():
        DAMAGES[damage](dev)
        repaired = dev.clone.run("make", "dev").succeeded()

    print(f"{damage}: make dev took {repaired.seconds:.0f} s")
    assert docker_engine.workloads(STACK) == dict.fromkeys(WORKLOADS, "healthy")
    Stores(dev.outputs()).check(MARKER)
    failure_record.set_lost("nothing")
    dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()


def test_a_refused_setting_stops_make_dev_before_it_changes_anything(dev: DevStack) -> None:
    redis = _container_id("redis")
    dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:kafka.mode kraft").succeeded()
    dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:redis.maxMemoryMib 104").succeeded()

    refused = dev.clone.run("make", "dev").failed()

    assert "kafka.mode can't change from" in refused.output
    assert "nothing has been changed" in refused.output
    assert _container_id("redis") == redis
    dev.clone.activated(f"pulumi config rm -s {STACK} --path pti-calendar:kafka.mode").succeeded()
    dev.clone.run("make", "dev").succeeded()
    assert _container_id("redis") != redis


def test_a_lost_salt_is_restored(dev: DevStack) -> None:
    file = dev.clone.root / f"Pulumi.{STACK}.yaml"
    before = file.read_text()
    assert "encryptionsalt: " in before
    file.write_text("".join(line for line in before.splitlines(True) if not line.startswith("encryptionsalt")))

    again = dev.clone.run("make", "dev").succeeded()

    assert "restoring the line 'encryptionsalt'" in again.output
    assert yaml.safe_load(file.read_text()) == yaml.safe_load(before)


@pytest.mark.usefixtures("marked")
def test_the_command_in_the_message_replaces_a_damaged_state(dev: DevStack) -> None:
    """The state file is truncated, as after a crash before the file system wrote it to disk."""
    state = dev.clone.root / ".state/.pulumi/stacks/pti-calendar/dev.json"
    state.write_text(state.read_text()[:1000])

    refused = dev.clone.run("make", "dev").failed()
    command = re.search(r"^ *(cp .+)$", refused.output, re.MULTILINE)
    assert command, refused.output
    dev.clone.run("sh", "-c", command.group(1)).succeeded()

    dev.clone.run("make", "dev").succeeded()
    assert docker_engine.workloads(STACK) == dict.fromkeys(WORKLOADS, "healthy")
    Stores(dev.outputs()).check(MARKER)
    dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()


@pytest.mark.usefixtures("marked")
def test_a_second_clone_does_not_touch_the_first_ones_stack(dev: DevStack, tmp_path: Path) -> None:
    second = Clone(tmp_path, sibling=dev.clone)
    (second.root / ".venv").symlink_to(dev.clone.root / ".venv")
    running = {one["Id"] for one in docker_engine.containers(STACK)}

    refused = second.run("make", "dev").failed()

    assert f"belong to another Pulumi state, created by {getpass.getuser()}@" in refused.output
    assert f":{dev.clone.root}." in refused.output
    assert {one["Id"] for one in docker_engine.containers(STACK)} == running
    assert "Pulumi.dev2.yaml is written" in second.run("make", "beside", "STACK=dev2").succeeded().output


def test_a_concurrent_make_dev_is_refused(dev: DevStack) -> None:
    redis = _container_id("redis")
    dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:redis.maxMemoryMib 112").succeeded()
    with dev.clone.started("make", "dev") as make:
        until("the update replaces redis", lambda: redis not in {one["Id"] for one in docker_engine.containers(STACK)})
        make.send(signal.SIGSTOP)
        second = dev.clone.run("make", "dev").failed()
        make.send(signal.SIGCONT)
        until("the first one has ended", lambda: make.process.poll() is not None)
    assert "Another update of stack 'dev' is running" in second.output
    assert make.process.returncode == 0


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("interrupts", [1, 2])
def test_the_next_make_dev_completes_an_interrupted_one(dev: DevStack, interrupts: int) -> None:
    redis = _container_id("redis")
    memory = 112 + 8 * interrupts
    dev.clone.activated(f"pulumi config set -s {STACK} --path pti-calendar:redis.maxMemoryMib {memory}").succeeded()
    with dev.clone.started("make", "dev") as make:
        until("the update replaces redis", lambda: redis not in {one["Id"] for one in docker_engine.containers(STACK)})
        for _ in range(interrupts):
            make.send(signal.SIGINT)
        until("make has ended", lambda: make.process.poll() is not None)

    dev.clone.run("make", "dev").succeeded()

    assert docker_engine.workloads(STACK) == dict.fromkeys(WORKLOADS, "healthy")
    Stores(dev.outputs()).check(MARKER)
    dev.clone.activated(f"pulumi preview -s {STACK} --expect-no-changes").succeeded()
    # A preview that refreshes doesn't mention pending operations.
    state = json.loads(dev.clone.activated(f"pulumi stack export -s {STACK}").succeeded().output)
    assert state["deployment"].get("pending_operations", []) == []


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "DEV\n", "dev2\n"])
def test_a_wipe_without_the_stack_name_changes_nothing(dev: DevStack, typed: str) -> None:
    containers = {one["Id"]: one["State"]["StartedAt"] for one in docker_engine.containers(STACK)}
    volumes = [one["Name"] for one in docker_engine.volumes(STACK)]

    refused = dev.wipe(typed).failed()

    assert "Not confirmed; nothing has been changed." in refused.output
    assert {one["Id"]: one["State"]["StartedAt"] for one in docker_engine.containers(STACK)} == containers
    assert [one["Name"] for one in docker_engine.volumes(STACK)] == volumes


def test_a_wipe_must_name_its_stack(dev: DevStack) -> None:
    refused = dev.clone.run("make", "wipe", typed=f"{STACK}\n").failed()

    assert "name the stack: make wipe STACK=dev" in refused.output
    assert docker_engine.persistent_volumes(STACK)


def test_a_confirmed_wipe_leaves_nothing_behind(dev: DevStack) -> None:
    done = dev.wipe(f"{STACK}\n").succeeded()

    assert "pti-postgres-data-dev" in done.output
    assert docker_engine.containers(STACK) == []
    assert docker_engine.networks(STACK) == []
    assert docker_engine.volumes(STACK) == []


def _give_up_kafkas_data(dev: DevStack) -> None:
    """Check that a changed mode is refused before anything changes; then run the command in the error message."""
    before = docker_engine.workloads(STACK)
    refused = dev.clone.activated(f"pulumi preview -s {STACK}").failed().output
    assert "kafka.mode can't change from" in refused
    command = re.search(rf"pulumi state delete --stack {STACK} '[^']+'", refused)
    assert command, refused
    dev.clone.activated(f"{command.group()} --yes").succeeded()
    assert docker_engine.workloads(STACK) == before


def _container_id(workload: str) -> str:
    return docker_engine.docker("inspect", "--format", "{{.Id}}", f"pti-{workload}-{STACK}").strip()
