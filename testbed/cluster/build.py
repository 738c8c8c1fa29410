"""Builds Kubernetes, and the programs around it, from the Go modules pinned in `.ci/kubernetes`.

Programs in the cache aren't built again. A program only gets its name once it is complete, so an interrupted build
leaves nothing that looks finished.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.cluster.constants import GO_MODULES, VERSION, kubernetes_directory, tools_directory
from testbed.cluster.modules import ALL_PROGRAMS, NODE_PROGRAMS

TOOLS = {
    "coredns": "github.com/coredns/coredns",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
    "network-policies": ".",
    "pause": ".",
}
"""Maps each program to its package. Each has its own module, named after it; `.` is a program of this project in that
folder."""


NODE_TOOLS = ("pause", "coredns")


def is_built(version: str = VERSION) -> bool:
    """Return whether all programs of a node of this version are built."""
    programs = [kubernetes_directory(version) / name for name in NODE_PROGRAMS]
    return all(program.exists() for program in [*programs, *(tools_directory() / name for name in NODE_TOOLS)])


def build_node(version: str = VERSION) -> Path:
    """Build every program that a node of this version needs; the first time takes about 8 minutes on two idle cores."""
    folder = build_kubernetes(version, NODE_PROGRAMS)
    for tool in NODE_TOOLS:
        build_tool(tool)
    return folder


def build_kubernetes(version: str, programs: tuple[str, ...]) -> Path:
    """Build these programs of one version and return their folder; an API server alone takes about 4 minutes."""
    module, folder = GO_MODULES / version, kubernetes_directory(version)
    if not (module / "go.sum").exists():
        pinned = ", ".join(sorted(one.parent.name for one in GO_MODULES.glob("[0-9]*/go.sum")))
        raise RuntimeError(
            f"Kubernetes {version} isn't pinned; these are: {pinned}. To add it: "
            f"python -m testbed.cluster pin {version} {' '.join(programs)}"
        )
    for program in programs:
        # Kubernetes up to 1.30 includes code of cloud providers that needs modules which are no longer published.
        _build(module, f"{ALL_PROGRAMS}/cmd/{program}", folder / program, _stamp(version), tags="providerless")
    return folder


def build_tool(name: str) -> Path:
    """Build one of `TOOLS`."""
    program = tools_directory() / name
    _build(GO_MODULES / name, TOOLS[name], program, "-s -w")
    return program


def _build(module: Path, package: str, program: Path, link_flags: str, tags: str = "") -> None:
    if program.exists():
        return
    if shutil.which("go") is None:
        raise RuntimeError(f"{program} isn't built. To build it, install Go: https://go.dev/doc/install")
    program.parent.mkdir(parents=True, exist_ok=True)
    print(f"building {program.parent.name}/{program.name}", file=sys.stderr, flush=True)
    flags = ("-tags", tags, "-ldflags", link_flags)
    partial = program.with_name(f"{program.name}.{os.getpid()}.partial")
    done = subprocess.run(
        ["go", "build", "-trimpath", "-buildvcs=false", *flags, "-o", str(partial), package],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        partial.unlink(missing_ok=True)
        raise RuntimeError(f"{package} doesn't build:\n{done.stderr[-3000:]}")
    partial.rename(program)


def _stamp(version: str) -> str:
    """Return linker flags that set the programs' version. With the default version v0.0.0, they refuse to work."""
    major, minor, _ = version.split(".", 2)
    facts = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = [f"-X {package}.{name}={value}" for package in packages for name, value in facts.items()]
    return " ".join(["-s", "-w", *stamps])
