"""The PostgreSQL server as a workload: its probes, its data's fixed settings, its start command."""

from __future__ import annotations

import re

from tests.unit.paths import ROOT
from tests.unit.platform_recording import RecordPlatform
from workloads import RECOVERY_S, Exec, FixedSetting


def test_a_recovering_server_may_take_as_long_as_it_needs(record_platform: RecordPlatform) -> None:
    server = record_platform({}).workloads["postgres"]
    assert server.liveness is not None
    assert server.liveness.startup_s == RECOVERY_S
    assert server.liveness.check == Exec(command=("sh", "/assets/alive.sh"))


def test_an_update_waits_two_minutes(record_platform: RecordPlatform) -> None:
    server = record_platform({}).workloads["postgres"]
    assert server.readiness is not None
    assert (server.readiness.check, server.readiness.startup_s) == (Exec(command=("sh", "/assets/ready.sh")), 120)


def test_the_major_version_is_fixed_while_the_volume_exists(record_platform: RecordPlatform) -> None:
    def fixed_version(image: str) -> FixedSetting:
        (volume,) = record_platform({"postgres": {"image": image}}).workloads["postgres"].volumes
        found: FixedSetting = next(one for one in volume.fixed if one.key == "postgres.image")
        return found

    of_18, newer, older = (
        fixed_version("postgres:18.6"),
        fixed_version("postgres:18.7-alpine"),
        fixed_version("postgres:17.11"),
    )
    assert of_18.value == "PostgreSQL 18"
    assert newer == of_18
    assert older.value == "PostgreSQL 17"


def test_the_previous_major_version_may_change_to_the_new_one(record_platform: RecordPlatform) -> None:
    upgraded = {"postgres": {"image": "postgres:18.6", "previousMajor": 17}}
    server = record_platform(upgraded).workloads["postgres"]
    (volume,) = server.volumes
    assert [one.replaces for one in volume.fixed if one.key == "postgres.image"] == ["PostgreSQL 17"]
    assert server.environment["POSTGRES_PREVIOUS_MAJOR"] == "17"
    assert "POSTGRES_PREVIOUS_MAJOR" not in record_platform({}).workloads["postgres"].environment


def test_its_container_has_every_script_that_another_one_runs(record_platform: RecordPlatform) -> None:
    (scripts,) = [one for one in record_platform({}).workloads["postgres"].file_sets if one.name == "scripts"]
    named = {name for text in scripts.files.values() for name in re.findall(r"\b[a-z_]+\.(?:sh|sql)\b", str(text))}
    assert named & {path.name for path in (ROOT / "assets" / "postgres").rglob("*")} <= {*scripts.files}


def test_the_data_is_in_a_directory_per_major_version_below_the_mount(record_platform: RecordPlatform) -> None:
    server = record_platform({"postgres": {"image": "postgres:17.11"}}).workloads["postgres"]
    assert [volume.mount for volume in server.volumes] == ["/var/lib/postgresql"]
    assert server.environment["PGDATA"] == "/var/lib/postgresql/17/docker"


def test_programs_in_its_container_find_its_socket(record_platform: RecordPlatform) -> None:
    server = record_platform({}).workloads["postgres"]
    assert f"unix_socket_directories={server.environment['PGHOST']}" in server.arguments
    assert server.environment["PGHOST"] in [scratch.path for scratch in server.scratch]
