"""A few small workloads on the Docker backend, which fail on request."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pulumi

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend
from backends.preflight import require_preflight
from settings.backend import BackendSettings, ImagesSettings
from settings.stores.redis import RedisSettings
from workloads import (
    RECOVERY_S,
    Endpoint,
    Exec,
    FileSet,
    FixedSetting,
    Liveness,
    Port,
    Probe,
    ScheduledTask,
    Scratch,
    Service,
    StatefulService,
    Task,
    Volume,
    Workload,
)

IMAGE = RedisSettings().image
USER = 999
STATE = "/run/patient"
# Write everything to standard error, because the engine keeps no order between the two streams.
MIGRATE = """
exec >&2
echo "attempt $(redis-cli -h store INCR attempts)"
echo "reading the old tables"
if [ "$(redis-cli -h store GET migration)" = allowed ]; then echo migrated; exit 0; fi
echo "the old tables are locked"
exit 3
"""
SERVE = "exec >&2; echo 'reading the configuration'; echo 'no licence found'; exec sleep infinity"


def service(name: str, *, ready: str, startup_s: int = 60, depends_on: tuple[str, ...] = ()) -> Service:
    """Return a service that writes two lines and then does nothing; it is ready once the command succeeds."""
    return Service(
        name=name,
        image=IMAGE,
        user=USER,
        memory_mib=32,
        command=("sh", "-c", SERVE),
        readiness=Probe(check=Exec(command=(ready,)), period_s=1, startup_s=startup_s),
        depends_on=depends_on,
        stop_grace_s=1,
    )


STORE = Service(
    name="store",
    image=IMAGE,
    user=USER,
    memory_mib=64,
    command=("redis-server", "--save", "", "--protected-mode", "no"),
    ports=(Port(name="redis", number=6379),),
    readiness=Probe(check=Exec(command=("redis-cli", "ping")), period_s=1),
    stop_grace_s=1,
)
MIGRATION = Task(
    name="migration",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", MIGRATE),
    depends_on=("store",),
    connects_to=(Endpoint("store", 6379),),
    timeout_s=600,
)
# The workload's behaviour depends on two files, named after their effect.
PATIENT = Service(
    name="patient",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", SERVE),
    scratch=(Scratch(path=STATE),),
    readiness=Probe(check=Exec(command=("test", "!", "-e", f"{STATE}/not-ready")), period_s=1, startup_s=20),
    # Three failures at intervals of two seconds are six runs of the health check.
    liveness=Liveness(check=Exec(command=("test", "!", "-e", f"{STATE}/not-alive")), period_s=2, failures=3),
    host_gateway=True,
    stop_grace_s=1,
)
# Alive once the file `recovered` exists; each check writes a line.
RECOVERS = f"echo >> {STATE}/checks; test -e {STATE}/recovered"
RECOVERING = replace(
    PATIENT,
    liveness=Liveness(check=Exec(command=("sh", "-c", RECOVERS)), period_s=1, failures=2, startup_s=RECOVERY_S),
)
# Never alive.
HUNG = replace(PATIENT, liveness=Liveness(check=Exec(command=("false",)), period_s=1, failures=100, startup_s=4))
# The image lacks the command of its liveness check; each readiness check writes a line.
UNCHECKED = replace(
    PATIENT,
    readiness=Probe(check=Exec(command=("sh", "-c", f"echo >> {STATE}/checks")), period_s=1, startup_s=20),
    liveness=Liveness(check=Exec(command=("no-such-command",)), period_s=1, failures=2, startup_s=2),
)
CONFIG = pulumi.Config()
# Owns a volume whose data is created with `layout`; another `release` creates another container.
KEEPER = StatefulService(
    name="keeper",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", SERVE),
    environment={"RELEASE": CONFIG.get("release") or "1"},
    volumes=(
        Volume(
            name="keeper-data",
            mount="/data",
            fixed=(FixedSetting("keeper.layout", CONFIG.get("layout") or "rows", "Put the layout back."),),
        ),
    ),
    readiness=Probe(check=Exec(command=("true",)), period_s=1),
    stop_grace_s=1,
)
# Recovers until the file `recovered` exists, and reports its progress in the file `progress`; `startup` seconds without
# progress are too many.
RECOVERS_DATA = f"""
if [ -e {STATE}/recovered ]; then exit 0; fi
echo "recovering: $(cat {STATE}/progress 2>/dev/null || echo 0) %"
exit 1
"""
STORE_THAT_RECOVERS = StatefulService(
    name="recoverer",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", SERVE),
    volumes=(Volume(name="recoverer-data", mount="/data"),),
    scratch=(Scratch(path=STATE),),
    readiness=Probe(
        check=Exec(command=("sh", "-c", RECOVERS_DATA)), period_s=1, startup_s=int(CONFIG.get("startup") or 5)
    ),
    liveness=Liveness(check=Exec(command=("test", "-e", f"{STATE}/recovered")), startup_s=RECOVERY_S),
    stop_grace_s=1,
)
# By default, it isn't due before the tests have ended.
NIGHTLY = ScheduledTask(
    name="nightly",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", "date +%s >>/data/runs; echo working"),
    schedule=CONFIG.get("schedule") or "0 3 29 2 *",
    # A new volume belongs to the owner of this directory of the image.
    volumes=(Volume(name="nightly-data", mount="/data"),),
)
# Exits immediately with success.
PREPARATION = Task(name="preparation", image=IMAGE, user=USER, memory_mib=32, command=("true",), depends_on=("store",))
# Publishes no port, and is ready once it can read its file and the store.
READER = Service(
    name="reader",
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=("sh", "-c", SERVE),
    file_sets=(FileSet(name="words", directory="/etc/reader", files={"word": "written by the program"}),),
    readiness=Probe(
        check=Exec(command=("sh", "-c", "grep -q written /etc/reader/word && redis-cli -h store ping")), period_s=1
    ),
    connects_to=(Endpoint("store", 6379),),
    depends_on=("preparation",),
    stop_grace_s=1,
)
# Exits immediately, every time.
CRASHING = replace(
    STORE_THAT_RECOVERS,
    name="crasher",
    command=("sh", "-c", "exec >&2; echo 'reading the configuration'; echo 'no licence found'; exit 78"),
    volumes=(Volume(name="crasher-data", mount="/data"),),
    readiness=Probe(check=Exec(command=("true",)), period_s=30, startup_s=600),
    liveness=None,
)
CRASHING_SERVICE = Service(
    name=CRASHING.name,
    image=IMAGE,
    user=USER,
    memory_mib=32,
    command=CRASHING.command,
    readiness=CRASHING.readiness,
    stop_grace_s=1,
)


def repaired(crashing: Service | StatefulService) -> Workload:
    """Return the same workload with a command that keeps running and is ready immediately."""
    return replace(crashing, command=("sh", "-c", SERVE), readiness=Probe(check=Exec(command=("true",))))


SCENARIOS: dict[str, list[Workload]] = {
    # A task that fails until the store's key `migration` is `allowed`, and a service that waits for it.
    "migration": [STORE, MIGRATION, service("web", ready="true", depends_on=("migration",))],
    "never-ready": [service("web", ready="false", startup_s=5)],
    "patient": [PATIENT],
    "recovering": [RECOVERING],
    "hung": [HUNG],
    "unchecked": [UNCHECKED],
    "keeper": [KEEPER],
    "recoverer": [STORE_THAT_RECOVERS, service("web", ready="true", depends_on=("recoverer",))],
    "ready": [service("web", ready="true")],
    "scheduled": [NIGHTLY],
    "of each kind": [STORE, KEEPER, PREPARATION, READER],
    "crashing-store": [CRASHING],
    "mended-store": [repaired(CRASHING)],
    "crashing-service": [CRASHING_SERVICE, service("web", ready="true", depends_on=("crasher",))],
    "mended-service": [repaired(CRASHING_SERVICE), service("web", ready="true", depends_on=("crasher",))],
    # The configuration key `image` sets the image.
    "own-image": [replace(service("web", ready="true"), image=CONFIG.get("image") or IMAGE)],
    "missing-image": [replace(service("web", ready="true"), image="redis:99.9.9")],
}

# End immediately on SIGINT, like the project's own entry point.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

backend = DockerBackend(BackendSettings(), ImagesSettings(), stack=pulumi.get_stack(), protect=False)
parent = pulumi.ComponentResource("pti-calendar:tests:Workloads", "workloads")
for workload in SCENARIOS[CONFIG.require("scenario")]:
    backend.deploy(workload, DeployOptions(parent=parent))
require_preflight(backend, [], pulumi.get_stack())
