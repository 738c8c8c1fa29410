"""Exporters, for software without Prometheus metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi

from components.credentials import Credentials
from components.data_layer.access import KafkaAccess, PostgresAccess, RedisAccess
from components.data_layer.postgres import MONITOR_ROLE
from settings.credentials import KAFKA, POSTGRES_MONITOR, REDIS
from workloads import (
    RECOVERY_S,
    Endpoint,
    External,
    FileSet,
    HttpGet,
    Job,
    Liveness,
    Metrics,
    Port,
    Probe,
    TcpConnect,
    Workload,
)

# kafka_exporter ends if no broker answers at its start (danielqsj/kafka_exporter#303). The container stays, and starts
# it again: an outage of Kafka is not to count as restarts. A shell that is process 1 ignores a signal without a trap.
KAFKA_AGAIN = """
trap 'kill "$child"; exit' TERM INT
while :; do
    kafka_exporter "$@" & child=$!
    wait "$child"
    sleep 5 & child=$!
    wait "$child"
done
"""

SECRETS = "/run/secrets/exporter"
NOBODY = 65534

KUBE_STATE = {
    "pods": (
        "kube_pod_labels",
        "kube_pod_status_phase",
        "kube_pod_status_reason",
        "kube_pod_status_unschedulable",
        "kube_pod_container_status_waiting_reason",
        "kube_pod_container_status_last_terminated_reason",
        "kube_pod_container_status_restarts_total",
    ),
    "deployments": ("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available"),
    "statefulsets": ("kube_statefulset_replicas", "kube_statefulset_status_replicas_ready"),
    "jobs": ("kube_job_labels", "kube_job_failed"),
    "persistentvolumeclaims": ("kube_persistentvolumeclaim_status_phase",),
    "horizontalpodautoscalers": (
        "kube_horizontalpodautoscaler_spec_min_replicas",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "kube_horizontalpodautoscaler_status_condition",
    ),
}
"""Resource to the series that `assets/prometheus/rules/kubernetes.yml` reads."""

WORKLOAD_LABELS = "app.kubernetes.io/name,cnpg.io/cluster"
"""Labels that name the workload of a Pod or Job: the platform's own, and CloudNativePG's."""


def postgres(image: str, access: PostgresAccess, credentials: Credentials) -> Workload:
    """Return the exporter of PostgreSQL. Its role can read statistics, but no rows."""
    return _exporter(
        "postgres",
        image=image,
        user=NOBODY,
        port=9187,
        # When it started, which shows that it starts again and again.
        arguments=("--collector.postmaster",),
        environment={
            "DATA_SOURCE_URI": f"{access.endpoint}/postgres?sslmode={access.ssl_mode}",
            "DATA_SOURCE_USER": MONITOR_ROLE,
            "DATA_SOURCE_PASS_FILE": f"{SECRETS}/password",
        },
        secrets={"password": credentials[POSTGRES_MONITOR]},
        calls=(access.endpoint,),
        # Its role is made by the task that makes the databases.
        needs=access.databases,
    )


def redis(image: str, access: RedisAccess, credentials: Credentials) -> Workload:
    """Return the exporter of Redis."""
    address = f"{'rediss' if access.tls else 'redis'}://{access.endpoint}"
    password = credentials.find(REDIS)
    secrets = {} if password is None else {"passwords.json": password.apply(lambda one: json.dumps({address: one}))}
    return _exporter(
        "redis",
        image=image,
        user=59000,
        port=9121,
        environment={
            "REDIS_ADDR": address,
            **({"REDIS_PASSWORD_FILE": f"{SECRETS}/passwords.json"} if secrets else {}),
        },
        secrets=secrets,
        calls=(access.endpoint,),
        needs=access.server,
    )


def kafka(image: str, access: KafkaAccess, credentials: Credentials) -> Workload:
    """Return the exporter of Kafka: brokers, partitions and consumer lag."""
    arguments = [f"--kafka.server={server}" for server in access.bootstrap_servers.split(",")]
    secrets = {}
    if access.security_protocol != "PLAINTEXT":
        arguments.append("--tls.enabled")
    if access.username is not None:
        arguments += ["--sasl.enabled", "--sasl.mechanism=scram-sha512", f"--sasl.username={access.username}"]
        # It takes the password as an argument only, which everyone on the machine sees; but arguments from a file, too:
        # https://github.com/alecthomas/kingpin/blob/v2.4.0/README.md
        arguments.append(f"@{SECRETS}/arguments")
        secrets["arguments"] = pulumi.Output.concat("--sasl.password=", credentials[KAFKA], "\n")
    return _exporter(
        "kafka",
        image=image,
        user=NOBODY,
        port=9308,
        command=("sh", "-c", KAFKA_AGAIN, "kafka-exporter"),
        arguments=tuple(arguments),
        secrets=secrets,
        calls=access.calls,
        needs=access.server,
        # It listens once it has reached Kafka.
        startup_s=RECOVERY_S,
    )


def nginx(image: str, status: Endpoint) -> Workload:
    """Return the exporter of nginx. Its image has no tool for a health check on Docker."""
    return _exporter(
        "nginx",
        image=image,
        user=1001,
        port=9113,
        arguments=(f"--nginx.scrape-uri=http://{status}/stub_status",),
        probed=False,
        calls=(status,),
    )


def node(image: str) -> Workload:
    """Figures of the machine the engine runs on.

    It needs no window to the host: processors and memory are the machine's in every container, and the engine mounts a
    file of its own into each, from the disk that holds all volumes.
    """
    collectors = ("cpu", "meminfo", "loadavg", "filesystem", "diskstats", "vmstat")
    return _exporter(
        "node",
        image=image,
        user=NOBODY,
        port=9100,
        arguments=(
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in collectors),
            "--collector.filesystem.mount-points-include=^/etc/hosts$",
            # The kernel counts its kills for memory, those of containers at their own limit among them.
            "--collector.vmstat.fields=^oom_kill$",
        ),
    )


def kube_state(image: str, namespace: str) -> Workload:
    """State of the objects in the platform's namespace, which the API server reports.

    Only the series that the rules read: each pod has some fifty more. Its image holds the program alone.
    """
    return _exporter(
        "kube-state-metrics",
        name="kube-state-metrics",
        image=image,
        user=NOBODY,
        port=8080,
        arguments=(
            # Every address, also on a node without IPv6.
            "--host=",
            "--telemetry-host=",
            f"--namespaces={namespace}",
            f"--resources={','.join(KUBE_STATE)}",
            f"--metric-allowlist={','.join(name for names in KUBE_STATE.values() for name in names)}",
            f"--metric-labels-allowlist={','.join(f'{kind}=[{WORKLOAD_LABELS}]' for kind in ('pods', 'jobs'))}",
        ),
        # Measured: 56 MiB resident with the whole prod stack, most of it the program; the heap grows with the pods.
        memory_mib=128,
        reads_namespace=True,
    )


def _exporter(
    job: Job,
    *,
    name: str | None = None,
    image: str,
    user: int,
    port: int,
    command: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, pulumi.Input[str]] | None = None,
    secrets: Mapping[str, pulumi.Input[str]] | None = None,
    calls: tuple[Endpoint | External, ...] = (),
    needs: tuple[str, ...] = (),
    probed: bool = True,
    startup_s: int = Liveness.startup_s,
    memory_mib: int = 64,
    reads_namespace: bool = False,
) -> Workload:
    return Workload(
        name=name or f"{job}-exporter",
        image=image,
        user=user,
        command=command,
        arguments=arguments,
        environment=environment or {},
        file_sets=(FileSet(name="secrets", directory=SECRETS, files=secrets, secret=True),) if secrets else (),
        ports=(Port(name="metrics", number=port),),
        memory_mib=memory_mib,
        # Probe the exporter, not its target, so that a store's outage is reported.
        readiness=Probe(check=HttpGet(port=port, path="/")) if probed else None,
        liveness=Liveness(check=TcpConnect(port=port), startup_s=startup_s) if probed else None,
        needs=needs,
        calls=calls,
        metrics=(Metrics(port=port, job=job, about=job),),
        reads_namespace=reads_namespace,
    )
