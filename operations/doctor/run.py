"""Run all checks of a stack, and report what they find, the cause first."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Thread
from time import monotonic
from typing import Any

from operations import stack as pulumi_stack
from operations.configuration import read_configuration
from operations.doctor.alerts import firing_alerts
from operations.doctor.certificate import ending_certificate
from operations.doctor.clock import clock_skew
from operations.doctor.collations import changed_collations
from operations.doctor.context import Context
from operations.doctor.disks import full_disks
from operations.doctor.finding import Finding, unchecked
from operations.doctor.masking import masked, secret_texts
from operations.doctor.ports import taken_ports
from operations.doctor.postgres import connections, old_backups
from operations.doctor.state import interrupted_updates, missing_stack
from operations.doctor.wal import wal_backlog
from operations.doctor.workloads import unready_workloads
from operations.project import OperationError
from operations.runtimes import runtime_of
from settings.base import for_stack

TIMEOUT_S = 45.0
"""Seconds for all checks of a group, which run at the same time."""

SEVERITIES = ("error", "unchecked", "warning")
"""The order of the report."""

EXIT_CODES = {"error": 1, "unchecked": 2, "warning": 0}

RETRY = "Repair this, then run the command again."

Check = Callable[[], Iterable[Finding]]
ContextCheck = Callable[[Context], Iterable[Finding]]

CHECKS_OF_THE_RUNTIME: Mapping[str, ContextCheck] = {"host ports": taken_ports, "clock": clock_skew}
"""Checks that need the engine or the cluster. What may be the cause of another check's finding comes before it."""

CHECKS_OF_THE_STACK: Mapping[str, ContextCheck] = {
    "disks": full_disks,
    "workloads": unready_workloads,
    "PostgreSQL": connections,
    "WAL": wal_backlog,
    "backups": old_backups,
    "collations": changed_collations,
    "certificate": ending_certificate,
    "alerts": firing_alerts,
}
"""Checks that need the running stack."""


@dataclass
class Diagnosis:
    """What the checks have found."""

    findings: list[Finding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Checks that a cause found before makes pointless."""

    @property
    def exit_code(self) -> int:
        """Return 0 if nothing is broken, 1 if there is an error, 2 if there is none but a check couldn't run."""
        found = {one.severity for one in self.findings}
        return next((EXIT_CODES[severity] for severity in SEVERITIES if severity in found), 0)

    def include(self, checks: Mapping[str, Check]) -> None:
        """Run the checks at the same time, and add what they find in their order."""
        for name, found in zip(checks, _results(checks), strict=True):
            self.findings += found
            self.checked.append(name)


def doctor(stack: str, *, as_json: bool) -> int:
    """Print what is wrong with a stack and what to do. Return the exit code of the diagnosis."""
    diagnosis = diagnose(stack)
    _mask_outputs(stack, diagnosis)
    if as_json:
        _print_json(stack, diagnosis)
    else:
        _print(stack, diagnosis)
    return diagnosis.exit_code


def diagnose(stack: str) -> Diagnosis:
    """Run all checks. What can't be checked because of a cause found before is skipped."""
    diagnosis = Diagnosis()
    later = [*CHECKS_OF_THE_RUNTIME, *CHECKS_OF_THE_STACK]
    try:
        settings, _ = read_configuration(stack)
        runtime = runtime_of(stack)
    except OperationError as error:
        diagnosis.findings.append(Finding("error", "configuration", str(error), "Correct it, then run this again."))
        diagnosis.checked = ["configuration"]
        diagnosis.skipped = ["engine or cluster", "state", *later]
        return diagnosis

    state: dict[str, Any] = {}

    def reachable() -> Iterable[Finding]:
        if reason := runtime.unreachable_reason(stack):
            docker, cluster = "the-docker-engine-cant-be-reached-or-is-the-wrong-one", "the-cluster-cant-be-reached"
            pages = f"docs/runbook.md#{docker}, docs/runbook.md#{cluster}"
            fix = f"Start it, or correct its address: {pages}"
            yield Finding("error", "engine or cluster", reason, fix)
            return
        try:
            runtime.instances(stack)
        except OperationError as error:
            problem = f"It responds, but refuses a query: {error}"
            fix = "Install what is missing, or renew the credentials, then run this again."
            yield Finding("error", "engine or cluster", problem, fix)

    def readable() -> Iterable[Finding]:
        state.update(pulumi_stack.recorded_state(stack))
        yield from interrupted_updates(stack, state)

    unreachable, of_state = _results({"engine or cluster": reachable, "state": readable})
    diagnosis.findings += unreachable + of_state
    diagnosis.checked += ["engine or cluster", "state"]
    if unreachable:
        diagnosis.skipped = later
        return diagnosis
    is_unreadable = any(one.severity == "unchecked" for one in of_state)
    recorded = [one for one in state.get("resources") or [] if one["type"] != pulumi_stack.STACK_TYPE]
    context = Context(stack, settings, runtime, recorded)
    if not is_unreadable:
        missing = _results({"stack": lambda: missing_stack(context)})[0]
        diagnosis.checked.append("stack")
        # An interrupted first update is the cause of a stack that isn't up.
        diagnosis.findings += missing
        if missing:
            # A taken port makes the next update fail.
            diagnosis.include(_bound(CHECKS_OF_THE_RUNTIME, context))
            diagnosis.skipped = [*CHECKS_OF_THE_STACK]
            return diagnosis
    diagnosis.include(_bound({**CHECKS_OF_THE_RUNTIME, **CHECKS_OF_THE_STACK}, context))
    broken = {one.subject for one in diagnosis.findings if one.severity == "error" and not one.effect_of}
    diagnosis.findings = [one for one in diagnosis.findings if one.effect_of not in broken]
    return diagnosis


def _bound(checks: Mapping[str, ContextCheck], context: Context) -> dict[str, Check]:
    return {name: partial(check, context) for name, check in checks.items()}


def _results(checks: Mapping[str, Check]) -> list[list[Finding]]:
    """Return the findings of each check. One that fails or takes too long yields why it couldn't run."""
    found: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        yielded: list[Finding] = []
        try:
            yielded.extend(check())
        except OperationError as error:
            yielded.append(unchecked(name, error, RETRY))
        except Exception as error:  # A defect of one check must not hide what the others find.
            defect = OperationError(f"the check has a defect ({type(error).__name__})")
            yielded.append(unchecked(name, defect, "Report it."))
        found[name] = yielded

    # A thread that hangs must not keep the command running.
    threads = [Thread(target=run, args=one, daemon=True) for one in checks.items()]
    for thread in threads:
        thread.start()
    deadline = monotonic() + TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    late = OperationError(f"the check has not ended within {TIMEOUT_S:.0f} s")
    return [found.get(name, [unchecked(name, late, RETRY)]) for name in checks]


def _mask_outputs(stack: str, diagnosis: Diagnosis) -> None:
    """Mask the secrets in the outputs; remove the outputs if the secrets can't be read."""
    if not any(one.output for one in diagnosis.findings):
        return
    try:
        secrets = secret_texts(pulumi_stack.recorded_state(stack, show_secrets=True))
        diagnosis.findings = [replace(one, output=masked(one.output, secrets)) for one in diagnosis.findings]
    except OperationError:
        hidden = "(not shown: the state's secrets can't be read, so they can't be masked)"
        diagnosis.findings = [replace(one, output=one.output and hidden) for one in diagnosis.findings]


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


def _print(stack: str, diagnosis: Diagnosis) -> None:
    for number, one in enumerate(_sorted(diagnosis.findings), 1):
        problem = for_stack(one.problem, stack).replace("\n", "\n   ")
        print(f"{number}. {one.severity}: {one.subject}: {problem}")
        for line in one.output.splitlines():
            print(f"     | {line}")
        print(f"   → {for_stack(one.fix, stack)}\n")
    counts = [(severity, sum(one.severity == severity for one in diagnosis.findings)) for severity in SEVERITIES]
    counted = ", ".join(f"{severity}: {count}" for severity, count in counts if count) or "No problem found"
    print(f"{counted}. Checked: {', '.join(diagnosis.checked)}.")
    if diagnosis.skipped:
        print(f"Not checked, because of the errors above: {', '.join(diagnosis.skipped)}.")
    sys.stdout.flush()


def _print_json(stack: str, diagnosis: Diagnosis) -> None:
    findings = [
        {
            "severity": one.severity,
            "subject": one.subject,
            "problem": for_stack(one.problem, stack),
            "fix": for_stack(one.fix, stack),
            "output": one.output,
        }
        for one in _sorted(diagnosis.findings)
    ]
    print(json.dumps({"findings": findings, "checked": diagnosis.checked, "skipped": diagnosis.skipped}, indent=2))
