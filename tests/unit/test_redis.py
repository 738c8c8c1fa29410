"""Redis: memory, disk and configuration are derived from one setting."""

from __future__ import annotations

import re

from components.stores.redis import CONFIGURATION_DIRECTORY, client_memory_mib, memory_limit_mib
from settings.stores.redis import AOF_SIZE_FACTOR, RedisSettings
from tests.unit.platform_recording import RecordPlatform
from workloads import RECOVERY_S

FIELD = RedisSettings.model_fields["max_memory_mib"]
SMALLEST, LARGEST = 8, 262_144
FORK_FACTOR = 2
"""Memory during a rewrite, relative to the data: if the parent overwrites all data meanwhile, each page exists
twice."""

FRAGMENTATION_FACTOR = 1.2
PROCESS_MIB = 16


def test_every_size_fits_into_its_limit_during_a_full_rewrite() -> None:
    bounds = {type(one).__name__: one for one in FIELD.metadata}
    assert (bounds["Ge"].ge, bounds["Le"].le) == (SMALLEST, LARGEST)
    too_small = [
        size
        for size in range(SMALLEST, LARGEST + 1)
        if memory_limit_mib(size) < FORK_FACTOR * (size * FRAGMENTATION_FACTOR + client_memory_mib(size)) + PROCESS_MIB
    ]
    assert too_small == []


def test_the_memory_limit_covers_data_clients_and_scratch(record_platform: RecordPlatform) -> None:
    for size in (SMALLEST, 128, 512):
        platform = record_platform({"credentials": "well-known", "redis": {"maxMemoryMib": size}})
        workload, configuration = platform.workloads["redis"], platform.files["redis/configuration"]["redis.conf"]
        (data,) = re.findall(r"(?m)^maxmemory (\d+)mb$", configuration)
        (clients,) = re.findall(r"(?m)^maxmemory-clients (\d+)mb$", configuration)
        scratch = sum(one.size_mib for one in workload.scratch)
        assert int(data) == size
        assert workload.memory_mib >= FORK_FACTOR * (size * FRAGMENTATION_FACTOR + int(clients)) + scratch + PROCESS_MIB


def test_the_volume_holds_the_log_and_its_rewrite(record_platform: RecordPlatform) -> None:
    volume = record_platform({"credentials": "well-known"}).workloads["redis"].volumes[0]
    assert volume.size_gib * 1024 >= AOF_SIZE_FACTOR * RedisSettings().max_memory_mib


def test_only_the_append_only_file_keeps_the_data(record_platform: RecordPlatform) -> None:
    configuration = (
        record_platform({"credentials": "well-known"}).files["redis/configuration"]["redis.conf"].splitlines()
    )
    assert {'save ""', "appendonly yes", "appendfsync everysec", "dir /data/redis"} <= {*configuration}
    assert [line for line in configuration if line.startswith("save ")] == ['save ""']


def test_a_recovery_has_no_time_limit(record_platform: RecordPlatform) -> None:
    liveness = record_platform({"credentials": "well-known"}).workloads["redis"].liveness
    assert liveness is not None
    assert liveness.startup_s == RECOVERY_S


def test_the_password_is_in_a_separate_file(record_platform: RecordPlatform) -> None:
    platform = record_platform({"credentials": "generated"})
    workload = platform.workloads["redis"]
    assert platform.files["redis/configuration"]["redis.conf"].endswith("include /run/secrets/redis/requirepass.conf\n")
    assert workload.readiness is not None
    assert getattr(workload.readiness.check, "command") == (  # noqa: B009 - Redis has a command for it
        "sh",
        f"{CONFIGURATION_DIRECTORY}/ready.sh",
        "/run/secrets/redis/password",
    )
