"""Off-site copies: their settings, their task on each kind of repository, and their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings import SettingsError
from settings.credentials import required_credentials, supplied_credentials
from tests.unit.mistakes import parsed
from tests.unit.platform_recording import CLUSTER, RecordPlatform
from workloads import Endpoint, ExternalEndpoint, ScheduledTask, SharedVolume

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"
S3: Mapping[str, Any] = {"enabled": True, "repository": "s3:https://s3.example.com/bucket/prod", "region": "eu-west-3"}
SFTP: Mapping[str, Any] = {
    "enabled": True,
    "repository": "sftp://pti@backup.example.com:2222//srv/pti",
    "hostKeys": [KEY],
    "cidrs": ["192.0.2.7/32"],
}
VOLUME: Mapping[str, Any] = {"enabled": True, "repository": "volume"}
S3_SECRETS = {"offsiteAccessKey": "AKIA", "offsiteSecretKey": "hunter2"}
SFTP_SECRETS = {"offsiteSshKey": "-----BEGIN OPENSSH PRIVATE KEY-----"}


def stack(section: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    """Return a configuration with backups and this section."""
    return {**CLUSTER, "backups": {"enabled": True, "offsite": section}, **other}


def task_of(
    record_platform: RecordPlatform, section: Mapping[str, Any], secrets: Mapping[str, str] = {}, **other: Any
) -> ScheduledTask:
    """Return the task of a stack."""
    task = record_platform(stack(section, **other), secrets).workloads["offsite"]
    assert isinstance(task, ScheduledTask)
    return task


class TestSettings:
    def test_a_stack_has_no_copies_by_default(self, record_platform: RecordPlatform) -> None:
        recorded = record_platform({**CLUSTER, "backups": {"enabled": True}, "monitoring": {"enabled": True}}).workloads
        assert "offsite" not in recorded
        assert "--web.enable-otlp-receiver" not in recorded["prometheus"].arguments

    @pytest.mark.parametrize(
        ("section", "key"),
        [
            ({"enabled": True}, "repository"),
            ({"enabled": True, "repository": "/mnt/backups"}, "repository"),
            ({"enabled": True, "repository": "s3:https://AKIA:hunter2@s3.example.com/bucket"}, "repository"),
            ({"enabled": True, "repository": "s3:https://s3.example.com"}, "repository"),
            ({"enabled": True, "repository": "sftp://backup.example.com//srv"}, "repository"),
            ({"enabled": True, "repository": "rclone:remote:bucket"}, "repository"),
            ({**SFTP, "hostKeys": []}, "hostKeys"),
            ({**SFTP, "hostKeys": [f"backup.example.com {KEY}"]}, "hostKeys"),
            ({**S3, "hostKeys": [KEY]}, "hostKeys"),
            ({**SFTP, "region": "eu-west-3"}, "region"),
            ({**VOLUME, "cidrs": ["192.0.2.0/24"]}, "cidrs"),
            ({**S3, "storageGib": 5}, "storageGib"),
            ({**S3, "addOnly": True, "keepDaily": 3}, "keepDaily"),
            ({**S3, "schedule": "@daily"}, "schedule"),
            ({"repository": "volume"}, "enabled"),
        ],
    )
    def test_a_mistake_is_refused(self, section: Mapping[str, Any], key: str) -> None:
        with pytest.raises(SettingsError, match=rf"backups\.offsite\.{key}"):
            parsed({"backups": {"enabled": True, "offsite": section}}, S3_SECRETS | SFTP_SECRETS)

    def test_copies_without_backups_are_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"backups\.offsite\.enabled"):
            parsed({"backups": {"enabled": False, "offsite": VOLUME}})

    def test_the_generated_password_stays_while_the_copies_are_off(self) -> None:
        document = {"credentials": "generated", "backups": {"enabled": True, "offsite": {**VOLUME, "enabled": False}}}
        required = {one.key for one in required_credentials(parsed(document))}
        assert {key for key in required if key.startswith("offsite")} == {"offsitePassword"}

    @pytest.mark.parametrize(
        ("section", "credentials", "keys"),
        [
            (S3, "generated", {"offsiteAccessKey", "offsiteSecretKey"}),
            (SFTP, "generated", {"offsiteSshKey"}),
            (VOLUME, "generated", set()),
            # A publicly known password would protect nothing.
            (VOLUME, "well-known", {"offsitePassword"}),
        ],
    )
    def test_what_cannot_be_generated_is_required(
        self, section: Mapping[str, Any], credentials: str, keys: set[str]
    ) -> None:
        given = dict.fromkeys(keys, "x")
        document = {"credentials": credentials, "backups": {"enabled": True, "offsite": section}}
        settings = parsed({**document, **given}, given)
        assert {one.key for one in supplied_credentials(settings) if one.key.startswith("offsite")} == keys
        for missing in keys:
            with pytest.raises(SettingsError, match=missing):
                parsed({**document, **dict.fromkeys(keys - {missing}, "x")}, keys - {missing})

    def test_a_private_key_has_several_lines(self) -> None:
        document = {"credentials": "generated", "backups": {"enabled": True, "offsite": SFTP}}
        key = {"offsiteSshKey": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"}
        assert parsed({**document, **key}, key).backups.offsite.is_sftp
        with pytest.raises(SettingsError, match="offsiteSshKey"):
            parsed({**document, "offsiteSshKey": " \n"}, key)


class TestTask:
    def test_it_reads_the_volume_of_the_backups_as_their_user(self, record_platform: RecordPlatform) -> None:
        workloads = record_platform(stack(S3), S3_SECRETS).workloads
        task, backup = workloads["offsite"], workloads["backup"]
        (owned,) = backup.volumes
        assert task.shared_volumes == (SharedVolume(owner="backup", name=owned.name, mount=owned.mount),)
        assert task.user == backup.user
        assert task.environment["BACKUP_DIR"] == backup.environment["BACKUP_DIR"]

    def test_it_writes_to_the_volume_only_if_allowed(self, record_platform: RecordPlatform) -> None:
        (shared,) = task_of(record_platform, {**VOLUME, "allowFetch": True}).shared_volumes
        assert shared.writable

    @pytest.mark.parametrize(
        ("section", "secrets", "calls"),
        [
            (S3, S3_SECRETS, (ExternalEndpoint("s3.example.com", 443),)),
            (
                {"enabled": True, "repository": "s3:http://s3.internal:9000/bucket"},
                S3_SECRETS,
                (ExternalEndpoint("s3.internal", 9000),),
            ),
            (SFTP, SFTP_SECRETS, (ExternalEndpoint("backup.example.com", 2222, ("192.0.2.7/32",)),)),
            (VOLUME, {}, ()),
        ],
    )
    def test_it_connects_to_the_repository_only(
        self,
        record_platform: RecordPlatform,
        section: Mapping[str, Any],
        secrets: Mapping[str, str],
        calls: tuple[ExternalEndpoint, ...],
    ) -> None:
        assert task_of(record_platform, section, secrets).connects_to == calls

    def test_it_sends_its_results_to_prometheus(self, record_platform: RecordPlatform) -> None:
        document = stack(VOLUME, monitoring={"enabled": True})
        workloads = record_platform(document).workloads
        task, prometheus = workloads["offsite"], workloads["prometheus"]
        assert task.connects_to == (Endpoint("prometheus", 9090),)
        assert task.environment["OFFSITE_METRICS_URL"] == "http://prometheus:9090/api/v1/otlp/v1/metrics"
        assert "--web.enable-otlp-receiver" in prometheus.arguments
        (rules,) = [one for one in prometheus.file_sets if one.name == "rules"]
        assert "offsite.yml" in rules.files

    @pytest.mark.parametrize(("section", "secrets"), [(S3, S3_SECRETS), (SFTP, SFTP_SECRETS)])
    def test_its_secrets_are_files(
        self, record_platform: RecordPlatform, section: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> None:
        task = task_of(record_platform, section, {**secrets, "offsitePassword": "correct horse"})
        plain = [*task.environment.values(), *task.command, *task.arguments]
        plain += [text for one in task.file_sets if not one.secret for text in one.files.values()]
        for value in (*secrets.values(), "correct horse"):
            assert not any(value in str(one) for one in plain)

    def test_a_copy_is_kept_at_least_as_long_as_its_backup(self, record_platform: RecordPlatform) -> None:
        """Otherwise each run would copy it again."""
        document = stack({**VOLUME, "keepDaily": 0, "keepWeekly": 4, "keepMonthly": 0})
        document["backups"] |= {"keepCount": 9, "keepDays": 12}
        task = record_platform(document).workloads["offsite"]
        assert task.environment["OFFSITE_KEEP"] == "--keep-last 9 --keep-within 12d --keep-weekly 4"

    def test_nothing_is_deleted_if_the_credentials_may_only_add(self, record_platform: RecordPlatform) -> None:
        assert task_of(record_platform, {**S3, "addOnly": True}, S3_SECRETS).environment["OFFSITE_KEEP"] == ""

    def test_ssh_gets_a_directory_for_its_users_entry(self, record_platform: RecordPlatform) -> None:
        """ssh refuses a user without an entry in /etc/passwd, and the official image has none for this one."""
        scratch = {one.path for one in task_of(record_platform, SFTP, SFTP_SECRETS).scratch}
        assert scratch == {"/scratch", "/etc"}

    def test_the_servers_host_key_is_pinned(self, record_platform: RecordPlatform) -> None:
        task = task_of(record_platform, SFTP, SFTP_SECRETS)
        (ssh,) = [one for one in task.file_sets if one.name == "ssh"]
        assert ssh.files["known_hosts"] == f"[backup.example.com]:2222 {KEY}\n"
