"""Old configuration keys: each is refused, with the key that replaces it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from operations import configuration
from operations.project import OperationError
from settings import Settings, SettingsError
from settings.load import section_model
from settings.renamed import REMOVED, RENAMED, RENAMED_SECRETS, RenamedKey, with_current_keys
from tests.former_keys import with_former_keys, without_added_keys
from tests.unit.conftest import Deploy
from tests.unit.mistakes import HIDDEN_VALUE, assert_refused, entries, refusal, refused_keys
from tests.unit.paths import ROOT
from tests.unit.test_settings_every_key import STACKS
from tests.unit.test_settings_every_key import SUPPLIED_SECRETS as SECRETS

VALUES: Mapping[str, Any] = {
    "gateway.edge": "nginx",
    "gateway.nginx": {"replicas": 2},
    "gateway.ingress": {"className": "traefik"},
    "kafka.topics": 3,
    "kubernetes.dnsCidrs": ["10.0.0.10/32"],
    "kubernetes.pullSecrets": ["registry"],
    "<applications>.each": {"user": {"replicas": 2}},
    "monitoring.prometheus.kubelets": True,
    "monitoring.exporters.probe": "blackbox:1",
    "monitoring.receivers.watchdog": True,
}
"""Maps old keys to valid values of their new keys; values of other keys are numbers of replicas or names."""


def old_and_new(row: RenamedKey) -> tuple[str, str, Any]:
    """A row's keys, for one service, and a value of the old one."""
    key, _, value = row.old.partition(": ")
    new = row.new.partition(": ")[0]
    value = value or VALUES.get(row.old, 3 if "scaling" in key else "public")
    key, new = (one.replace("<applications>", "services").replace("<name>", "user") for one in (key, new))
    return key, new, value


def nested(key: str, value: Any) -> dict[str, Any]:
    """A configuration with one key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


@pytest.mark.parametrize("row", RENAMED, ids=lambda row: row.old)
def test_an_old_key_is_refused_with_its_value_its_new_key_and_the_fix(row: RenamedKey) -> None:
    key, new, value = old_and_new(row)
    found = {one.key: one for one in entries(refusal(nested(key, value)))}[key]
    assert found.value == (repr(value) if isinstance(value, str) else json.dumps(value))
    expected = new if key != new else row.new.partition(": ")[2]
    assert expected in found.problem
    assert found.fix is not None
    assert f"pti-calendar:{new}" in found.fix
    if key != new and not isinstance(value, dict | list):
        assert f"pulumi config rm --path 'pti-calendar:{key}'" in found.fix


@pytest.mark.parametrize("row", RENAMED, ids=lambda row: row.old)
def test_the_new_key_of_each_row_exists(row: RenamedKey) -> None:
    model: type[BaseModel] = Settings
    for part in old_and_new(row)[1].split("."):
        assert part in {field.alias or name for name, field in model.model_fields.items()}
        model = section_model(model, part) or model


@pytest.mark.parametrize(("old", "new"), RENAMED_SECRETS.items())
def test_an_old_secret_is_refused_and_its_value_is_not_shown(old: str, new: str) -> None:
    (found,) = entries(refusal({old: "encrypted"}, [old]))
    assert (found.key, found.value) == (old, HIDDEN_VALUE)
    assert new in found.problem
    assert found.fix == f"pulumi config set --secret pti-calendar:{new}; then pulumi config rm pti-calendar:{old}"


def test_a_removed_key_is_refused_with_its_reason() -> None:
    for key, problem in REMOVED.items():
        assert problem in refused_keys(nested(key, 1))[key]


@pytest.mark.parametrize("stack", STACKS)
def test_a_configuration_with_only_old_keys_has_no_other_error(stack: str) -> None:
    old = with_former_keys(STACKS[stack], RENAMED)
    assert with_current_keys(old)[0] == without_added_keys(STACKS[stack])
    problems = {one.problem for one in entries(refusal({**old, **SECRETS}, [*SECRETS]))}
    assert {one for one in problems if not re.match("was renamed to|is the former name of", one)} == set()


def test_values_under_old_keys_are_validated_too() -> None:
    found = refused_keys({"gateway": {"enabled": True, "nginx": {"replicas": 0}}})
    assert found.keys() == {"gateway.nginx", "edge.nginx.replicas"}


def test_a_key_under_both_names_must_be_removed() -> None:
    found = refused_keys({"kafka": {"topics": 3, "expectedTopics": 4}})
    assert_refused(found, {"kafka.topics": ("was renamed to kafka.expectedTopics", "pulumi config rm")})
    assert "config set" not in found["kafka.topics"]


def test_an_empty_old_section_must_be_removed() -> None:
    found = refused_keys({"services": {"each": {}}})
    assert_refused(found, {"services.each": ("was renamed", "pulumi config rm")})


class TestEntryPoints:
    """A nested old key of the stack's file stops each of them."""

    OLD_CONFIGURATION: Mapping[str, Any] = {"services": {"each": {"rdv": {"scaling": {"maximum": 4}}}}}
    NEW_KEY = "services.overrides.rdv.scaling.maxReplicas"

    def test_the_program_registers_nothing(self, deploy: Deploy) -> None:
        with pytest.raises(SettingsError, match=re.escape(self.NEW_KEY)):
            deploy(self.OLD_CONFIGURATION)

    def test_a_command_reports_the_old_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(configuration, "ROOT", tmp_path)
        config = {f"pti-calendar:{key}": value for key, value in self.OLD_CONFIGURATION.items()}
        (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
        with pytest.raises(OperationError, match=re.escape(self.NEW_KEY)):
            configuration.read_configuration("dev")


def test_the_upgrade_guide_lists_every_row() -> None:
    page = (ROOT / "docs/upgrading.md").read_text()
    table = page.partition("## Renamed configuration keys")[2].partition("\n## ")[0]
    rows = re.findall(
        r"^\| `([^`]+)`(?: \(secret\))? \| `?([^`|]+?)`?(?: \(secret\))? \| \S.* \|$", table, flags=re.MULTILINE
    )
    assert dict(rows) == {
        **{row.old: row.new for row in RENAMED},
        **RENAMED_SECRETS,
        **dict.fromkeys(REMOVED, "none"),
    }
