"""Scaling: a preview of the prod stack with 7, 70 and 700 services, without a cluster.

    python -m benchmarks.scale [--services 7 70 700] [--timeout 900] [--alone]

Each is a real `pulumi preview` on a temporary empty state, with the project's own program and a longer service catalog.
For comparison, the same program is evaluated in one process without an engine: this is the time of the program and the
SDK; the rest is the time of the engine and its plugins. CPU time is shown beside wall time, because other work on the
machine affects it less. If CPU time grew per resource, the platform wouldn't scale.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.many_services import VARIABLE
from benchmarks.peak import ENGINE, PROGRAM, PeakMemory
from benchmarks.prod_without_cluster import STACK, document_of_prod, placeholders_of_prod
from benchmarks.report import cpu_s, machine, timed
from operations.preview import temporary_environment
from operations.project import ROOT, VENV
from settings.catalog import SERVICES

PROJECT = ROOT / "benchmarks" / "programs" / "many_services"
ENDING_S = 30
TO_CREATE = re.compile(r"^\s+\+ (\d+) to create$", re.MULTILINE)
COLUMNS = (
    "services  resources │ preview   CPU  CPU each  times first  each more  engine  program │ alone CPU  CPU each",
    "                    │       s     s        ms                      ms     MiB      MiB │         s        ms",
)


class TooSlow(Exception):
    """A measurement exceeded its timeout."""


@dataclass(frozen=True)
class Point:
    """Results for one number of services."""

    services: int
    resources: int
    """Resources that the program registered, including the stack."""

    preview_s: float
    """Wall time in seconds."""

    preview_cpu_s: float
    """CPU time in seconds of all processes of the preview together."""

    alone_cpu_s: float
    """CPU time in seconds of the program without an engine."""

    peak_mib: Mapping[str, float]

    @property
    def each_ms(self) -> float:
        """Return the preview's CPU time per resource."""
        return self.preview_cpu_s / self.resources * 1000


def main() -> int:
    """Print a row per number of services; return exit code 1 if one takes too long or fails."""
    parser = argparse.ArgumentParser(
        description="Times previews of the prod stack with increasing numbers of services."
    )
    parser.add_argument("--services", type=int, nargs="+", default=[7, 70, 700], metavar="N", help="how many")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for each measurement (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="the program without the engine, no preview")
    wanted = parser.parse_args()
    if min(wanted.services) < len(SERVICES):
        parser.error(f"{len(SERVICES)} services or more are needed: the configuration names those of the platform")
    if not wanted.alone and shutil.which("pulumi") is None:
        print("the 'pulumi' command is missing: make setup installs it", file=sys.stderr)
        return 1
    print(machine(), *COLUMNS, sep="\n", flush=True)
    points: list[Point] = []
    try:
        for services in wanted.services:
            points.append(measured(services, wanted.timeout, alone=wanted.alone))
            print(_row(points), flush=True)
    except (TooSlow, subprocess.CalledProcessError) as error:
        print(f"{services} services: {_explained(error)}", file=sys.stderr)
        return 1
    print(machine())
    return 0


def measured(services: int, timeout_s: int, *, alone: bool = False) -> Point:
    """Preview the stack with a number of services, and evaluate its program alone.

    Raises:
        TooSlow: one of the two takes longer than it is given.
        subprocess.CalledProcessError: one of the two fails.
    """
    variables = {VARIABLE: str(services), "PYTHONPATH": str(ROOT)}
    alone_output = _finished(
        [str(VENV / "bin" / "python"), "-m", "benchmarks.program_alone"], dict(os.environ) | variables, ROOT, timeout_s
    )
    figures = json.loads(alone_output)
    if alone:
        return Point(services, figures["resources"], 0, 0, figures["cpu_s"], {})
    with tempfile.TemporaryDirectory(prefix="pti-benchmark-") as folder:
        place = Path(folder)
        configuration = _prepare(place, services)
        command = ["pulumi", "preview", "--stack", STACK, "--config-file", str(configuration), "--non-interactive"]
        environment = temporary_environment(place) | variables
        shown: list[str] = []
        used = cpu_s()
        with PeakMemory() as peak:
            seconds = timed(lambda: shown.append(_finished(command, environment, PROJECT, timeout_s)))
        used = cpu_s() - used
    counted = int(TO_CREATE.findall(shown[0])[-1])
    if counted != figures["resources"]:
        raise AssertionError(f"the engine counts {counted} resources, the program alone {figures['resources']}")
    return Point(services, counted, seconds, used, figures["cpu_s"], peak.mib)


def _prepare(place: Path, services: int) -> Path:
    """Prepare a state, a passphrase and a configuration; return the configuration's file."""
    (place / "state").mkdir()
    (place / "passphrase").write_text(secrets.token_urlsafe(32))
    shutil.copy(PROJECT / "Pulumi.yaml", place)
    configuration = place / f"Pulumi.{STACK}.yaml"
    configuration.write_text(yaml.safe_dump(document_of_prod(services)))
    environment = temporary_environment(place)
    values = [f"--secret={key}={value}" for key, value in placeholders_of_prod().items()]
    for arguments in (["stack", "init", STACK, "--no-select"], ["config", "set-all", "--stack", STACK, *values]):
        _finished(["pulumi", *arguments, "--non-interactive"], environment, place, 60)
    return configuration


def _finished(command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout_s: int) -> str:
    """Run a command and return its output; if it takes too long, interrupt it and its child processes."""
    with subprocess.Popen(  # noqa: S603 - a command of this file, without a shell
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, mistakes = process.communicate(timeout=timeout_s)
        except BaseException as error:
            # Pulumi ends its plugins if it is interrupted, but not if it is killed.
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.communicate(timeout=ENDING_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TooSlow(
                    f"'{' '.join(command[:2])}' was stopped after {timeout_s} s; allow more: --timeout"
                ) from None
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), output, mistakes)
    return output


def _row(points: Sequence[Point]) -> str:
    """Return the last point compared with the first one and the previous one."""
    point, first = points[-1], points[0]
    begin = f"{point.services:8}{point.resources:11} │"
    end = f" │{point.alone_cpu_s:10.1f}{point.alone_cpu_s / point.resources * 1000:10.2f}"
    if not point.preview_s:
        return f"{begin}{'':67}{end}"
    per_added_resource = "-"
    if len(points) > 1 and point.resources > points[-2].resources:
        before = points[-2]
        added_s = point.preview_cpu_s - before.preview_cpu_s
        per_added_resource = f"{added_s / (point.resources - before.resources) * 1000:.2f}"
    times = (
        f"{point.preview_s:8.1f}{point.preview_cpu_s:6.1f}{point.each_ms:10.2f}{point.each_ms / first.each_ms:13.2f}"
    )
    memory = f"{point.peak_mib.get(ENGINE, 0):8.0f}{point.peak_mib.get(PROGRAM, 0):9.0f}"
    return f"{begin}{times}{per_added_resource:>11}{memory}{end}"


def _explained(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"'{' '.join(error.cmd[:2])}' failed:\n{error.stdout}\n{error.stderr}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
