"""Builds the images of the end-to-end tests from packages, where no image registry is reachable.

    python -m tests.e2e.images.build                  builds what is missing or out of date
    python -m tests.e2e.images.build postgres redis   only these (a folder's name or a whole tag)
    python -m tests.e2e.images.build --force kafka    again, whatever the labels say

Each image has the name and the contract of the official one; README.md says what really runs in it. An image of the
same name without the label `pti.recipe` is the official one, pulled from a registry: it is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.images.downloads import CACHE, Download, MavenJars, NpmPackage, PostgresBinaries, PythonWheels

HERE = Path(__file__).parent
SUITE = "bookworm"
ROOTFS = f"pti-local/rootfs:{SUITE}"
BASE = f"pti-local/debian:{SUITE}"
JAVA = "pti-local/java:17"
TOOLS = {"debootstrap": "debootstrap", "mvn": "maven", "npm": "npm", "docker": "docker.io", "xz": "xz-utils"}
"""Command → the Debian package that brings it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image: the folder with its Dockerfile, what it is called, and what is downloaded for it."""

    folder: str
    tag: str
    software: str
    """What really runs, with its version; the label `pti.software`."""

    stand_in: str = "no"
    """`no`, or why this isn't the software that the tag names; the label `pti.stand-in`."""

    parent: str = BASE
    """The image in the Dockerfile's FROM; a change of it rebuilds this one."""

    download: Download | None = None
    """Lands in the build context as `download/`."""

    arguments: Mapping[str, str] = field(default_factory=dict)


def kafka(version: str, *logging: str) -> Recipe:
    """A Kafka distribution from its jars; `logging` are the log back end's, which Kafka's own modules leave open."""
    modules = [f"org.apache.kafka:{name}:{version}" for name in ("kafka_2.13", "kafka-tools")]
    return Recipe(
        folder="kafka",
        tag=f"apache/kafka:{version}",
        software=f"Apache Kafka {version} on OpenJDK 17",
        parent=JAVA,
        download=MavenJars(artifacts=(*modules, *logging)),
        arguments={"KAFKA_LINE": version[0]},
    )


BASES = (
    Recipe(folder="base", tag=BASE, software=f"Debian {SUITE}", parent=ROOTFS),
    Recipe(folder="java", tag=JAVA, software="OpenJDK 17"),
)

IMAGES = (
    Recipe(
        folder="postgres",
        tag="postgres:18.6",
        software="PostgreSQL 18.6, server, clients and contrib, built without ICU",
        download=PostgresBinaries(version="18.6.0"),
    ),
    Recipe(
        folder="redis",
        tag="redis:8.10.1",
        software="Redis 7.0 of Debian",
        stand_in="yes: Debian's Redis is older than the tag says",
    ),
    Recipe(
        folder="zookeeper",
        tag="zookeeper:3.9.5",
        software="Apache ZooKeeper 3.9.5 on OpenJDK 17",
        parent=JAVA,
        download=MavenJars(
            artifacts=(
                "org.apache.zookeeper:zookeeper:3.9.5",
                "org.apache.zookeeper:zookeeper-prometheus-metrics:3.9.4",  # there is no 3.9.5 of it
                # ZooKeeper's own build calls these "provided": its distribution brings them.
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
    kafka("3.9.2"),
    kafka("3.9.1"),
    kafka("4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"),
    Recipe(
        folder="pgadmin4",
        tag="dpage/pgadmin4:9.17",
        software="pgAdmin 4 9.17 with gunicorn 23.0.0 on Python 3.11",
        download=PythonWheels(
            requirements=("pgadmin4==9.17", "gunicorn==23.0.0"),
            source_only=("Flask-Principal", "jsonformatter~=0.3.4"),
        ),
    ),
    Recipe(
        folder="redis-commander",
        tag="ghcr.io/joeferner/redis-commander:0.9.1",
        software="redis-commander 0.9.0 on Node.js 18",
        stand_in="yes: 0.9.1 is on no package registry, 0.9.0 is",
        download=NpmPackage(name="redis-commander", version="0.9.0"),
    ),
    Recipe(
        folder="kafka-ui",
        tag="ghcr.io/kafbat/kafka-ui:v1.5.0",
        software="a small program of this repository with kafka-python 2.2.15",
        stand_in="yes: Kafbat UI is on no package registry; this shows brokers and topics only",
        download=PythonWheels(requirements=("kafka-python==2.2.15",)),
    ),
)


def recipe_hash(recipe: Recipe, known: Mapping[str, str]) -> str:
    """Changes with anything that goes into the image: its folder, its downloads, its labels, its parent's hash."""
    digest = hashlib.sha256(repr((recipe, known.get(recipe.parent))).encode())
    for path in sorted((HERE / recipe.folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(HERE)} {path.stat().st_mode & 0o111}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def say(tag: str, text: str) -> None:
    print(f"[{tag}] {text}", flush=True)


def docker(*arguments: str, log: Path | None = None) -> None:
    """Runs the Docker client; on failure the error holds the end of what it printed."""
    done = subprocess.run(
        ["docker", *arguments],
        env={"DOCKER_BUILDKIT": "0", **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise RuntimeError(f"docker {arguments[0]} failed{f' (all of it: {log})' if log else ''}:\n{tail}")


def present(tags: Sequence[str]) -> dict[str, str]:
    """Tag → recipe hash of the images the engine has; an image that isn't ours has the hash `official`."""
    template = '{{join .RepoTags " "}}|{{index .Config.Labels "pti.recipe"}}'
    listed = subprocess.run(
        ["docker", "image", "inspect", "--format", template, *tags],
        capture_output=True,
        text=True,
        check=False,
    )
    if not listed.stdout and "No such image" not in listed.stderr:
        raise RuntimeError(f"The Docker engine does not answer. Start it and try again:\n{listed.stderr}")
    found = {}
    for line in listed.stdout.splitlines():
        names, _, label = line.partition("|")
        for name in names.split():
            found[name] = label.replace("<no value>", "") or "official"
    return found


def install_tools() -> None:
    """Installs the Debian packages of the commands that are missing."""
    missing = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if not missing:
        return
    if os.geteuid() != 0:
        raise RuntimeError(
            f"These packages are needed: sudo apt-get install --no-install-recommends {' '.join(missing)}"
        )
    say("tools", f"installing {' '.join(missing)}")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)


def package_sources() -> list[tuple[str, str]]:
    """(mirror, suite) as this machine's apt has them, spelled for the suite that the images use."""
    release = Path("/etc/os-release").read_text()
    here = next(line.split("=")[1] for line in release.splitlines() if line.startswith("VERSION_CODENAME="))
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = sorted({tuple(line.split()) for line in listed.stdout.splitlines()})
    sources = [(row[0], row[1].replace(here, SUITE)) for row in rows if row[1].startswith(here) and row[2] == "main"]
    if SUITE not in [suite for _, suite in sources]:
        raise RuntimeError("apt has no Debian mirror: add one to /etc/apt/sources.list.d, then `apt-get update`")
    return sources


def import_rootfs(mark: str) -> None:
    """The smallest Debian, from this machine's mirror, as an image."""
    if os.geteuid() != 0:
        raise RuntimeError("debootstrap needs root: run this once with sudo, later runs do without")
    sources = package_sources()
    mirror = next(uri for uri, suite in sources if suite == SUITE)
    say(ROOTFS, "debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        command = ["debootstrap", "--variant=minbase", SUITE, str(root), mirror]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
        lines = "".join(f"deb {uri} {suite} main\n" for uri, suite in sources)
        (root / "etc/apt/sources.list").write_text(lines)
        archive = Path(folder, "root.tar")
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        docker("import", "--change", f"LABEL pti.recipe={mark}", str(archive), ROOTFS)


def build(recipe: Recipe, mark: str, downloaded: Future[Path] | None) -> None:
    """One `docker build`, in a copy of the recipe's folder with the download beside it."""
    files = downloaded.result() if downloaded else None
    started = time.monotonic()
    say(recipe.tag, "building")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        context = Path(folder, "context")
        shutil.copytree(HERE / recipe.folder, context, ignore=shutil.ignore_patterns("__pycache__"))
        if files:
            shutil.copytree(files, context / "download", symlinks=True, copy_function=os.link)
        labels = {"pti.recipe": mark, "pti.software": recipe.software, "pti.stand-in": recipe.stand_in}
        options = [part for name, text in labels.items() for part in ("--label", f"{name}={text}")]
        options += [part for name, text in recipe.arguments.items() for part in ("--build-arg", f"{name}={text}")]
        log = CACHE / "logs" / f"{recipe.tag.replace('/', '_')}.log"
        docker("build", "--force-rm", "--tag", recipe.tag, *options, str(context), log=log)
    say(recipe.tag, f"built in {time.monotonic() - started:.0f} s")


def wanted(names: Sequence[str]) -> list[Recipe]:
    """The recipes that the names mean; all of them for no name."""
    unknown = [name for name in names if not any(name in (r.folder, r.tag) for r in IMAGES)]
    if unknown:
        known = ", ".join(sorted({recipe.folder for recipe in IMAGES} | {recipe.tag for recipe in IMAGES}))
        raise RuntimeError(f"no such image: {', '.join(unknown)}; there are {known}")
    return [recipe for recipe in IMAGES if not names or recipe.folder in names or recipe.tag in names]


def ensure(names: Sequence[str] = (), *, force: bool = False) -> list[str]:
    """Builds what is missing or out of date of the named images (default: all); returns their tags."""
    chosen = wanted(names)
    marks = {ROOTFS: hashlib.sha256(SUITE.encode()).hexdigest()[:16]}
    for recipe in (*BASES, *IMAGES):
        marks[recipe.tag] = recipe_hash(recipe, marks)
    have = present(list(marks))
    stale = [
        recipe
        for recipe in chosen
        if have.get(recipe.tag) != "official" and (force or have.get(recipe.tag) != marks[recipe.tag])
    ]
    if not stale:
        return [recipe.tag for recipe in chosen]

    install_tools()
    with ThreadPoolExecutor(2) as fetchers, ThreadPoolExecutor(2) as builders:
        fetched = {r.tag: fetchers.submit(r.download.fetch) for r in stale if r.download}
        if have.get(ROOTFS) != marks[ROOTFS]:
            import_rootfs(marks[ROOTFS])
        for recipe in BASES:
            is_needed = recipe.tag == BASE or any(child.parent == recipe.tag for child in stale)
            if is_needed and have.get(recipe.tag) != marks[recipe.tag]:
                build(recipe, marks[recipe.tag], None)
        running = [builders.submit(build, r, marks[r.tag], fetched.get(r.tag)) for r in stale]
        for future in running:
            future.result()
    return [recipe.tag for recipe in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="folders or tags (default: all)")
    parser.add_argument("--force", action="store_true", help="build again even if nothing changed")
    arguments = parser.parse_args()
    try:
        tags = ensure(arguments.names, force=arguments.force)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"ready: {' '.join(tags)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
