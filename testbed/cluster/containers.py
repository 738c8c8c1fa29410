"""The node's container runtime: its own containerd, separate from the Docker engine's.

Images come from the local Docker engine, so a pod's `imagePullPolicy` must not be `Always`.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable

from testbed.cluster.build import build_tool
from testbed.cluster.configuration import PAUSE_IMAGE
from testbed.cluster.constants import CONFIGURATION_DIRECTORY, CONTAINERD_SOCKET, ROOT
from testbed.cluster.processes import ClusterError, pid_of, run, start, succeeds, wait_until

_CTR = ("ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io")
IMAGES = ROOT / "containerd"
"""What containerd keeps: the loaded images, and its state while it runs."""

_TASKS = ROOT / "containerd" / "state" / "io.containerd.runtime.v2.task" / "k8s.io"


def start_containerd() -> None:
    """Start containerd with the pods' sandbox image, and wait until it responds."""
    start("containerd", "containerd", "--config", CONFIGURATION_DIRECTORY / "containerd.toml")
    wait_until(lambda: succeeds(*_CTR, "version"), "it answered", by="containerd")
    if PAUSE_IMAGE not in _loaded():
        _import(_pause_archive())


def load(images: Iterable[str]) -> list[str]:
    """Load images of the Docker engine into the node and return their names; images that it has with the same ID are
    skipped.

    A tag that now refers to another image is loaded again. A name that the engine lacks is an error.
    """
    if not pid_of("containerd"):
        raise ClusterError("the test cluster isn't up: python -m testbed.cluster up")
    present = _loaded()
    wanted = {image: _docker_id(image) for image in images}
    missing = [
        image
        for image, identity in wanted.items()
        # The CRI also names every image by its ID; both names then have the same manifest.
        if identity not in present or present.get(full_name(image)) != present[identity]
    ]
    if missing:
        # Use one stream, so that shared layers are copied once.
        with subprocess.Popen(["docker", "save", *missing], stdout=subprocess.PIPE) as save:
            imported = subprocess.run([*_CTR, "images", "import", "-"], stdin=save.stdout, capture_output=True)
        if save.returncode or imported.returncode:
            raise ClusterError(f"{', '.join(missing)} not loaded:\n{imported.stderr.decode()[-2000:]}")
    return missing


def stop_pods() -> None:
    """Kill and remove every container; images stay. The API objects stay as well, so the next `up` starts them
    again."""
    if not pid_of("containerd"):
        if not any(_TASKS.glob("*")):
            return
        start_containerd()  # containerd ended before its containers did.
    if tasks := _listed("tasks"):
        succeeds(*_CTR, "tasks", "delete", "--force", *tasks)
    if containers := _listed("containers"):
        succeeds(*_CTR, "containers", "delete", *containers)


def _listed(kind: str) -> list[str]:
    listed = subprocess.run([*_CTR, kind, "list", "--quiet"], capture_output=True, text=True, check=False)
    return listed.stdout.split()


def _loaded() -> dict[str, str]:
    """Map image names to digests of their manifests."""
    lines = run(*_CTR, "images", "list").splitlines()[1:]
    return {name: digest for name, _type, digest, *_ in (line.split() for line in lines)}


def _docker_id(image: str) -> str:
    return run("docker", "image", "inspect", "--format", "{{.Id}}", image).strip()


def full_name(image: str) -> str:
    """Return an image name as containerd uses it: `redis:8` is `docker.io/library/redis:8`."""
    host, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not ({".", ":"} & set(host) or host == "localhost"):
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _import(archive: bytes) -> None:
    imported = subprocess.run([*_CTR, "images", "import", "-"], input=archive, capture_output=True, check=False)
    if imported.returncode:
        raise ClusterError(f"{PAUSE_IMAGE} not loaded:\n{imported.stderr.decode()}")


def _pause_archive() -> bytes:
    """Return an image with one program that sleeps, in the format of `docker save`."""
    layer = _tar({"pause": build_tool("pause").read_bytes()})
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "layer.tar": layer}
    return _tar({**files, "manifest.json": json.dumps(manifest).encode()})


def _architecture() -> str:
    return run("dpkg", "--print-architecture").strip()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
