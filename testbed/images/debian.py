"""The images' Debian, and the tools that create it on this machine, all from its own apt mirror.

The images use Debian 13 whatever this machine runs: it has the Redis version that the platform uses and the Java
version of the official Kafka image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from testbed.images.engine import docker, print_progress

SUITE = "trixie"
ROOTFS = f"pti-local/rootfs:{SUITE}"
TOOLS = {"debootstrap": "debootstrap", "mvn": "maven", "npm": "npm", "pip3": "python3-pip"}
"""Maps each command to its Debian package."""

FINGERPRINT = "2"
"""Increase it if `import_rootfs` produces a different result: every image is then rebuilt."""


def install_tools() -> None:
    """Install the Debian packages of the missing commands."""
    missing = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise RuntimeError(f"Packages are missing here; install them with: sudo {' '.join(command)}")
    print_progress("tools", f"installing {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-qq"], command):
        done = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(step)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def import_rootfs() -> None:
    """Create the image `ROOTFS`: a minimal Debian with this machine's mirrors as package sources."""
    if os.geteuid() != 0:
        raise RuntimeError("debootstrap needs root: run this once with sudo; later runs do without")
    sources = package_sources()
    mirror = next(uri for uri, suite in sources if suite == SUITE)
    print_progress(ROOTFS, "debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        command = ["debootstrap", "--variant=minbase", SUITE, str(root), mirror]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        shutil.rmtree(root / "var/lib/apt/lists")
        (root / "etc/apt/sources.list").write_text("".join(f"deb {uri} {suite} main\n" for uri, suite in sources))
        archive = Path(folder, "root.tar")
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        docker("import", "--change", f"LABEL pti.recipe={FINGERPRINT}", str(archive), ROOTFS)


def package_sources() -> list[tuple[str, str]]:
    """Return (mirror, suite) from this machine's apt configuration, adapted to `SUITE`: release, updates, security
    updates."""
    release = Path("/etc/os-release").read_text()
    here = next(line.split("=")[1] for line in release.splitlines() if line.startswith("VERSION_CODENAME="))
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = {f"{here}{part}": f"{SUITE}{part}" for part in ("", "-updates", "-security")}
    rows = sorted({tuple(line.split()) for line in listed.stdout.splitlines()})
    sources = [(uri, wanted[suite]) for uri, suite, component in rows if suite in wanted and component == "main"]
    if SUITE not in [suite for _, suite in sources]:
        raise RuntimeError("apt has no Debian mirror: add one to /etc/apt/sources.list.d, then run apt-get update")
    return sources
