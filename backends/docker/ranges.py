"""Chooses the address range of each network out of the stack's pool.

Without an explicit range, the engine uses one of its default pools, which are enough for about thirty networks
(docker/for-linux#599). The name of a network determines its range, unless another network has that range already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from workloads import WorkloadError

PREFIX_LENGTH = 24
"""Every caller of a workload joins its network: with forty services, PostgreSQL's has about ninety members."""

KnownRanges = Mapping[str, Sequence[IPv4Network]]


class NetworkRanges:
    """The ranges of one stack's networks.

    Args:
        pool: the ranges are parts of it.
        known: the ranges of the engine's networks by their names.
    """

    def __init__(self, pool: IPv4Network, known: KnownRanges) -> None:
        self._pool = pool
        self._known = known
        self._taken: list[IPv4Network] = []

    def allocate(self, network: str) -> IPv4Network:
        """Return a range for a network; if the network exists, its current range.

        Raises:
            WorkloadError: other networks use the whole pool.
        """
        used = [one for name, ranges in self._known.items() if name != network for one in ranges] + self._taken
        for candidate in chain(self._current_range(network), self._candidates(network)):
            if not any(candidate.overlaps(one) for one in used):
                self._taken.append(candidate)
                return candidate
        ranges = [(name, one) for name, found in self._known.items() for one in found if one.overlaps(self._pool)]
        others = ", ".join(f"{name} ({one})" for name, one in ranges if one not in self._taken)
        raise WorkloadError(
            f"backend.networkPool: {self._pool} has no free range for the network {network!r}. "
            f"This stack uses {len(self._taken)} of {self._count}; other networks in it: {others or 'none'}. "
            "Set a larger or another range: pulumi config set --path 'pti-calendar:backend.networkPool' RANGE; "
            "or remove unused networks: docker network prune"
        )

    @property
    def _count(self) -> int:
        return 1 << (PREFIX_LENGTH - self._pool.prefixlen)

    def _current_range(self, network: str) -> list[IPv4Network]:
        ranges = self._known.get(network, ())
        return [one for one in ranges if one.prefixlen == PREFIX_LENGTH and one.subnet_of(self._pool)]

    def _candidates(self, network: str) -> Iterator[IPv4Network]:
        first = int.from_bytes(hashlib.sha256(network.encode()).digest()[:8], "big")
        size = 1 << (32 - PREFIX_LENGTH)
        for step in range(self._count):
            offset = (first + step) % self._count * size
            yield IPv4Network((int(self._pool.network_address) + offset, PREFIX_LENGTH))


def bridge_address(network: IPv4Network) -> IPv4Address:
    """Return the address that the engine assigns to the bridge itself."""
    return network.network_address + 1
