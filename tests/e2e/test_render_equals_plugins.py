"""Compare what `render` records with what the real plugins are asked to create: every resource, every input, in both
directions.

The stack's credentials are set to the recording's tokens, and the preview's plan is saved with secrets shown, so
that secrets are compared too. A plan contains the inputs after the provider's check. Values that the check added are
listed there under `__defaults` and left out here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.project import ROOT
from operations.render.placeholders import TLS_PAIR, Placeholders, token
from operations.render.resources import recorded_resources
from recording.recorder import Registration
from settings import NAMESPACE, parse
from tests.engine.configurations import zookeeper_with_tools
from tests.engine.pulumi_stack import PulumiStack
from tests.unit.platform_recording import pulumi_config

UNKNOWN_VALUE = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What Pulumi writes for a value that is only known after creation."""

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""The key that marks a secret value in a plan."""

STACK = "pulumi:pulumi:Stack"
PROVIDER = "pulumi:providers:docker"
BUILT_IN = "pulumi:providers:pulumi"
"""The provider of the engine's own resources (`Stash`), which the engine registers itself."""

PROVIDER_EXTRAS = {"version", "__internal"}
"""Provider inputs that the engine adds."""


def dev_configuration() -> dict[str, Any]:
    """Return the configuration that developers run."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    return {key.partition(":")[2]: value for key, value in config.items() if key.startswith(f"{NAMESPACE}:")}


def kraft_with_tools_and_generated_secrets() -> dict[str, Any]:
    """Return a configuration with Kafka's other mode, and a password for Redis too."""
    configured = zookeeper_with_tools()
    return configured | {"kafka": {"port": configured["kafka"]["port"], "mode": "kraft"}, "credentials": "generated"}


class BothSides:
    """The same configuration, previewed with the plugins and recorded without them."""

    def __init__(self, home: Path, configuration: Mapping[str, Any]) -> None:
        settings = parse(pulumi_config(configuration))
        placeholders = Placeholders.of(settings, ())
        stack = PulumiStack(home, configuration=configuration)
        stack.set_secrets({one.key: token(one) for one in placeholders.by_credential if one not in TLS_PAIR})
        plan = home / "plan.json"
        shown = stack.preview("--json", "--show-secrets", f"--save-plan={plan}").succeeded().output
        # The output may have warnings before the plan, and a note after it.
        steps = json.JSONDecoder().raw_decode(shown, shown.index("{\n"))[0]["steps"]
        assert {step["op"] for step in steps} == {"create"}
        self.states = {_reference(one["urn"]): one["newState"] for one in steps if _is_ours(one["newState"]["type"])}
        goals = {urn: one["goal"] for urn, one in json.loads(plan.read_text())["resourcePlans"].items()}
        self.goals = {_reference(urn): goal for urn, goal in goals.items() if _is_ours(goal["type"])}
        listed = recorded_resources(settings, placeholders, stack.name)
        self.recorded = {str(one): one for one in listed}
        assert len(self.recorded) == len(listed)


CONFIGURATIONS = [dev_configuration, kraft_with_tools_and_generated_secrets]


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda made: made.__name__)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BothSides:
    """Run both without creating anything: a preview needs no Docker engine."""
    return BothSides(tmp_path_factory.mktemp("stack"), request.param())


def test_render_and_the_plugins_have_the_same_resources(both: BothSides) -> None:
    kinds = {one.type.rpartition(":")[2] for one in both.recorded.values()}
    assert {"Container", "Volume", "Network", "RemoteImage", "DataLayer", "DevTools"} <= kinds

    assert both.recorded.keys() == both.goals.keys() == both.states.keys()


def test_every_input_is_the_same(both: BothSides) -> None:
    computed: set[str] = set()
    unknown_as_a_whole: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, str):
            computed.add(value)
        else:
            unknown_as_a_whole.append(value)

    for reference, goal in both.goals.items():
        recorded = both.recorded[reference]
        planned = _without_additions(goal["inputDiff"].get("adds", {}))
        if goal["type"] == PROVIDER:
            planned = {key: value for key, value in planned.items() if key not in PROVIDER_EXTRAS}
        assert _with_unknowns(recorded.inputs, planned, collect) == planned, reference

    # A preview of a new stack doesn't know its identity, which is part of each container's labels.
    labels = [one.inputs["labels"] for one in both.recorded.values() if one.type.endswith(":Container")]
    assert len(unknown_as_a_whole) == len(labels) + 1
    assert [one for one in unknown_as_a_whole if one not in labels] == [{}]

    # If the plugins don't know a value yet, the recording has a substitute: a name, a range or a generated ID.
    images = {one.inputs["name"] for one in both.recorded.values() if one.type.endswith(":RemoteImage")}
    declared = [one.inputs for one in both.recorded.values() if one.type.endswith(":Network")]
    networks = {one["name"] for one in declared}
    # A preview leaves address ranges open, so that its plan is valid on an engine with other networks.
    ranges = {address for one in declared for configured in one["ipamConfigs"] for address in configured.values()}
    assert len(ranges) == 2 * len(networks)
    files = [one for one in both.recorded.values() if one.inputs.get("uploads")]
    in_labels = {label["value"] for one in labels for label in one}
    ids = {value for value in computed | in_labels if re.fullmatch("[0-9a-f]{64}", value)}
    assert computed - ids == images | networks | ranges
    # IDs of the containers that copy files, and of those that others wait for.
    awaited = [
        one for one in both.recorded.values() if one.type.endswith(":Stash") and "container" in one.inputs["input"]
    ]
    assert len(ids) == len(files) + len(awaited)


def test_the_same_inputs_are_secret(both: BothSides) -> None:
    secret = set()
    for reference, goal in both.goals.items():
        # A provider's check makes a whole input secret if any part of it is.
        hidden = {key for key, value in goal["inputDiff"].get("adds", {}).items() if _is_secret(value)}
        assert {path.split(".")[0] for path in both.recorded[reference].secret} == hidden, reference
        secret |= hidden
    assert secret == {"uploads"}


def test_every_option_is_the_same(both: BothSides) -> None:
    for reference, state in both.states.items():
        assert _options(both.recorded[reference]) == _options_planned(state, both.goals[reference]), reference


def _is_ours(type_: str) -> bool:
    return type_ not in (STACK, BUILT_IN)


def _reference(urn: str) -> str:
    types, name = urn.split("::")[-2:]
    return f"{types.rpartition('$')[2]} {name}"


def _is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and SECRET.items() <= value.items()


def _without_additions(value: Any) -> Any:
    """Return a planned value without secret marks and without the provider's defaults."""
    if _is_secret(value):
        return _without_additions(json.loads(value["plaintext"]))
    if isinstance(value, Mapping):
        filled_in = {"__defaults", *value.get("__defaults", ())}
        return {key: _without_additions(one) for key, one in value.items() if key not in filled_in}
    return [_without_additions(one) for one in value] if isinstance(value, list) else value


def _with_unknowns(value: Any, planned: Any, collect: Callable[[Any], None]) -> Any:
    """Return a recorded value with unknown parts wherever the plan has them; `collect` receives the recorded parts."""
    if planned == UNKNOWN_VALUE:
        collect(value)
        return UNKNOWN_VALUE
    if isinstance(value, Mapping) and isinstance(planned, Mapping):
        return {key: _with_unknowns(one, planned.get(key), collect) for key, one in value.items()}
    if isinstance(value, list) and isinstance(planned, list) and len(value) == len(planned):
        return [_with_unknowns(one, other, collect) for one, other in zip(value, planned, strict=True)]
    return value


def _options(recorded: Registration) -> dict[str, Any]:
    return {
        "parent": recorded.parent,
        "provider": recorded.provider,
        "protect": recorded.protect,
        "retain_on_delete": recorded.retain_on_delete,
        "delete_before_replace": recorded.delete_before_replace,
        "dependencies": recorded.dependencies,
        "hooks": recorded.hooks,
    }


def _options_planned(state: Mapping[str, Any], goal: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parent": _reference(state["parent"]) if state.get("parent") else "",
        "provider": _provider(state),
        "protect": state.get("protect", False),
        "retain_on_delete": state.get("retainOnDelete", False),
        "delete_before_replace": goal.get("deleteBeforeReplace", False),
        "dependencies": frozenset(map(_reference, state.get("dependencies") or [])),
        "hooks": {_snake(moment): tuple(names) for moment, names in (state.get("resourceHooks") or {}).items()},
    }


def _provider(state: Mapping[str, Any]) -> str:
    provider = _reference(state["provider"].rpartition("::")[0]) if state.get("provider") else ""
    return "" if provider.startswith(f"{BUILT_IN} ") else provider


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
