"""What `render` records is what the real plugins are asked to create: every resource, every input, both ways.

`pulumi preview --json` shows each resource as the provider's own check has left it; what that check filled in by
itself is listed there under `__defaults` and left out here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.project import ROOT
from operations.render.placeholders import Placeholders
from operations.render.recorder import Registration
from operations.render.render import recorded_resources
from settings import NAMESPACE, parse
from tests.engine.configurations import zookeeper_with_tools
from tests.engine.pulumi_stack import PulumiStack

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What Pulumi writes for a value that only the creation will tell."""

SECRET = "[secret]"
STACK = "pulumi:pulumi:Stack"
PROVIDER = "pulumi:providers:docker"
PROVIDER_EXTRAS = {"version", "__internal"}
"""Inputs of a provider that the engine adds."""


def dev_configuration() -> dict[str, Any]:
    """The configuration that developers run."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    return {key.partition(":")[2]: value for key, value in config.items() if key.startswith(f"{NAMESPACE}:")}


def kraft_with_tools() -> dict[str, Any]:
    """The other mode of Kafka."""
    configured = zookeeper_with_tools()
    return configured | {"kafka": {"port": configured["kafka"]["port"], "mode": "kraft"}}


class BothSides:
    """The same configuration, previewed with the plugins and recorded without them."""

    def __init__(self, home: Path, configuration: Mapping[str, Any]) -> None:
        stack = PulumiStack(home, configuration=configuration)
        shown = stack.preview("--json").succeeded().output
        # Warnings may stand before it.
        steps = json.loads(shown[shown.index("{\n") :])["steps"]
        self.planned = {
            _reference(step["urn"]): step["newState"] for step in steps if step["newState"]["type"] != STACK
        }
        assert {step["op"] for step in steps} == {"create"}
        settings = parse({f"{NAMESPACE}:{key}": value for key, value in configuration.items()})
        listed = recorded_resources(settings, Placeholders.of(settings, ()), stack.name)
        self.recorded = {str(one): one for one in listed}
        assert len(self.recorded) == len(listed)

    def pairs(self) -> Iterator[tuple[str, Mapping[str, Any], Registration]]:
        """The resources that both have, by reference."""
        for reference, planned in self.planned.items():
            yield reference, planned, self.recorded[reference]


@pytest.fixture(scope="module", params=[dev_configuration, kraft_with_tools], ids=lambda made: made.__name__)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BothSides:
    """Nothing is created: a preview needs no engine."""
    return BothSides(tmp_path_factory.mktemp("stack"), request.param())


def test_both_have_the_same_resources(both: BothSides) -> None:
    kinds = {one.type.rpartition(":")[2] for one in both.recorded.values()}
    assert {"Container", "Volume", "Network", "RemoteImage", "DataLayer", "DevTools"} <= kinds

    assert both.recorded.keys() == both.planned.keys()


def test_every_input_is_the_same(both: BothSides) -> None:
    told_later: set[str] = set()
    for reference, planned, recorded in both.pairs():
        asked = _without_defaults(planned.get("inputs", {}))
        if planned["type"] == PROVIDER:
            asked = {key: value for key, value in asked.items() if key not in PROVIDER_EXTRAS}
        elif not planned["custom"]:
            # A component's arguments stay in the program.
            assert asked == recorded.inputs == {}, reference
        assert _as_previewed(recorded.inputs, recorded.secret, asked, told_later.add) == asked, reference

    # Where the plugins can't tell yet, the recording has what stands for it: a name, or an id of its own making.
    images = {one.inputs["name"] for one in both.recorded.values() if one.type.endswith(":RemoteImage")}
    networks = {one.inputs["name"] for one in both.recorded.values() if one.type.endswith(":Network")}
    uploader_ids = {value for value in told_later if len(value) == 64}
    assert told_later - uploader_ids == images | networks
    files = [one for one in both.recorded.values() if one.inputs.get("uploads")]
    assert len(uploader_ids) == len(files)


def test_every_option_is_the_same(both: BothSides) -> None:
    for reference, planned, recorded in both.pairs():
        assert _options_planned(planned) == _options_recorded(recorded), reference


def _reference(urn: str) -> str:
    types, name = urn.split("::")[-2:]
    return f"{types.rpartition('$')[2]} {name}"


def _without_defaults(value: Any) -> Any:
    """What the program said, without what the provider has filled in."""
    if isinstance(value, Mapping):
        filled_in = {"__defaults", *value.get("__defaults", ())}
        return {key: _without_defaults(one) for key, one in value.items() if key not in filled_in}
    return [_without_defaults(one) for one in value] if isinstance(value, list) else value


def _as_previewed(value: Any, secret: frozenset[str], planned: Any, tell: Callable[[str], None], path: str = "") -> Any:
    """A recorded value as a preview shows it: secrets hidden; where the preview knows nothing yet, nothing either."""
    if path in secret:
        return SECRET
    if planned == UNKNOWN:
        tell(value)
        return UNKNOWN
    if isinstance(value, Mapping):
        known = planned if isinstance(planned, Mapping) else {}
        return {
            key: _as_previewed(one, secret, known.get(key), tell, f"{path}.{key}".lstrip("."))
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        items = planned if isinstance(planned, list) and len(planned) == len(value) else [None] * len(value)
        return [
            _as_previewed(one, secret, items[number], tell, f"{path}.{number}".lstrip("."))
            for number, one in enumerate(value)
        ]
    return value


def _options_planned(planned: Mapping[str, Any]) -> dict[str, Any]:
    parent = _reference(planned["parent"]) if planned.get("parent") else ""
    return {
        "parent": parent,
        "provider": _reference(planned["provider"].rpartition("::")[0]) if planned.get("provider") else "",
        "protect": planned.get("protect", False),
        "retain_on_delete": planned.get("retainOnDelete", False),
        "dependencies": frozenset(map(_reference, planned.get("dependencies") or [])),
        "property_dependencies": {
            key: frozenset(map(_reference, urns or []))
            for key, urns in (planned.get("propertyDependencies") or {}).items()
            if urns
        },
        "hooks": {_snake(moment): tuple(names) for moment, names in (planned.get("resourceHooks") or {}).items()},
    }


def _options_recorded(recorded: Registration) -> dict[str, Any]:
    return {
        "parent": recorded.parent,
        "provider": recorded.provider,
        "protect": recorded.protect,
        "retain_on_delete": recorded.retain_on_delete,
        "dependencies": recorded.dependencies,
        "property_dependencies": {key: found for key, found in recorded.property_dependencies.items() if found},
        "hooks": recorded.hooks,
    }


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
