"""Effects of an upgrade from the last release on a stack in use, on either backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operations.project import ROOT
from settings import NAMESPACE
from tests import baseline
from tests.e2e.bookings import Bookings
from tests.e2e.load import Load, Sample
from tests.engine.pulumi_stack import Outcome, PulumiStack
from tests.engine.waiting import until
from tests.failures import FailureRecord
from tests.former_keys import with_former_keys

PER_SECOND = 5
MAX_DURATION_S = 900
BEFORE, AFTER = 40, 40
"""Bookings acknowledged before the upgrade begins, and requests answered after it."""


@dataclass(frozen=True)
class Upgrade:
    """An update to the current program, and the requests before, during and after it."""

    update: Outcome
    load: Load
    began_s: float
    """When the update began, in seconds since the start of the load."""

    ended_s: float

    @property
    def failed(self) -> list[Sample]:
        """Return the requests that failed."""
        return [one for one in self.load.samples if one.failure]

    @property
    def failed_kinds(self) -> set[str]:
        """Return the kinds of these requests."""
        return {one.kind for one in self.failed}

    @property
    def failed_outside(self) -> list[Sample]:
        """Return those that ended before the update began, or were sent after it ended."""
        return [one for one in self.failed if one.ended_s < self.began_s or one.sent_s > self.ended_s]


def run_release(stack: PulumiStack, folder: Path) -> None:
    """Switch to the last release's program, cloned into that folder, and to the keys of its configuration."""
    stack.runs(baseline.clone(folder))
    use_former_keys(stack)


def use_former_keys(stack: PulumiStack) -> None:
    """Change the stack's configuration to the keys of the last release, and keep it for `use_present_keys`."""
    _present(stack).write_text(stack.config_file.read_text())
    _change(stack.config_file, lambda present: with_former_keys(present, baseline.renamed_since()))


def use_present_keys(stack: PulumiStack) -> None:
    """Change the stack's configuration back to the present keys."""
    present = _own_keys(yaml.safe_load(_present(stack).read_text())["config"])
    _change(stack.config_file, lambda former: present)


def upgrade(stack: PulumiStack, bookings: Bookings, failure_record: FailureRecord) -> Upgrade:
    """Run the current program on the release's stack under load."""
    with Load(bookings.next, per_second=PER_SECOND, max_duration_s=MAX_DURATION_S) as load:
        until("bookings are made", lambda: len(bookings.acknowledged) >= BEFORE)
        stack.runs(ROOT)
        use_present_keys(stack)
        preview = stack.preview().succeeded()
        with failure_record.measure_recovery():
            began = load.now_s()
            update = stack.up().succeeded()
            ended = load.now_s()
            answered = load.succeeded
            until("requests are answered", lambda: load.succeeded > answered + AFTER)
    failure_record.set_requests(load)
    found = Upgrade(update, load, began, ended)
    failed = Counter(f"{one.kind}: {(one.failure or '')[:60]}" for one in found.failed)
    print(f"{len(load.samples)} requests, {load.succeeded} succeeded, {dict(failed)}")
    print(f"update from {began:.1f} s to {ended:.1f} s")
    print(f"replaced: {sorted(update.replaced)}")
    assert preview.replaced <= update.replaced
    # An unused image stays on the engine: Pulumi only removes it from the state.
    assert [change for change in update.deleted if " RemoteImage " not in change] == []
    stack.preview("--expect-no-changes").succeeded()
    return found


def kept_types(update: Outcome) -> set[str]:
    """Return the types of replaced resources that hold data or identities that can't be recreated."""
    return update.replaced_types & {"RandomPassword", "PrivateKey", "Namespace", "PersistentVolumeClaim", "Cluster"}


def _present(stack: PulumiStack) -> Path:
    """Return the file that keeps the configuration with its present keys while the release's program runs."""
    return stack.config_file.with_suffix(".present")


def _own_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{NAMESPACE}:"
    return {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}


def _change(file: Path, changed: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Change the project's keys. Those of Pulumi and the encryption salt stay."""
    document = yaml.safe_load(file.read_text())
    own = _own_keys(document["config"])
    others = {key: value for key, value in document["config"].items() if key.removeprefix(f"{NAMESPACE}:") not in own}
    document["config"] = others | {f"{NAMESPACE}:{key}": value for key, value in changed(own).items()}
    file.write_text(yaml.safe_dump(document))
