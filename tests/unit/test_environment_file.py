"""The environment file for a service that runs from an editor."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from contract import StackOutputs
from contract.outputs import (
    CONTRACT_VERSION,
    CredentialsOutput,
    DatabaseOutput,
    GatewayOutput,
    KafkaOutput,
    MonitoringOutput,
    PostgresOutput,
    RedisOutput,
    ToolsOutput,
)
from operations import environment_file
from operations.project import OperationError
from tests.unit.paths import ROOT as PROJECT

OUTPUTS = StackOutputs(
    contract_version=CONTRACT_VERSION,
    postgres=PostgresOutput(
        host="127.0.0.1",
        port=15432,
        ssl_mode="disable",
        admin_role="postgres",
        backup_role="pti_backup",
        databases={
            name: DatabaseOutput(
                name=f"pti_{name}", app_role=f"pti_{name}_app", migrator_role=f"pti_{name}_migrator", pool_max=4
            )
            for name in ("user", "payment")
        },
    ),
    redis=RedisOutput(host="127.0.0.1", port=16379, tls=False),
    kafka=KafkaOutput(bootstrap_servers="127.0.0.1:19092", security_protocol="PLAINTEXT", username=None),
    tools=ToolsOutput(pg_admin=None, kafka_ui=None, redis_commander=None),
    gateway=GatewayOutput(api=None, services={}, frontends={}),
    monitoring=MonitoringOutput(grafana=None, prometheus=None, alertmanager=None),
    credentials=CredentialsOutput(
        postgres={
            "pti_user_app": "app",
            "pti_user_migrator": "migrator",
            "pti_rdv_app": "another's",
            "pti_payment_app": "app",
            "pti_payment_migrator": "migrator",
        },
        redis=None,
        kafka=None,
        jwt_secret="signing key",
        pg_admin=None,
        grafana=None,
        third_parties={},
    ),
)


def with_password(password: str) -> StackOutputs[str]:
    roles = {**OUTPUTS.credentials.postgres, "pti_user_app": password}
    return replace(OUTPUTS, credentials=replace(OUTPUTS.credentials, postgres=roles, redis=password))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_file, "ROOT", tmp_path)


def test_only_the_owner_can_read_the_file_even_if_a_readable_one_existed(tmp_path: Path) -> None:
    (tmp_path / ".env.user").write_text("OLD=1")
    (tmp_path / ".env.user").chmod(0o644)
    path = environment_file.write("user", OUTPUTS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "OLD=1" not in path.read_text()


def test_the_file_has_the_services_own_database_and_no_other_password() -> None:
    text = environment_file.write("user", OUTPUTS).read_text()
    assert "DATABASE_URL=postgresql://pti_user_app:app@127.0.0.1:15432/pti_user\n" in text
    assert "MIGRATION_DATABASE_URL=postgresql://pti_user_migrator:migrator@127.0.0.1:15432/pti_user\n" in text
    assert "another's" not in text


def test_the_file_has_every_variable_of_the_service_contract() -> None:
    assert environment_file.variables("user", OUTPUTS) == {
        "SERVICE_NAME": "user",
        "PORT": "4000",
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": "15432",
        "DATABASE_NAME": "pti_user",
        "DATABASE_USER": "pti_user_app",
        "DATABASE_SSLMODE": "disable",
        "DATABASE_POOL_MAX": "4",
        "DATABASE_PASSWORD": "app",
        "DATABASE_URL": "postgresql://pti_user_app:app@127.0.0.1:15432/pti_user",
        "MIGRATION_DATABASE_URL": "postgresql://pti_user_migrator:migrator@127.0.0.1:15432/pti_user",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": "16379",
        "REDIS_TLS": "false",
        "REDIS_URL": "redis://127.0.0.1:16379",
        "KAFKA_BROKERS": "127.0.0.1:19092",
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "JWT_ISSUER": "pti-calendar",
        "JWT_ALGORITHM": "HS256",
        "JWT_SECRET": "signing key",
    }


def test_managed_stores_are_reached_with_their_security_settings() -> None:
    managed = replace(
        with_password("p"),
        postgres=replace(OUTPUTS.postgres, ssl_mode="verify-full"),
        redis=replace(OUTPUTS.redis, tls=True),
        kafka=replace(OUTPUTS.kafka, security_protocol="SASL_SSL", username="pti"),
    )
    managed = replace(managed, credentials=replace(managed.credentials, kafka="sasl"))
    variables = environment_file.variables("user", managed)
    assert variables["DATABASE_SSLMODE"] == "verify-full"
    assert variables["DATABASE_URL"].endswith("/pti_user?sslmode=verify-full")
    assert (variables["REDIS_TLS"], variables["REDIS_URL"]) == ("true", "rediss://:p@127.0.0.1:16379")
    assert variables["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert (variables["KAFKA_USERNAME"], variables["KAFKA_PASSWORD"]) == ("pti", "sasl")


def test_a_service_gets_its_third_party_secrets_if_the_stack_has_them() -> None:
    outputs = replace(OUTPUTS, credentials=replace(OUTPUTS.credentials, third_parties={"STRIPE_SECRET_KEY": "sk"}))
    assert environment_file.variables("payment", outputs)["STRIPE_SECRET_KEY"] == "sk"
    assert "STRIPE_WEBHOOK_SECRET" not in environment_file.variables("payment", outputs)
    assert "STRIPE_SECRET_KEY" not in environment_file.variables("user", outputs)


def test_the_reference_service_starts_with_the_file(tmp_path: Path) -> None:
    program = (
        "import os; from examples.reference_service import settings;"
        "print(settings.load(os.environ).service, settings.load_postgres(os.environ).user)"
    )
    path = environment_file.write("user", OUTPUTS)
    shown = subprocess.run(
        ["sh", "-c", f'set -a; . "{path}"; exec "{sys.executable}" -c "$0"', program],
        cwd=PROJECT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout == "user pti_user_app\n", shown.stderr


@pytest.mark.parametrize("password", ["plain", "with space", "$HOME", 'say "yes"', "back\\slash", "it's", "#hash", "ü"])
def test_a_shell_that_loads_the_file_gets_every_value_literally(password: str) -> None:
    path = environment_file.write("user", with_password(password))
    shown = subprocess.run(
        ["sh", "-c", f'set -a; . "{path}"; printf "%s|%s" "$DATABASE_PASSWORD" "$REDIS_PASSWORD"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == f"{password}|{password}"


def test_a_password_that_parsers_read_differently_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="password without these characters"):
        environment_file.write("user", with_password("it's $5"))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_service_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(OperationError, match="no service 'users'; existing services: user, planning"):
        environment_file.write("users", OUTPUTS)
