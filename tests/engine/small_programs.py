"""The small programs for these tests."""

from __future__ import annotations

from pathlib import Path

CONSUMER = Path(__file__).with_name("programs") / "consumer"
WORKLOADS = Path(__file__).with_name("programs") / "workloads"
MOVED = Path(__file__).with_name("programs") / "moved"
