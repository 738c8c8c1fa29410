"""The whole platform under a steady load: undisturbed, and while each store is killed (SIGKILL).

    python -m benchmarks.load [--minutes 10] [--per-second 20] [--kill postgres redis kafka] [--window-minutes 2]

A new stack comes up on the Docker engine: every service and front end (the reference ones), gateway, stores. Requests
go through the gateway on a fixed schedule. A latency counts from the scheduled moment, so that a stall shows in all
requests that were due meanwhile. Afterwards, each booking that returned 201 must be in its database exactly
once, and its event in Kafka unless the service counted it as not published. Exit code 1 if that isn't the case, if a
store doesn't recover, or if a container exited without being killed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import load_report
from benchmarks.load_report import Memory, Window
from benchmarks.report import machine
from tests.e2e import full_stack
from tests.e2e.bookings import Bookings, stored
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack
from tests.e2e.load import Load
from tests.e2e.monitored_stack import memory_mib
from tests.e2e.platform import Platform
from tests.engine.waiting import DEADLINE_S, until

STORES = ("postgres", "redis", "kafka")
WATCHED = (*STORES, "zookeeper")
WORKERS = 64
MEMORY_EVERY_S = 10.0


class MemorySampler:
    """Memory of the stores' containers, sampled in the background."""

    def __init__(self, stack: FullStack) -> None:
        self._stack = stack
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.samples: list[dict[str, float]] = []

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def measured(self) -> list[Memory]:
        """Return per store its limit, and its first, maximum and last use."""
        limits = {name: self._stack.container(name)["HostConfig"]["Memory"] / 2**20 for name in WATCHED}
        return [
            Memory(name, limit, [sample[name] for sample in self.samples if name in sample])
            for name, limit in limits.items()
        ]

    def _work(self) -> None:
        while not self._ended.is_set():
            self.samples.append(memory_mib(self._stack.name, WATCHED))
            self._ended.wait(MEMORY_EVERY_S)


def main() -> int:
    """Print the tables. Exit code 1 as above, or if an image is missing."""
    parser = argparse.ArgumentParser(description="The platform under a steady load, with stores that are killed.")
    parser.add_argument("--minutes", type=float, default=10, help="undisturbed (default: %(default)s)")
    parser.add_argument("--per-second", type=float, default=20, help="requests (default: %(default)s)")
    parser.add_argument("--kill", nargs="*", choices=STORES, default=STORES, help="in this order (default: all)")
    parser.add_argument(
        "--window-minutes", type=float, default=2, help="from one kill to the next, at least (default: %(default)s)"
    )
    wanted = parser.parse_args()
    if reason := full_stack.lacking_images():
        print(reason, file=sys.stderr)
        return 1
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="pti-benchmark-") as home:
        described = full_stack.configuration({"deploy": "all"})
        described |= {"frontends": {"deploy": "all", "image": FRONTEND_IMAGE}}
        stack = FullStack(Path(home, "stack"), configuration=described)
        stack.set_secrets(full_stack.third_party_secrets())
        try:
            with full_stack.on_block_volumes(stack, Path(home, "volumes")):
                stack.up().succeeded()
                return measured(stack, wanted.minutes, wanted.per_second, wanted.kill, wanted.window_minutes)
        finally:
            stack.remove()


def measured(stack: FullStack, minutes: float, per_second: float, kill: Sequence[str], window_minutes: float) -> int:
    """Run the load, print the results, and return the exit code."""
    platform = stack.platform()
    platform.seconds_until_recovered()
    bookings = Bookings(platform)
    bound_s = 60 * minutes + len(kill) * (60 * window_minutes + DEADLINE_S)
    windows: list[Window] = []
    with (
        MemorySampler(stack) as memory,
        Load(bookings.next, per_second=per_second, max_duration_s=bound_s, workers=WORKERS) as load,
    ):
        _wait_until(load, 60 * minutes)
        windows.append(Window(None, 0.0, load.now_s()))
        for store in kill:
            began = load.now_s()
            recovered_s = _killed(stack, platform, store, load)
            _wait_until(load, began + 60 * window_minutes)
            windows.append(Window(store, began, load.now_s(), recovered_s))

    print(machine())
    load_report.show_requests(load.samples, windows, per_second, WORKERS)
    load_report.show_memory(memory.measured())
    compared = bookings.compared(stored(stack.outputs(), bookings.run))
    load_report.show_rows(compared)
    events = _events(stack, bookings)
    load_report.show_events(events)
    restarted = _restarted(stack, platform, kill)
    load_report.show_restarted(restarted)
    have_recovered = all(window.recovered_s is not None for window in windows if window.killed)
    return 0 if compared.agrees and events.lost == 0 and have_recovered and not restarted else 1


def _wait_until(load: Load, until_s: float) -> None:
    """Wait until a number of seconds after the load's start."""
    while (left := until_s - load.now_s()) > 0:
        time.sleep(left)


def _killed(stack: FullStack, platform: Platform, store: str, load: Load) -> float | None:
    """Kill a store. Return the load's second at which the platform had recovered, or None."""
    try:
        stack.crash(store)
        platform.seconds_until_recovered()
    except AssertionError as late:
        print(f"{store}: {late}", file=sys.stderr)
        return None
    return load.now_s()


def _events(stack: FullStack, bookings: Bookings) -> load_report.Events:
    """Return how many events of acknowledged bookings the first service has received at the end."""
    acknowledged = len(bookings.acknowledged)

    def read() -> int:
        with ThreadPoolExecutor(8) as readers:
            return sum(readers.map(bookings.platform.events, bookings.tenants))

    try:
        until("every event is read", lambda: read() >= acknowledged, 60)
    except AssertionError:
        print("not every event has been read", file=sys.stderr)
    return load_report.Events(acknowledged, read())


def _restarted(stack: FullStack, platform: Platform, kill: Sequence[str]) -> list[str]:
    """Return containers that restarted more often than they were killed."""
    workloads = (*WATCHED, *platform.services, "kong", "nginx")
    return [name for name in workloads if int(stack.container(name)["RestartCount"]) > list(kill).count(name)]


if __name__ == "__main__":
    sys.exit(main())
