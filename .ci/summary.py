"""Sum up test reports, and check every skip: `summary.py REPORT.xml …`.

A skip is excused only if its cause can't be obtained from the package registries. Exit code 1 if a test failed, none
ran, or a skip has no excuse.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

EXCUSES = {
    r"^the ('pulumi' command|Pulumi plugin) .*is missing": "Pulumi comes from its own download sites",
    r"^the last release isn't in this clone's history": "a shallow clone has no older commit",
    r"^the operators' own versions belong to Kubernetes": "this test runs with the node's own version",
}


def main(paths: list[Path]) -> int:
    """Print the summary and return the exit code."""
    passed = failed = 0
    skipped: dict[str, list[str]] = {}
    for path in paths:
        for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 - written by this run
            name = f"{case.get('classname')}::{case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                print(f"FAILED {name}")
            elif skip is not None:
                skipped.setdefault(skip.get("message") or "no reason given", []).append(name)
            else:
                passed += 1
    unexcused = 0
    for reason, names in sorted(skipped.items()):
        excuse = next((text for pattern, text in EXCUSES.items() if re.search(pattern, reason)), None)
        unexcused += 0 if excuse else len(names)
        print(f"SKIPPED {len(names)}: {reason}\n  {excuse or 'NOT EXCUSED: this machine could have run it'}")
        for name in names if not excuse else []:
            print(f"    {name}")
    print(f"{passed} passed, {failed} failed, {sum(map(len, skipped.values()))} skipped")
    return 1 if failed or unexcused or not passed else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
