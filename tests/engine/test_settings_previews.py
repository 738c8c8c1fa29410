"""No change of settings deletes or replaces data: the real engine previews random changes."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings

from settings import SettingsError, parse
from tests.engine import event_log, random_settings
from tests.engine.pulumi_stack import PulumiStack

PREVIEWS = 12
REPLACEMENTS = {"replace", "create-replacement", "delete-replaced"}
GENERATED = "RandomPassword"


@settings(
    max_examples=PREVIEWS,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(changed=random_settings.changes())
def test_no_change_of_settings_deletes_or_replaces_data(stores_stack: PulumiStack, changed: dict[str, Any]) -> None:
    configured = stores_stack.config_file.read_text()
    try:
        stores_stack.configure(changed)
        assume(accepted(stores_stack))
        outcome = stores_stack.preview()
    finally:
        stores_stack.config_file.write_text(configured)
    retained = retained_resources(stores_stack)
    assert {"postgres-data", "redis-data", "kafka-kraft-data"} <= retained
    print(f"{changed}: exit code {outcome.code}, {len(outcome.changes)} changes")
    lost = [
        step
        for step in event_log.steps(outcome.log)
        if (step.operation in REPLACEMENTS and (step.name in retained or step.type == GENERATED))
        or (step.operation == "delete" and step.name in retained and not step.keeps_object)
    ]
    assert lost == []


def retained_resources(stack: PulumiStack) -> set[str]:
    """Return the names of the resources whose objects stay when the stack gives them up."""
    resources = stack.export()["deployment"]["resources"]
    return {one["urn"].rpartition("::")[2] for one in resources if one.get("retainOnDelete")}


def accepted(stack: PulumiStack) -> bool:
    """Return whether the settings accept the stack's configuration."""
    text = stack.config_file.read_text()
    values = yaml.safe_load(text)["config"].items()
    raw = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values}
    try:
        parse(raw, with_secrets=False, source=text)
    except SettingsError:
        return False
    return True
