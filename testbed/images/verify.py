"""Start every image as the platform runs it, test it, and measure it.

    python -m testbed.images.verify                         all but those of the long suite
    python -m testbed.images.verify postgres redis          only these containers, in the tables' order

Each runs with a read-only root, no capabilities, no new privileges and its numeric user; `trials.py`,
`gateway_trials.py` and `monitoring_trials.py` define its writable paths, requests and expected responses. Later
containers need the earlier ones.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.images.engine import docker, print_progress
from testbed.images.gateway_trials import GATEWAY_TRIALS
from testbed.images.monitoring_trials import MONITORING_TRIALS
from testbed.images.recipes import OF_LONG_SUITE
from testbed.images.trials import TRIALS, Trial

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
ALL_TRIALS = (*TRIALS, *GATEWAY_TRIALS, *MONITORING_TRIALS)
DEADLINE_S = 180.0
NETWORK = f"pti-images-{os.getpid()}"


def main() -> int:
    """Print one line of figures per image; return exit code 1 and the reason after the first failure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = [trial.name for trial in ALL_TRIALS]
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)} (default: all but those of the long suite)")
    left_out = {recipe.tag for recipe in OF_LONG_SUITE}
    chosen = parser.parse_args().names or [trial.name for trial in ALL_TRIALS if trial.image not in left_out]
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"there is no {', '.join(unknown)}")
    try:
        with tempfile.TemporaryDirectory() as folder, network():
            Path(folder).chmod(0o755)
            for trial in ALL_TRIALS:
                if trial.name in chosen:
                    run_trial(trial, Path(folder, trial.name))
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def network() -> Iterator[None]:
    """Create a network for this run, and remove it with its containers at the end."""
    docker("network", "create", NETWORK)
    try:
        yield
    finally:
        started = docker("ps", "--all", "--quiet", "--filter", f"network={NETWORK}").split()
        if started:
            docker("rm", "--force", "--volumes", *started)
        docker("network", "rm", NETWORK)


def run_trial(trial: Trial, folder: Path) -> None:
    """Start a container, test it and stop it; then start it again until it is ready, for the containers that need
    it."""
    folder.mkdir()
    container = f"{NETWORK}-{trial.name}"
    started = time.monotonic()
    docker("run", "--detach", "--name", container, *options(trial, folder), trial.image, *trial.command)
    ready_s = wait_until_ready(trial, container, started)
    for command, expected in trial.checks:
        _, output = run_in(container, command)
        if not re.search(expected, output):
            raise RuntimeError(f"{trial.image}: `{command}` should print /{expected}/, but printed:\n{output}")
    memory = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container).split(" / ")[0]
    stopping = time.monotonic()
    docker("stop", "--time", "20", container)
    stopped_s = time.monotonic() - stopping
    docker("start", container)
    wait_until_ready(trial, container, time.monotonic())
    print_progress(
        trial.image, f"ready after {ready_s:.1f} s, {memory}, stopped in {stopped_s:.1f} s, {len(trial.checks)} checks"
    )


def wait_until_ready(trial: Trial, container: str, started: float) -> float:
    """Return the seconds from `started` (monotonic) until the container reports ready."""
    while not run_in(container, trial.ready)[0]:
        state = docker("inspect", "--format", "{{.State.Status}}", container).strip()
        if state != "running" or time.monotonic() - started > DEADLINE_S:
            raise RuntimeError(f"{trial.image} isn't ready ({state}):\n{docker('logs', '--tail', '40', container)}")
        time.sleep(0.1)
    return time.monotonic() - started


def options(trial: Trial, folder: Path) -> list[str]:
    """Return the options of `docker run` for a test; its files are in `folder` and mounted read-only."""
    given = [*HARDENED, "--user", trial.user, "--network", NETWORK, "--network-alias", trial.name]
    owner = trial.user.replace(":", ",gid=")
    for path in trial.scratch:
        given += ["--tmpfs", f"{path}:uid={owner},mode=0755"]
    for path in trial.data:
        given += ["--volume", path]
    for name, value in trial.environment.items():
        given += ["--env", f"{name}={value}"]
    for number, (path, content) in enumerate(trial.files.items()):
        source = folder / str(number)
        source.write_text(content)
        source.chmod(0o644)
        given += ["--volume", f"{source}:{path}:ro"]
    return given


def run_in(container: str, command: str) -> tuple[bool, str]:
    """Run a shell command in the container; return whether it succeeded, and its output."""
    done = subprocess.run(
        ["docker", "exec", container, "sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


if __name__ == "__main__":
    sys.exit(main())
