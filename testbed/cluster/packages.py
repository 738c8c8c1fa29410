"""Programs that the cluster uses from Debian packages."""

from __future__ import annotations

import shutil

PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "socat": "socat",
    "openssl": "openssl",
    "mkfs.ext4": "e2fsprogs",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Maps each program to its package; a program from another source, such as Docker's own containerd, also works."""


def missing() -> list[str]:
    """Return the packages that this machine lacks."""
    return sorted(package for program, package in PACKAGES.items() if shutil.which(program) is None)
