"""`make preview` with a temporary state and without secrets; the `pulumi` command is a stand-in that records its
calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations import preview
from operations.configuration import read_configuration
from operations.project import ROOT, OperationError
from settings.credentials import supplied_credentials

EXIT_CODE = 3
STAND_IN = """#!/bin/sh
echo "$*" >> "$NOTES/commands"
echo "$PULUMI_BACKEND_URL" >> "$NOTES/states"
echo "${PULUMI_CONFIG_PASSPHRASE-none}" >> "$NOTES/passphrases"
case "$1" in
    preview) cp "$5" "$NOTES/configuration.yaml"; exit 3 ;;
esac
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in records its calls."""
    command = tmp_path / "bin" / "pulumi"
    command.parent.mkdir()
    command.write_text(STAND_IN)
    command.chmod(0o755)
    known = {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "NOTES": str(tmp_path),
        "PULUMI_CONFIG_PASSPHRASE": "the person's own",
        "PULUMI_BACKEND_URL": "file:///the/person's/own",
    }
    monkeypatch.setattr(preview, "environment", lambda: known)
    return tmp_path


def test_a_preview_uses_a_temporary_state_and_returns_the_exit_code(notes: Path) -> None:
    assert preview.preview("prod") == EXIT_CODE
    (state,) = set((notes / "states").read_text().splitlines())
    place = Path(state.removeprefix("file://")).parent
    assert place.name.startswith("pti-calendar-preview-")
    assert not place.exists()
    assert set((notes / "passphrases").read_text().splitlines()) == {"none"}


def test_a_preview_contacts_no_cluster_and_changes_nothing_else_in_the_configuration(notes: Path) -> None:
    preview.preview("prod")
    config = yaml.safe_load((notes / "configuration.yaml").read_text())["config"]
    assert not Path(config["pti-calendar:kubernetes"]["kubeconfig"]).exists()
    config["pti-calendar:kubernetes"]["kubeconfig"] = "~/.kube/config"
    assert config == yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]


def test_every_required_secret_has_a_placeholder(notes: Path) -> None:
    preview.preview("prod")
    (given,) = [line for line in (notes / "commands").read_text().splitlines() if line.startswith("config set-all")]
    settings, supplied = read_configuration("prod")
    needed = {one.key for one in supplied_credentials(settings)} | supplied
    assert "stripeSecretKey" in needed
    assert {f"--secret=pti-calendar:{key}={preview.PLACEHOLDER}" for key in needed} == {
        word for word in given.split() if word.startswith("--secret")
    }


def test_encrypted_values_are_left_out() -> None:
    document: dict[str, Any] = {
        "encryptionsalt": "v1:salt",
        "config": {"pti-calendar:jwtSecret": {"secure": "v1:cipher"}, "pti-calendar:protect": True},
    }
    assert preview.without_secrets_and_addresses(document) == {"config": {"pti-calendar:protect": True}}


def test_a_failed_preparation_reports_the_cause(notes: Path) -> None:
    (notes / "bin" / "pulumi").write_text("#!/bin/sh\necho 'disk is full' >&2\nexit 1\n")
    with pytest.raises(OperationError, match=r"'pulumi stack'.*\n.*disk is full"):
        preview.preview("dev")


def test_an_unknown_stack_starts_nothing(notes: Path) -> None:
    with pytest.raises(OperationError, match=r"no Pulumi\.nowhere\.yaml"):
        preview.preview("nowhere")
    assert not (notes / "commands").exists()
