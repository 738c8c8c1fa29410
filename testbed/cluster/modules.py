"""Pins a Kubernetes version for the builds: writes `.ci/kubernetes/<version>/go.mod` and `go.sum`.

    python -m testbed.cluster pin 1.34.4                    every program of a node
    python -m testbed.cluster pin 1.36.3 kube-apiserver     only this one

Kubernetes publishes its staging modules separately: version v1.X.Y of Kubernetes is v0.X.Y of each. Its own go.mod
replaces them with folders of its checkout, which aren't available to a module that depends on it; here they are
replaced with the published modules.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from testbed.cluster.constants import GO_MODULES

ALL_PROGRAMS = "k8s.io/kubernetes"
NODE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")

UNUSED = frozenset({"k8s.io/sample-apiserver", "k8s.io/sample-cli-plugin", "k8s.io/sample-controller"})
"""Modules that no program imports and that some module proxies lack."""


def pin(version: str, programs: tuple[str, ...] = NODE_PROGRAMS) -> Path:
    """Write the module that pins these programs of this version, and return its folder. This needs the module proxy."""
    folder = GO_MODULES / version
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum"):
        (folder / name).unlink(missing_ok=True)
    upstream = _go_mod_of(version)
    staging = [one["Old"]["Path"] for one in upstream["Replace"] if one["New"]["Path"].startswith("./staging/")]
    published = f"v0.{version.removeprefix('1.')}"
    edits = [
        f"-require={ALL_PROGRAMS}@v{version}",
        *(f"-replace={one}={one}@{published}" for one in staging if one not in UNUSED),
        *(f"-exclude={one}@v0.0.0" for one in staging if one in UNUSED),
        *(f"-tool={ALL_PROGRAMS}/cmd/{program}" for program in programs),
    ]
    _go("mod", "init", f"kubernetes-{version}", cwd=folder)
    _go("mod", "edit", *edits, f"-go={upstream['Go']}", cwd=folder)
    # -e: tests of indirect dependencies import unpublished modules; the build verifies the programs themselves.
    _go("mod", "tidy", "-e", cwd=folder)
    return folder


def _go_mod_of(version: str) -> dict[str, Any]:
    downloaded = json.loads(_go("mod", "download", "-json", f"{ALL_PROGRAMS}@v{version}", cwd=GO_MODULES))
    parsed: dict[str, Any] = json.loads(_go("mod", "edit", "-json", downloaded["GoMod"], cwd=GO_MODULES))
    return parsed


def _go(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["go", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments[:2])} in {cwd}:\n{done.stderr[-2000:]}")
    return done.stdout
