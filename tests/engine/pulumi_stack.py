"""A temporary stack, run with the real `pulumi` command, with its own state and configuration."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contract import StackOutputs
from operations.project import PASSPHRASE_VARIABLES, ROOT, environment
from tests.engine import docker_engine, event_log, restarts
from tests.engine.event_log import GrowingLog, Step
from tests.engine.waiting import DEADLINE_S, until

UPDATE_DEADLINE_S = 420
QUIET_OPTIONS = ("--non-interactive", "--color", "never")
REFRESHING_COMMANDS = ("up", "preview", "destroy")
"""Commands that begin with a refresh according to Pulumi.yaml."""


@dataclass(frozen=True)
class Outcome:
    """A pulumi command that has ended."""

    code: int
    output: str
    """Standard output and error together, as on a terminal."""

    log: Path
    """Event log of the command, if it wrote one."""

    @property
    def changes(self) -> list[str]:
        """Return the command's changes, per resource."""
        return event_log.changes(self.log)

    @property
    def replaced(self) -> set[str]:
        """Return the names of the resources that the command replaced."""
        return {step.name for step in event_log.steps(self.log) if step.operation == "create-replacement"}

    @property
    def replaced_types(self) -> set[str]:
        """Return the types of the resources that the command replaced."""
        return {step.type for step in event_log.steps(self.log) if step.operation == "create-replacement"}

    @property
    def deleted(self) -> list[str]:
        """Return the names of the resources that the command deleted without replacing them."""
        return [change for change in self.changes if change.startswith("delete ")]

    def events(self) -> str:
        """Return the event log, including debug messages."""
        return self.log.read_text()

    def succeeded(self) -> Outcome:
        """Return the outcome; fail the test if the command failed."""
        assert self.code == 0, self.output
        return self

    def failed(self) -> Outcome:
        """Return the outcome; fail the test if the command succeeded."""
        assert self.code != 0, f"it should have failed:\n{self.output}"
        return self

    def record(self) -> str:
        """Return the URN in the `pulumi state delete` command of an error message."""
        found = re.search(r"pulumi state delete --stack \S+ '([^']+)'", self.failed().output)
        assert found, self.output
        return found.group(1)


class PulumiStack:
    """A stack of the program in `program`, with a name that is unique on this machine.

    Its commands run without the refresh that Pulumi.yaml enables, which halves their time. The argument `--refresh`
    enables it.

    Args:
        home: directory for state, configuration and logs.
        program: the folder with the program's Pulumi.yaml, used in place.
        configuration: keys without the project's namespace, and values; secrets are set with `set_secrets`.
        state: the state directory of another stack, to share it.
        name: the name of another stack, whose objects on the engine then have the same names.
        unexecuted: the workload whose liveness check can't be executed; `remove` fails if that of another one can't.
    """

    def __init__(
        self,
        home: Path,
        program: Path = ROOT,
        configuration: Mapping[str, Any] | None = None,
        state: Path | None = None,
        name: str | None = None,
        unexecuted: str | None = None,
    ) -> None:
        self.name = name or f"t{secrets.token_hex(3)}"
        restarts.watch(self.name)
        self.home = home
        self.state = state or home / "state"
        # Commands without --config-file (`stack init`, `config set-all`) run here, beside the file they write.
        self.project = home / "project"
        self.config_file = self.project / f"Pulumi.{self.name}.yaml"
        self._program = program
        self._namespace = yaml.safe_load((program / "Pulumi.yaml").read_text())["name"]
        self._unexecuted = {unexecuted}
        self._commands = 0
        self._killed: list[int] = []
        self.project.mkdir(parents=True)
        shutil.copy(program / "Pulumi.yaml", self.project)
        self.configure({"pulumi:disable-default-providers": ["docker"], **(configuration or {})})
        self.init()

    def runs(self, program: Path) -> None:
        """Use the program in that folder from now on."""
        self._program = program

    # Commands that users run.

    def init(self) -> None:
        """Create the stack in an empty state."""
        self.state.mkdir(exist_ok=True)
        self._run_quick("stack", "init", self.name, "--no-select")

    def up(self, *options: str) -> Outcome:
        """Run `pulumi up`."""
        return self._run("up", "--yes", "--skip-preview", *options)

    def preview(self, *options: str) -> Outcome:
        """Run `pulumi preview`."""
        return self._run("preview", *options)

    def refresh(self, *options: str) -> Outcome:
        """Run `pulumi refresh`."""
        return self._run("refresh", "--yes", "--skip-preview", *options)

    def destroy(self, *options: str) -> Outcome:
        """Run `pulumi destroy`."""
        return self._run("destroy", "--yes", "--skip-preview", *options)

    def forget(self, urn: str) -> None:
        """Run `pulumi state delete`."""
        self._run_quick("state", "delete", "--yes", "--stack", self.name, urn)

    def cancel(self) -> None:
        """Run `pulumi cancel`, which removes the lock of a killed update."""
        self._run_quick("cancel", "--yes", "--stack", self.name)

    def export(self, *options: str) -> dict[str, Any]:
        """Run `pulumi stack export`; secrets stay encrypted without `--show-secrets`."""
        exported: dict[str, Any] = json.loads(self._run_quick("stack", "export", "--stack", self.name, *options))
        return exported

    def import_state(self, file: Path) -> None:
        """Run `pulumi stack import`."""
        self._run_quick("stack", "import", "--stack", self.name, "--file", str(file))

    def shown_outputs(self, *options: str) -> str:
        """Run `pulumi stack output --json`."""
        return self._run_quick("stack", "output", "--json", "--stack", self.name, *options)

    def outputs(self) -> StackOutputs[str]:
        """Return the outputs with their secret values."""
        return StackOutputs.parse(json.loads(self.shown_outputs("--show-secrets")))

    # Configuration and state of the stack.

    def configure(self, values: Mapping[str, Any]) -> None:
        """Set keys; for an object, only the given fields."""
        document = yaml.safe_load(self.config_file.read_text()) if self.config_file.exists() else {}
        config = document.setdefault("config", {})
        for short, value in values.items():
            key = short if ":" in short else f"{self._namespace}:{short}"
            known = config.get(key)
            config[key] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        self.config_file.write_text(yaml.safe_dump(document))

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Run `pulumi config set --secret` for each."""
        pairs = [f"--secret={self._namespace}:{key}={value}" for key, value in values.items()]
        self._run_quick("config", "set-all", "--stack", self.name, *pairs)

    def set_path(self, path: str, value: str) -> None:
        """Run `pulumi config set --path`, without `--type`."""
        self._run_quick("config", "set", "--path", "--stack", self.name, f"{self._namespace}:{path}", "--", value)

    def unset_secret(self, key: str) -> None:
        """Run `pulumi config rm`."""
        self._run_quick("config", "rm", "--stack", self.name, f"{self._namespace}:{key}")

    def lose_state(self) -> None:
        """Delete the state, as if the disk were lost, and create a new stack with the same name."""
        shutil.rmtree(self.state)
        self.init()

    # Interrupted and killed updates.

    def interrupt_up_when(self, moment: str, has_come: Callable[[list[Step]], bool], times: int) -> str:
        """Start `pulumi up`, send it SIGINT at the given moment, like Ctrl-C on a terminal, and return its output.

        Args:
            moment: its name, for the error message if it never occurs.
            has_come: receives the steps that the engine has begun and finished.
            times: number of signals; each one follows once Pulumi has reacted to the one before.
        """
        with self._running_until(moment, has_come, "up") as (process, written):
            for _ in range(times):
                assert process.poll() is None, written.read_text()
                os.killpg(process.pid, signal.SIGINT)
                until("Pulumi reacts", lambda: "^C received" in written.read_text() or process.poll() is not None)
            until("the update ends", lambda: process.poll() is not None, UPDATE_DEADLINE_S)
        return written.read_text()

    def kill_up_when(self, moment: str, has_come: Callable[[list[Step]], bool], *, plugins_too: bool) -> None:
        """Start `pulumi up` and kill it at the given moment, like `kill_when`."""
        self.kill_when(moment, has_come, plugins_too=plugins_too)

    def kill_when(
        self, moment: str, has_come: Callable[[list[Step]], bool], *, plugins_too: bool, command: str = "up"
    ) -> None:
        """Start `pulumi up` or `pulumi destroy` and kill it with SIGKILL at the given moment.

        Args:
            moment: its name, for the error message if it never occurs.
            has_come: receives the steps that the engine has begun and finished.
            plugins_too: False kills only the command's process group. Plugins have their own groups: they survive for
                minutes and may still finish their work. True kills them too, as when the machine loses power.
            command: `up` or `destroy`.
        """
        with self._running_until(moment, has_come, command) as (process, _):
            os.killpg(process.pid, signal.SIGKILL)
        if plugins_too:
            self.end_orphans()

    @contextmanager
    def _running_until(
        self, moment: str, has_come: Callable[[list[Step]], bool], command: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Start a command in its own process group. Provide the process and the file with its output once the moment
        has come; the caller ends the process."""
        arguments, log = self._arguments(command, "--yes", "--skip-preview")
        written = log.with_suffix(".txt")
        growing = GrowingLog(log)
        with written.open("w") as sink:
            process = subprocess.Popen(
                arguments,
                cwd=self._program,
                env=self._environment(),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._killed.append(process.pid)
        until(
            f"{moment}, or the end",
            lambda: has_come(growing.steps()) or process.poll() is not None,
            UPDATE_DEADLINE_S,
        )
        assert process.poll() is None, f"the update ended before: {moment}\n{written.read_text()}"
        yield process, written
        process.wait(DEADLINE_S)

    def end_orphans(self) -> None:
        """Kill the plugins of killed and interrupted updates; each update had its own session."""
        for directory in Path("/proc").iterdir():
            try:
                session = int((directory / "stat").read_text().rpartition(")")[2].split()[3])
                if session in self._killed:
                    os.kill(int(directory.name), signal.SIGKILL)
            except (OSError, ValueError):  # The process doesn't exist or has ended.
                continue

    def remove(self) -> None:
        """Remove everything from the engine; the state is removed with the test's folder."""
        self.end_orphans()
        unexecuted = docker_engine.unexecuted_checks(self.name)
        docker_engine.remove_everything(self.name)
        assert unexecuted - self._unexecuted == set()

    def _run(self, command: str, *options: str) -> Outcome:
        arguments, log = self._arguments(command, *options)
        done = subprocess.run(
            arguments,
            cwd=self._program,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=UPDATE_DEADLINE_S,
        )
        return Outcome(done.returncode, done.stdout, log)

    def _arguments(self, command: str, *options: str) -> tuple[list[str], Path]:
        """Return the command's arguments for this stack and its event log."""
        self._commands += 1
        if command in REFRESHING_COMMANDS and not any(option.startswith("--refresh") for option in options):
            options = ("--refresh=false", *options)
        log = self.home / f"{self._commands:02}-{command}.events"
        own = ("--stack", self.name, "--config-file", str(self.config_file), "--event-log", str(log))
        return ["pulumi", command, *own, *QUIET_OPTIONS, *options], log

    def _run_quick(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *QUIET_OPTIONS, *arguments],
            cwd=self.project,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"pulumi {arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Return the environment without the user's state and passphrase."""
        kept = {name: value for name, value in environment().items() if name not in PASSPHRASE_VARIABLES}
        return kept | {
            # Disable `.attrs` files: Pulumi writes them in place. A kill during the write leaves an empty file, after
            # which no command, including `pulumi cancel`, can read the state ("failed to load checkpoint: EOF").
            "PULUMI_BACKEND_URL": f"file://{self.state}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase of the tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # Required for --event-log.
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
