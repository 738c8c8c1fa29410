"""Field combinations that a workload refuses, and its immutability."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from workloads import (
    INTERNET,
    Autoscaling,
    Endpoint,
    Exec,
    ExternalEndpoint,
    FileSet,
    FixedSetting,
    Health,
    HttpGet,
    Liveness,
    Metrics,
    Port,
    Probe,
    ScheduledTask,
    Scratch,
    Service,
    StatefulService,
    Task,
    TcpConnect,
    Volume,
    Workload,
    WorkloadError,
)


def workload(**fields: Any) -> Service:
    """Return a valid service, except for the fields under test."""
    right: dict[str, Any] = {"name": "web", "image": "web:1.0", "user": 1000, "memory_mib": 64}
    return Service(**right | fields)


def stateful(**fields: Any) -> StatefulService:
    """Return a valid stateful service, except for the fields under test."""
    right: dict[str, Any] = {"name": "web", "image": "web:1.0", "user": 1000, "memory_mib": 64}
    return StatefulService(**right | fields)


def task(**fields: Any) -> Task:
    """Return a valid task, except for the fields under test."""
    right: dict[str, Any] = {"name": "web", "image": "web:1.0", "user": 1000, "memory_mib": 64, "command": ("true",)}
    return Task(**right | fields)


def scheduled(**fields: Any) -> ScheduledTask:
    """Return a valid scheduled task, except for the fields under test."""
    right: dict[str, Any] = {"name": "web", "image": "web:1.0", "user": 1000, "memory_mib": 64, "command": ("true",)}
    return ScheduledTask(**right | {"schedule": "0 3 * * *"} | fields)


def files(name: str = "configuration", directory: str = "/etc/web") -> FileSet:
    """Return a file set."""
    return FileSet(name=name, directory=directory, files={"a": "b"})


READY = Probe(check=Exec(command=("true",)))
ALIVE = Liveness(check=Exec(command=("true",)))
HTTP = Port(name="http", number=80)
INVALID_NAME = "the name must be a DNS label of at most 40 lower-case letters, digits and '-'"

INVALID_NAMES = {
    "empty": "",
    "in upper case": "Web",
    "with an underscore": "my_web",
    "with a dot": "my.web",
    "with a leading digit": "1web",
    "with a leading hyphen": "-web",
    "with a trailing hyphen": "web-",
    "of 41 letters": "w" * 41,
}

CONTRADICTIONS = {
    "zero replicas": (lambda: workload(replicas=0), "replicas must be at least 1, not 0"),
    "a negative number of replicas": (lambda: workload(replicas=-1), "replicas must be at least 1, not -1"),
    "root": (lambda: workload(user=0), "must not run as root (user 0)"),
    "a run without time to start": (
        lambda: scheduled(start_deadline_s=59),
        "start_deadline_s must be at least 60, not 59",
    ),
    "a scheduled task without a command": (lambda: scheduled(command=()), "a task requires a command"),
    "a schedule with too few fields": (
        lambda: scheduled(schedule="0 3 * *"),
        "the schedule '0 3 * *' is not a cron expression: it has 4 fields instead of 5 (minute, hour, day of month, "
        "month, day of week)",
    ),
    "a task without a command": (lambda: task(command=()), "a task requires a command"),
    "a volume with a duplicate fixed setting": (
        lambda: stateful(
            volumes=(
                Volume(
                    name="data",
                    mount="/data",
                    fixed=(FixedSetting("a.b", "1", "Keep."), FixedSetting("a.b", "2", "Keep.")),
                ),
            ),
        ),
        "volume 'data' requires a unique key for each fixed setting, not ['a.b', 'a.b']",
    ),
    "a volume with a fixed setting without a key": (
        lambda: stateful(volumes=(Volume(name="data", mount="/data", fixed=(FixedSetting("", "1", "Keep."),)),)),
        "volume 'data' requires a unique key for each fixed setting, not ['']",
    ),
    "a scheduled task's volume with a fixed setting without a key": (
        lambda: scheduled(volumes=(Volume(name="data", mount="/data", fixed=(FixedSetting("", "1", "Keep."),)),)),
        "volume 'data' requires a unique key for each fixed setting, not ['']",
    ),
    "a public port without a published port": (
        lambda: workload(ports=(Port(name="http", number=80, public=True),)),
        "the public ports ['http'] need the port number that users connect to (publish)",
    ),
    "a duplicate port": (
        lambda: workload(ports=(HTTP, Port(name="metrics", number=9100), Port(name="again", number=80))),
        "there is a duplicate port number in [80, 9100, 80]",
    ),
    "an HTTP probe of an undeclared port": (
        lambda: workload(ports=(HTTP,), readiness=Probe(check=HttpGet(port=81, path="/"))),
        "the readiness probe checks port 81, which is not among its ports [80]",
    ),
    "a TCP probe without ports": (
        lambda: workload(readiness=Probe(check=TcpConnect(port=80))),
        "the readiness probe checks port 80, which is not among its ports []",
    ),
    "a file set with an invalid name": (
        lambda: workload(file_sets=(files("Web"),)),
        "each file set requires a unique DNS label as its name, not ['Web']",
    ),
    "two file sets with the same name": (
        lambda: workload(file_sets=(files(), files(directory="/etc/other"))),
        "each file set requires a unique DNS label as its name, not ['configuration', 'configuration']",
    ),
    "a file set in a relative directory": (
        lambda: workload(file_sets=(files(directory="etc/web"),)),
        "'etc/web' is not an absolute path below /",
    ),
    "a volume at a relative path": (
        lambda: stateful(volumes=(Volume(name="data", mount="data"),)),
        "'data' is not an absolute path below /",
    ),
    "a scratch directory at the root": (
        lambda: workload(scratch=(Scratch(path="/"),)),
        "'/' is not an absolute path below /",
    ),
    "two mounts of the same kind at one path": (
        lambda: workload(scratch=(Scratch(path="/tmp"), Scratch(path="/tmp"))),  # noqa: S108 - in a container
        "'/tmp' is mounted twice",
    ),
    "two kinds of mounts at one path": (
        lambda: workload(file_sets=(files(),), scratch=(Scratch(path="/etc/web"),)),
        "'/etc/web' is mounted twice",
    ),
    "a dependency on itself": (lambda: workload(depends_on=("other", "web")), "depends on itself"),
    "a connection to itself": (lambda: workload(connects_to=(INTERNET, Endpoint("web", 80))), "depends on itself"),
    "a connection to itself with an alias": (
        lambda: workload(connects_to=(Endpoint("web", 80, alias="www"),)),
        "depends on itself",
    ),
    "liveness without readiness": (
        lambda: workload(liveness=ALIVE),
        "a liveness probe requires a readiness probe, which decides when clients are routed to it",
    ),
    "a liveness probe of an undeclared port": (
        lambda: workload(ports=(HTTP,), readiness=READY, liveness=Liveness(check=TcpConnect(port=81))),
        "the liveness probe checks port 81, which is not among its ports [80]",
    ),
    "autoscaling to zero": (
        lambda: workload(autoscaling=Autoscaling(minimum=0, maximum=2, cpu_percent=70)),
        "autoscaling requires 1 <= minimum <= maximum, not Autoscaling(minimum=0, maximum=2, cpu_percent=70)",
    ),
    "autoscaling with minimum above maximum": (
        lambda: workload(autoscaling=Autoscaling(minimum=3, maximum=2, cpu_percent=70)),
        "autoscaling requires 1 <= minimum <= maximum, not Autoscaling(minimum=3, maximum=2, cpu_percent=70)",
    ),
    "peers at an undeclared port": (
        lambda: stateful(ports=(HTTP,), peer_ports=(80, 82, 81)),
        "peers use [81, 82], which is not among its ports [80]",
    ),
    "metrics at an undeclared port": (
        lambda: workload(ports=(HTTP,), metrics=(Metrics(port=80, job="kong"), Metrics(port=9100, job="service"))),
        "metrics or health use [9100], which is not among its ports [80]",
    ),
    "health at an undeclared port": (
        lambda: workload(ports=(HTTP,), health=Health(port=81, path="/health", job="frontend")),
        "metrics or health use [81], which is not among its ports [80]",
    ),
    "an empty file set": (
        lambda: workload(file_sets=(FileSet(name="keys", directory="/run/keys"),)),
        "file set 'keys' must have either files or an external secret",
    ),
    "a file set with files and an external secret": (
        lambda: workload(
            file_sets=(FileSet(name="keys", directory="/run/keys", files={"a": "b"}, external_secret="theirs"),)
        ),
        "file set 'keys' must have either files or an external secret",
    ),
}


@pytest.mark.parametrize("name", INVALID_NAMES.values(), ids=INVALID_NAMES.keys())
def test_a_name_that_is_not_a_dns_label_is_refused(name: str) -> None:
    with pytest.raises(WorkloadError) as refused:
        workload(name=name)
    assert str(refused.value) == f"workload {name!r}: {INVALID_NAME}"


@pytest.mark.parametrize("make", [make for make, _ in CONTRADICTIONS.values()], ids=CONTRADICTIONS.keys())
def test_a_contradiction_is_refused(make: Any, request: pytest.FixtureRequest) -> None:
    _, reason = CONTRADICTIONS[request.node.callspec.id]
    with pytest.raises(WorkloadError) as refused:
        make()
    assert str(refused.value) == f"workload 'web': {reason}"


SCHEDULE_FIELDS = ("schedule", "start_deadline_s")
LONG_RUNNING_FIELDS = (
    "ports",
    "replicas",
    "autoscaling",
    "load_balancer",
    "readiness",
    "liveness",
    "metrics",
    "health",
    "volumes",
    "peer_ports",
)
ABSENT_FIELDS: dict[type[Workload], tuple[str, ...]] = {
    Service: ("volumes", "peer_ports", "timeout_s", *SCHEDULE_FIELDS),
    StatefulService: ("autoscaling", "load_balancer", "timeout_s", *SCHEDULE_FIELDS),
    Task: (*LONG_RUNNING_FIELDS, *SCHEDULE_FIELDS),
    ScheduledTask: tuple(field for field in LONG_RUNNING_FIELDS if field != "volumes"),
}
"""Fields that a kind of workload doesn't have."""


@pytest.mark.parametrize("kind", ABSENT_FIELDS)
def test_a_kind_of_workload_has_only_the_fields_that_apply_to_it(kind: type[Workload]) -> None:
    all_fields = {field.name for one in ABSENT_FIELDS for field in dataclasses.fields(one)}
    assert all_fields - {field.name for field in dataclasses.fields(kind)} == {*ABSENT_FIELDS[kind]}


def test_a_task_has_no_ports_and_requires_a_command() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'ports'"):
        task(ports=(HTTP,))
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'command'"):
        Task(name="web", image="web:1.0", user=1000, memory_mib=64)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "schedule", ["* * * * *", "*/5 0-6 1,15 1-12/2 0-6", "59 23 31 12 6", "0 3 * * 1-5", "10/20 * * * *"]
)
def test_a_schedule_is_a_cron_expression(schedule: str) -> None:
    assert scheduled(schedule=schedule).schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("60 3 * * *", "its minute is '60', not '*', a number or a range within 0-59"),
        ("0 24 * * *", "its hour is '24', not '*', a number or a range within 0-23"),
        ("0 3 0 * *", "its day of month is '0', not '*', a number or a range within 1-31"),
        ("0 3 * 13 *", "its month is '13', not '*', a number or a range within 1-12"),
        ("0 3 * * 7", "its day of week is '7', not '*', a number or a range within 0-6"),
        ("*/0 3 * * *", "its minute is '*/0', not '*', a number or a range within 0-59"),
        ("0 6-3 * * *", "its hour is '6-3', not '*', a number or a range within 0-23"),
        ("0,,5 3 * * *", "its minute is '', not '*', a number or a range within 0-59"),
        ("@daily 3 * * *", "its minute is '@daily', not '*', a number or a range within 0-59"),
    ],
)
def test_an_invalid_schedule_is_refused(schedule: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as refused:
        scheduled(schedule=schedule)
    assert str(refused.value) == f"workload 'web': the schedule {schedule!r} is not a cron expression: {problem}"


@pytest.mark.parametrize("name", ["w", "w1", "web-1", "w" * 40])
def test_a_dns_label_is_a_valid_name(name: str) -> None:
    assert workload(name=name).name == name


def test_a_stateful_workload_may_have_volumes_and_everything_a_service_may_have() -> None:
    full = stateful(
        ports=(HTTP, Port(name="admin", number=81, publish=8081)),
        volumes=(Volume(name="data", mount="/data"),),
        file_sets=(files(), files("other", "/etc/other")),
        scratch=(Scratch(path="/run/web"),),
        readiness=Probe(check=HttpGet(port=81, path="/health")),
        liveness=Liveness(check=TcpConnect(port=80)),
        depends_on=("a",),
        connects_to=(Endpoint("a", 80), Endpoint("b", 80), INTERNET),
        replicas=3,
        peer_ports=(80, 81),
        metrics=(Metrics(port=81, job="service"),),
        health=Health(port=80, path="/health", job="frontend"),
    )
    assert full.volumes[0].mount == "/data"


def test_a_workload_without_ports_may_have_a_command_probe() -> None:
    assert workload(readiness=READY).ports == ()


def test_a_task_may_depend_on_and_connect_to_others() -> None:
    assert task(depends_on=("a",), connects_to=(Endpoint("a", 80),)).depends_on == ("a",)


def test_an_external_server_may_have_the_name_of_the_workload() -> None:
    assert workload(connects_to=(ExternalEndpoint("web", 80),)).connects_to == (ExternalEndpoint("web", 80),)


def test_autoscaling_limits_may_be_equal() -> None:
    assert workload(autoscaling=Autoscaling(minimum=2, maximum=2, cpu_percent=70)).replicas == 1


def test_a_file_set_may_be_an_external_secret() -> None:
    external = FileSet(name="keys", directory="/run/keys", external_secret="theirs")
    assert workload(file_sets=(external,)).file_sets[0].files == {}


def test_the_host_of_an_endpoint_is_the_workload_name_or_its_alias() -> None:
    assert str(Endpoint("db", 5432)) == "db:5432"
    assert str(Endpoint("db", 5432, alias="db-rw")) == "db-rw:5432"


def test_a_workload_is_restricted_by_default() -> None:
    plain = workload()
    assert plain.replicas == 1
    assert plain.read_only_root
    assert plain.connects_to == ()
    assert Port(name="http", number=80).publish is None
    assert not Port(name="http", number=80).public
    assert not files().secret
    assert not plain.host_gateway
    assert plain.autoscaling is None


@pytest.mark.parametrize(
    "part",
    [
        workload(),
        READY,
        ALIVE,
        HTTP,
        Endpoint("db", 5432),
        INTERNET,
        Metrics(port=80, job="service"),
        Health(port=80, path="/health", job="frontend"),
        Autoscaling(minimum=1, maximum=2, cpu_percent=70),
        files(),
        Exec(command=("true",)),
        HttpGet(port=80, path="/"),
        TcpConnect(port=80),
        Volume(name="data", mount="/data"),
        Scratch(path="/run/web"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_the_model_is_immutable(part: Any) -> None:
    field = dataclasses.fields(part)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, field, getattr(part, field))
