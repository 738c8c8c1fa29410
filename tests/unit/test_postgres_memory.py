"""PostgreSQL's memory is derived from two settings, and every valid combination fits into the limit."""

from __future__ import annotations

import re

import pytest

from settings import postgres_memory
from settings.postgres_memory import MIN_WORK_MEM_KIB, divide, fits, min_memory_mib
from tests.unit.mistakes import assert_refused, parsed, refused_keys
from tests.unit.platform_recording import CLUSTER, RecordPlatform

LIMITS_MIB = [*range(512, 4096, 61), *range(4096, 65_536, 3001), 131_072, 1_048_576]
CONNECTIONS = [*range(20, 400, 7), *range(400, 10_001, 480)]
POOLS = {"databasePoolMax": 1}
"""With small connection pools, the services need only 55 connections."""


def test_the_worst_case_of_every_accepted_combination_fits() -> None:
    accepted = [(limit, many) for limit in LIMITS_MIB for many in CONNECTIONS if fits(limit, many)]
    assert len(accepted) > 1000
    for limit, many in accepted:
        memory = divide(limit, many)
        worst = (
            memory.shared_buffers_mib
            + many * (memory.session_kib / 1024 + 2)
            + 10 * memory.maintenance_work_mem_kib / 1024
        )
        assert worst < memory.worst_case_mib <= limit, (limit, many)
        assert memory.work_mem_kib >= MIN_WORK_MEM_KIB


def test_a_combination_is_refused_only_for_lack_of_memory() -> None:
    for many in CONNECTIONS:
        least = min_memory_mib(many)
        assert fits(least, many)
        assert not fits(least - 64, many) or least <= 128
        assert all(fits(limit, many) for limit in LIMITS_MIB if limit >= least), many


def test_more_memory_never_makes_a_part_smaller() -> None:
    for many in (60, 150, 400):
        found = [divide(limit, many) for limit in LIMITS_MIB if fits(limit, many)]
        for part in ("shared_buffers_mib", "maintenance_work_mem_kib", "parallel_workers", "session_kib"):
            values = [getattr(one, part) for one in found]
            assert values == sorted(values), part


def test_parallel_queries_require_enough_memory_per_process() -> None:
    seen = set()
    for limit in LIMITS_MIB:
        memory = divide(limit, 200)
        seen.add(memory.parallel_workers)
        if memory.parallel_workers:
            assert memory.work_mem_kib >= postgres_memory.PARALLEL_WORK_MIB * 1024
            assert memory.session_kib == memory.work_mem_kib * 2 * (memory.parallel_workers + 1)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize(
    ("postgres", "least"),
    [
        ({"memoryMib": 640, "maxConnections": 150}, 896),
        ({"maxConnections": 1000}, 18_560),
        ({"mode": "cloudnativepg", "memoryMib": 896, "maxConnections": 150}, 1024),
    ],
    ids=["little memory", "many connections", "with the operator's process"],
)
def test_connections_for_which_the_memory_is_too_small_are_refused(postgres: dict[str, object], least: int) -> None:
    rule = (f"too small for {postgres['maxConnections']} connections", f" {least} (or more); or lower maxConnections")
    assert_refused(refused_keys({**CLUSTER, "postgres": postgres}), {"postgres.memoryMib": rule})
    assert parsed({**CLUSTER, "postgres": {**postgres, "memoryMib": least}}).postgres.memory_mib == least


def test_the_smallest_memory_limit_is_usable() -> None:
    assert parsed({"postgres": {"memoryMib": 512, "maxConnections": 60}, "services": POOLS}).postgres.memory_mib == 512


def test_the_server_gets_the_calculated_parameters(record_platform: RecordPlatform) -> None:
    server = record_platform({"postgres": {"memoryMib": 2048, "maxConnections": 200}}).workloads["postgres"]
    found = dict(re.findall(r"(\w+)=(\S+)", " ".join(server.arguments)))
    assert found["shared_buffers"] == "512MB"
    assert found["max_parallel_workers_per_gather"] == "0"
    shm = {scratch.path: scratch.size_mib for scratch in server.scratch}["/dev/shm"]  # noqa: S108
    memory = divide(2048, 200)
    assert (found["work_mem"], shm) == (f"{memory.work_mem_kib}kB", memory.shm_mib)
    assert server.memory_mib == 2048


def test_the_removed_key_is_explained() -> None:
    rule = ("was removed: the cache is a quarter of postgres.memoryMib", "pulumi config rm --path")
    assert_refused(refused_keys({"postgres": {"sharedBuffersMib": 128}}), {"postgres.sharedBuffersMib": rule})
