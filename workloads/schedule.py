"""Cron expressions, by which scheduled tasks run."""

from __future__ import annotations

import re

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
"""Each field with its lowest and highest number."""

PART_PATTERN = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")
"""`*`, a number or a range, each with an optional step."""


def cron_problem(expression: str) -> str | None:
    """Return what is wrong with a cron expression; None if it is valid."""
    fields = expression.split()
    if len(fields) != len(FIELDS):
        return f"it has {len(fields)} fields instead of {len(FIELDS)} ({', '.join(name for name, _, _ in FIELDS)})"
    for field, (name, lowest, highest) in zip(fields, FIELDS, strict=True):
        for part in field.split(","):
            found = PART_PATTERN.fullmatch(part)
            first, last, step = found.groups() if found else ("", None, None)
            numbers = [int(number) for number in (first, last) if number]
            within = all(lowest <= number <= highest for number in numbers) and numbers == sorted(numbers)
            if not found or not within or step == "0":
                return f"its {name} is {part!r}, not '*', a number or a range within {lowest}-{highest}"
    return None
