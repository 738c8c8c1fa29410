"""The environment file of a service run from an editor."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from contract import StackOutputs
from contract.outputs import CONTRACT_VERSION, Credentials, Database, Kafka, Postgres, Redis, Tools
from operations import environment_file
from operations.project import OperationError

OUTPUTS = StackOutputs(
    contract_version=CONTRACT_VERSION,
    postgres=Postgres(
        host="127.0.0.1",
        port=15432,
        admin_role="postgres",
        backup_role="pti_backup",
        databases={"user": Database(name="pti_user", app_role="pti_user_app", migrator_role="pti_user_migrator")},
    ),
    redis=Redis(host="127.0.0.1", port=16379),
    kafka=Kafka(bootstrap_servers="127.0.0.1:19092"),
    tools=Tools(pg_admin=None, kafka_ui=None, redis_commander=None),
    credentials=Credentials(
        postgres={"pti_user_app": "app", "pti_user_migrator": "migrator", "pti_rdv_app": "another's"},
        redis=None,
        jwt_secret="signing key",
        pg_admin=None,
    ),
)


def with_password(password: str) -> StackOutputs[str]:
    roles = {**OUTPUTS.credentials.postgres, "pti_user_app": password}
    return replace(OUTPUTS, credentials=replace(OUTPUTS.credentials, postgres=roles, redis=password))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_file, "ROOT", tmp_path)


def test_only_its_owner_reads_it_also_where_a_readable_one_was(tmp_path: Path) -> None:
    (tmp_path / ".env.user").write_text("OLD=1")
    (tmp_path / ".env.user").chmod(0o644)
    path = environment_file.write("user", OUTPUTS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "OLD=1" not in path.read_text()


def test_it_names_the_services_own_database_and_no_other_services_password() -> None:
    text = environment_file.write("user", OUTPUTS).read_text()
    assert "DATABASE_URL=postgresql://pti_user_app:app@127.0.0.1:15432/pti_user\n" in text
    assert "MIGRATION_DATABASE_URL=postgresql://pti_user_migrator:migrator@127.0.0.1:15432/pti_user\n" in text
    assert "another's" not in text


@pytest.mark.parametrize("password", ["plain", "with space", "$HOME", 'say "yes"', "back\\slash", "it's", "#hash", "ü"])
def test_a_shell_that_loads_it_gets_every_value_as_it_is(password: str) -> None:
    path = environment_file.write("user", with_password(password))
    shown = subprocess.run(
        ["sh", "-c", f'set -a; . "{path}"; printf "%s|%s" "$DATABASE_PASSWORD" "$REDIS_PASSWORD"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == f"{password}|{password}"


def test_a_password_that_readers_of_such_files_disagree_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="supply one without"):
        environment_file.write("user", with_password("it's $5"))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_service_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(OperationError, match="no service 'users'; the services are user, planning"):
        environment_file.write("users", OUTPUTS)
