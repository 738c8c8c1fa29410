"""What an update says while it waits for a StatefulSet; kubectl is a stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends.kubernetes import kubectl, rollout
from backends.kubernetes.rollout import Rollouts
from operations.render.recorder import record
from settings.backend import Kubernetes
from tests.unit.kubernetes_stand_in import workload
from workloads import Exec, Kind, Probe, Volume

DEADLINE_S = 30
STORE = workload(
    "store",
    kind=Kind.STATEFUL,
    replicas=2,
    volumes=(Volume(name="data", mount="/data"),),
    readiness=Probe(check=Exec(command=("ready.sh", "--now"))),
)
# Of the second pod alone, which recovers; it fails, as a check does that isn't ready.
STAND_IN = """#!/bin/sh
echo "$*" >> "{notes}/commands"
case "$*" in
    *"exec store-1 "*)
        count=$(grep -c "exec store-1 " "{notes}/commands")
        echo "recovering: $((count / 3 * 10)) %"
        exit 1
        ;;
esac
"""


def test_each_change_of_progress_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubectl").write_text(STAND_IN.format(notes=tmp_path))
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(rollout, "POLL_S", 0)
    shown: list[str] = []

    asyncio.run(_shown_until(lambda: len(shown) >= 3, shown, monkeypatch))

    assert shown[:3] == ["store-1: recovering: 0 %", "store-1: recovering: 10 %", "store-1: recovering: 20 %"]
    asked = (tmp_path / "commands").read_text().splitlines()[0]
    assert asked.endswith("exec store-0 --container store -- ready.sh --now")
    assert "--context test --namespace pti-calendar" in asked


def test_without_kubectl_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rollout, "POLL_S", 0)
    asked: list[str] = []
    shown: list[str] = []

    def answer(settings: Kubernetes, *arguments: str) -> str:
        asked.append(arguments[1])
        return kubectl.answer(settings, *arguments)

    monkeypatch.setattr("backends.kubernetes.rollout.kubectl", SimpleNamespace(answer=answer))
    asyncio.run(_shown_until(lambda: len(asked) >= 4, shown, monkeypatch))

    assert asked[:4] == ["store-0", "store-1", "store-0", "store-1"]

    assert shown == []


async def _shown_until(enough: Callable[[], bool], shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports from the begin of an update until it was enough, and not a line longer than the update."""
    monkeypatch.setattr(pulumi.log, "info", shown.append)
    hooks = await asyncio.to_thread(_hooks)
    await _call(hooks["kubernetes-report-progress"])
    async with asyncio.timeout(DEADLINE_S):
        while not enough():
            await asyncio.sleep(0.01)
    await _call(hooks["kubernetes-end-progress"])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _hooks() -> Mapping[str, pulumi.ResourceHook | pulumi.ErrorHook]:
    return record(lambda: Rollouts(Kubernetes(kubeconfig="~/.kube/config", context="test")).hooks(STORE)).hooks


async def _call(hook: pulumi.ResourceHook | pulumi.ErrorHook) -> None:
    assert isinstance(hook, pulumi.ResourceHook)
    answered = hook.callback(ResourceHookArgs("urn", "", "store", "type"))
    assert asyncio.iscoroutine(answered)
    await answered
