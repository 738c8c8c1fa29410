"""Generated credentials appear in no output of Pulumi, on no command line and nowhere on the engine.

Pulumi masks supplied credentials wherever their text occurs, because it reads them from the configuration. It can't
mask generated values like that: only the secret mark of each property hides them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from settings.credentials import required_credentials
from settings.models import Settings
from tests.engine import configurations, docker_engine
from tests.engine.canary import VERBOSE_OPTIONS, generated_values, values_found_in, watched_arguments
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import Outcome, PulumiStack

KEYS = {one.key for one in required_credentials(Settings())}
RENEWED_SECRET = "userAppPassword"
"""The credential that is regenerated, so that an update has an old and a new value to show."""


@dataclass(frozen=True)
class Shown:
    """All output of a stack with generated credentials, from its first preview to its removal."""

    values: dict[str, str] = field(repr=False)
    """Every value ever generated, by key; the one before the renewal as `… (before)`."""

    outcomes: dict[str, Outcome] = field(repr=False)
    arguments: set[str] = field(repr=False)
    """Command lines of this machine's processes during two updates."""

    engine: dict[str, str] = field(repr=False)
    """The engine's details of each object, and each container's log."""

    stored: dict[str, str] = field(repr=False)
    """The state without `--show-secrets`, its files, the configuration and Pulumi's own logs."""


@pytest.fixture(scope="module")
def shown(make_shared_stack: MakeStack) -> Shown:
    """The output of every command, each with an event log."""
    stack = make_shared_stack(configuration=configurations.kraft())
    with watched_arguments() as arguments:
        outcomes = {
            "first preview": stack.preview("--diff", "--debug"),
            "first up": stack.up("--diff", "--debug").succeeded(),
        }
        before = generated_values(stack)
        renewal = stack.up("--debug", "--diff", "--replace", _urn(stack, RENEWED_SECRET))
    outcomes |= {
        "renewal": renewal,
        "up --json": stack.up("--json"),
        "up -v=8": stack.up(*VERBOSE_OPTIONS),
        "preview --json": stack.preview("--json"),
        "preview -v=8": stack.preview("--diff", *VERBOSE_OPTIONS),
        "refresh": stack.refresh("--diff", "--debug"),
        "refresh --json": stack.refresh("--json"),
    }
    values = generated_values(stack)
    assert values[RENEWED_SECRET] != before[RENEWED_SECRET]
    engine, stored = _engine(stack), _stored(stack)
    outcomes["destroy"] = stack.destroy("--diff", "--debug", *VERBOSE_OPTIONS)
    for outcome in outcomes.values():
        outcome.succeeded()
    return Shown(values | {f"{RENEWED_SECRET} (before)": before[RENEWED_SECRET]}, outcomes, arguments, engine, stored)


def test_every_credential_was_generated(shown: Shown) -> None:
    assert shown.values.keys() == KEYS | {f"{RENEWED_SECRET} (before)"}
    assert {len(value) for value in shown.values.values()} == {32}


def test_no_command_shows_a_generated_credential(shown: Shown) -> None:
    texts = {name: outcome.output for name, outcome in shown.outcomes.items()}
    assert "register resource outputs" in texts["first up"]  # Debug messages are included.
    assert _leaks(texts, shown) == {}


def test_no_event_log_holds_a_generated_credential(shown: Shown) -> None:
    texts = {name: outcome.events() for name, outcome in shown.outcomes.items()}
    assert [name for name, text in texts.items() if '"severity":"debug"' not in text] == []
    assert _leaks(texts, shown) == {}


def test_no_stored_file_contains_a_generated_credential(shown: Shown) -> None:
    assert len(shown.stored) > 5
    assert _leaks(shown.stored, shown) == {}


def test_no_process_has_a_generated_credential_in_its_arguments(shown: Shown) -> None:
    assert any("pulumi" in line for line in shown.arguments)
    assert _leaks({line: line for line in shown.arguments}, shown) == {}


def test_the_engine_shows_no_generated_credential(shown: Shown) -> None:
    assert any(name.startswith("logs of ") for name in shown.engine)
    assert _leaks(shown.engine, shown) == {}


def _leaks(texts: dict[str, str], shown: Shown) -> dict[str, set[str]]:
    return {name: found for name, text in texts.items() if (found := values_found_in(text, shown.values))}


def _urn(stack: PulumiStack, key: str) -> str:
    resources = stack.export()["deployment"]["resources"]
    return next(str(one["urn"]) for one in resources if _name(one["urn"]) == key)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _engine(stack: PulumiStack) -> dict[str, str]:
    texts = {
        "volumes": json.dumps(docker_engine.volumes(stack.name)),
        "networks": json.dumps(docker_engine.networks(stack.name)),
    }
    for container in docker_engine.containers(stack.name):
        texts[container["Name"]] = json.dumps(container)
        texts[f"logs of {container['Name']}"] = docker("logs", container["Id"])
    return texts


def _stored(stack: PulumiStack) -> dict[str, str]:
    logs = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi")) / "logs"
    files = [one for one in stack.state.rglob("*") if one.is_file()] + [*logs.glob(f"*{stack.name}*")]
    texts = {str(one): one.read_bytes().decode(errors="replace") for one in [*files, stack.config_file]}
    return texts | {"stack export": json.dumps(stack.export()), "stack output": stack.shown_outputs()}
