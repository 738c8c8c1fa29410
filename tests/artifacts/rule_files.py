"""The rule files as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from operations.project import ROOT

RULES = ROOT / "assets/prometheus/rules"
TESTS = ROOT / "tests/artifacts/alerts"
THRESHOLDS = TESTS / "thresholds.yml"
"""Stands in for the file that is generated from a stack's settings."""

RECORDED_NAME = re.compile(r"\b[a-z]+(?::[a-z0-9_]+)+\b")


def rules_of(path: Path) -> list[dict[str, Any]]:
    """Return every rule in a file."""
    return [rule for group in yaml.load(path.read_text(), yaml.CSafeLoader)["groups"] for rule in group["rules"]]


RULE_FILES = sorted(RULES.glob("*.yml"))
ALERTS = {rule["alert"]: rule for path in RULE_FILES for rule in rules_of(path) if "alert" in rule}
RECORDED = {rule["record"] for path in RULE_FILES for rule in rules_of(path) if "record" in rule}
GENERATED = {rule["record"] for rule in rules_of(THRESHOLDS)}


def recorded_names(expression: str) -> set[str]:
    """Return the names of recorded series in an expression."""
    return set(RECORDED_NAME.findall(re.sub(r'"[^"]*"', "", expression)))
