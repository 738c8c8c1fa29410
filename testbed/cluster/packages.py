"""What the cluster takes from Debian."""

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
"""Program to the package that brings it; a program from elsewhere, such as Docker's own containerd, does as well."""


def missing() -> list[str]:
    """Packages this machine lacks."""
    return sorted(package for program, package in PACKAGES.items() if shutil.which(program) is None)
