"""Secrets in a stack's configuration: allowed places, required secrets, and that no message shows one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from settings import Settings, parse
from settings.catalog import SERVICES
from settings.credentials import CREDENTIALS, required_credentials
from tests.unit.mistakes import (
    HIDDEN_VALUE,
    NOT_SET,
    InvalidConfiguration,
    assert_refused,
    entries,
    expected_entry,
    parsed,
    refusal,
    refused_keys,
)

SECRET_KEYS = ", ".join(sorted(one.key for one in CREDENTIALS))
COMMAND = "pulumi config set --secret pti-calendar:"
UNUSABLE_PROBLEM = "is empty, or has a line break or another character that isn't printable"
SECRETS = [
    *(
        InvalidConfiguration(
            f"{key} in plain text",
            {key: "hunter2"},
            expected_entry(key, value=HIDDEN_VALUE, problem="is a secret in plain text", fix=f"{COMMAND}{key}"),
        )
        for key in ("postgresPassword", "jwtSecret", "userMigratorPassword")
    ),
    *(
        InvalidConfiguration(
            f"a secret that is {case}",
            {"redisPassword": value},
            expected_entry(
                "redisPassword", value=HIDDEN_VALUE, problem=UNUSABLE_PROBLEM, fix=f"{COMMAND}redisPassword"
            ),
            ("redisPassword",),
        )
        for case, value in [
            ("empty", ""),
            ("blank", "   "),
            ("ended by a line break", "hunter2\n"),
            ("of two lines", "hunter2\nhunter3"),
            ("ended by a carriage return", "hunter2\r"),
            ("split by a null", "hunter\0"),
        ]
    ),
    *(
        InvalidConfiguration(
            f"a password that PostgreSQL's exporter can't read: {case}",
            {"monitoring": {"enabled": True}, "postgresMonitorPassword": value},
            expected_entry(
                "postgresMonitorPassword",
                value=HIDDEN_VALUE,
                problem="contains a space, which PostgreSQL's exporter (monitoring.enabled) can't parse",
                fix=f"{COMMAND}postgresMonitorPassword",
            ),
            ("postgresMonitorPassword",),
        )
        for case, value in [("a space inside", "hunter 2"), ("one before it", " hunter2"), ("one after it", "hunter2 ")]
    ),
    InvalidConfiguration(
        "a section that is encrypted",
        {"postgres": '{"port": 5433}'},
        expected_entry(
            "postgres",
            value=HIDDEN_VALUE,
            problem="is encrypted, but contains plain settings",
            fix=f"the secrets are top-level keys: {SECRET_KEYS}",
        ),
        ("postgres",),
    ),
]

INVALID_CONFIGURATIONS = SECRETS


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


@pytest.mark.parametrize("key", [credential.key for credential in CREDENTIALS])
@pytest.mark.parametrize("value", ["hunter2", "hunter2\n", "hunter2\nhunter3"], ids=repr)
def test_no_message_shows_a_secret_in_plain_text(key: str, value: str) -> None:
    assert "hunter" not in refusal({key: value})


def test_no_message_shows_an_unusable_secret() -> None:
    encrypted = [credential.key for credential in CREDENTIALS if not credential.is_pem]
    message = refusal(dict.fromkeys(encrypted, "hunter2\n"), encrypted)
    assert message.startswith(f"{len(encrypted)} mistakes")
    assert "hunter" not in message


def test_the_monitor_password_may_contain_a_quote_but_a_space_only_without_monitoring() -> None:
    key = "postgresMonitorPassword"
    assert not parsed({key: "hunter 2"}, [key]).monitoring.enabled
    assert parsed({"monitoring": {"enabled": True}, key: "hunt'er\"2"}, [key]).monitoring.enabled


def test_no_message_shows_the_value_of_an_unknown_key() -> None:
    assert "hunter" not in refusal({"postgresPaswrd": "hunter2", "postgres": '{"password": "hunter2"}'})


def test_no_message_shows_a_secret_under_a_wrong_key() -> None:
    assert "hunter" not in refusal({"password": "hunter2"}, ["password"])


@pytest.mark.parametrize("text", ["hunter2", '{"port": "hunter2"}', '{"image": "hunter2 x"}'])
def test_no_message_shows_what_is_in_an_encrypted_section(text: str) -> None:
    assert "hunter2" not in refusal({"postgres": text}, ["postgres"])


def test_a_valid_secret_is_not_in_the_settings() -> None:
    configured = parsed({"postgresPassword": "pässwörd with spaces"}, ["postgresPassword"])
    assert configured == Settings()
    assert "pässwörd" not in repr(configured)


PROVIDERS = {
    "payment": {"stripeSecretKey", "stripeWebhookSecret"},
    "notification": {"twilioAccountSid", "twilioAuthToken", "brevoApiKey"},
}


def required_secrets(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> set[str]:
    """Return the keys of a stack's required credentials."""
    secrets = dict.fromkeys(encrypted, "hunter2")
    return {one.key for one in required_credentials(parsed({**configuration, **secrets}, encrypted))}


@pytest.mark.parametrize("enabled", [True, False])
def test_pgadmins_password_is_required_if_pgadmin_runs(enabled: bool) -> None:
    assert ("pgAdminPassword" in required_secrets({"devTools": {"enabled": enabled}})) is enabled


def test_a_stack_without_applications_has_a_credential_for_each_role_and_store() -> None:
    monitoring = {
        "postgresMonitorPassword",
        "grafanaPassword",
        "alertEmailPassword",
        "alertWebhookUrl",
        "heartbeatWebhookUrl",
    }
    offsite = {"offsitePassword", "offsiteAccessKey", "offsiteSecretKey", "offsiteSshKey"}
    left_out = {"pgAdminPassword", "kafkaPassword", "postgresArchivePassword"}.union(
        monitoring, offsite, *PROVIDERS.values()
    )
    assert required_secrets({}) == {one.key for one in CREDENTIALS} - left_out


@pytest.mark.parametrize("service", [service.name for service in SERVICES])
@pytest.mark.parametrize("local", [False, True], ids=["in the stack", "in an editor"])
def test_a_service_only_requires_its_own_third_party_secrets(service: str, local: bool) -> None:
    services = {"deploy": [service], "local": [service] if local else []}
    stack = {"credentials": "well-known", "services": services, "gateway": {"enabled": True}}
    assert required_secrets(stack) - required_secrets({}) == PROVIDERS.get(service, set())


def test_all_missing_secrets_are_reported_together_with_the_command() -> None:
    missing = {
        "stripeSecretKey": "Stripe's API: the secret key",
        "stripeWebhookSecret": "the signature of Stripe's webhooks",
        "twilioAccountSid": "Twilio's API: the account",
        "twilioAuthToken": "Twilio's API: the token",
        "brevoApiKey": "Brevo's API: the key",
    }
    stack = {"services": {"deploy": ["user", "payment", "notification"]}}
    assert {one.value for one in entries(refusal(stack))} == {NOT_SET}
    rules = {key: (f"is required ({purpose})", f"{COMMAND}{key}") for key, purpose in missing.items()}
    assert_refused(refused_keys(stack), rules)


def test_only_missing_secrets_are_reported() -> None:
    secrets = {"stripeSecretKey": "hunter2"}
    assert refused_keys({"services": {"deploy": ["payment"]}, **secrets}, [*secrets]).keys() == {"stripeWebhookSecret"}


def test_supplied_secrets_are_accepted() -> None:
    secrets = {one.key: "hunter2" for one in CREDENTIALS}
    assert parsed({"services": {"deploy": "all"}, **secrets}, [*secrets]).services.deployed == SERVICES


def test_a_stack_with_well_known_credentials_requires_no_secret() -> None:
    parsed({"credentials": "well-known", "services": {"deploy": "all"}})


@pytest.mark.parametrize(
    ("configuration", "missing"),
    [
        ({"postgres": {"mode": "external", "external": {"host": "db"}}}, "postgresPassword"),
        ({"redis": {"mode": "external", "external": {"host": "redis"}}}, "redisPassword"),
        (
            {
                "kafka": {
                    "mode": "external",
                    "external": {"bootstrapServers": ["k:9092"], "securityProtocol": "SASL_SSL", "username": "pti"},
                }
            },
            "kafkaPassword",
        ),
    ],
    ids=["postgres", "redis", "kafka"],
)
def test_the_password_of_a_managed_server_is_required(configuration: Mapping[str, Any], missing: str) -> None:
    assert refused_keys(configuration).keys() == {missing}
    assert missing in required_secrets(configuration, [missing])


def test_a_managed_redis_requires_its_password_even_with_well_known_credentials() -> None:
    stack = {"credentials": "well-known", "redis": {"mode": "external", "external": {"host": "redis"}}}
    assert refused_keys(stack).keys() == {"redisPassword"}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_managed_kafka_without_a_user_requires_no_password(protocol: str) -> None:
    external = {"bootstrapServers": ["k:9092"], "securityProtocol": protocol}
    assert "kafkaPassword" not in required_secrets({"kafka": {"mode": "external", "external": external}})


def test_a_rendering_needs_no_secrets() -> None:
    raw = {"pti-calendar:services": '{"deploy": "all"}'}
    assert parse(raw, with_secrets=False).services.deployed == SERVICES
